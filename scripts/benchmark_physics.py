"""What the benchmark times inside a process: settings, evaluations, steps, gradients, the machine's own limits."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxroof.catalogue.load import load_architecture, load_model
from jaxroof.experiments.evaluate import latencies, tpot_mape
from jaxroof.experiments.load import load_ground_truth
from jaxroof.parameters import Deployment, get, replace, walk
from jaxroof.request.latency import no_requests
from jaxroof.step import Batch, Model, Requests

TABLES = Path(__file__).parents[1] / "tests/data/roofline_parity"
EXPERIMENTS = 13


class Case(NamedTuple):
    """A step-time model, and the overheads and tables that go with it."""

    step: str
    formula: str
    tables: Path | None = None

    def model(self) -> Model:
        """The model, its constants of the float type in force."""
        return load_model(self.step, overheads=self.formula, mfu_tables=self.tables)


CASES = {
    "memory": Case("memory", "h2b"),
    "roofline": Case("roofline", "h2b"),
    "roofline with tables": Case("roofline", "h2b", TABLES),
    "kernels": Case("kernels", "none"),
}


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median wall time of ``call``, its first run not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def chunk_settings() -> int:
    """Settings per call: what keeps a CPU's caches warm, or a GPU busy."""
    return 2**14 if jax.default_backend() == "cpu" else 2**18


def varied(model: Model, settings: int) -> Model:
    """Every constant its own value in each setting, ±10 %; one that is 0 goes from 0 to 1 in its file's unit."""
    generator = np.random.default_rng(0)
    values = {}
    for key, path, leaf in walk(model):
        value = float(get(model, path)) / leaf.unit
        values[key] = value * generator.uniform(0.9, 1.1, settings) if value else generator.uniform(0, 1, settings)
    return jax.tree.map(jnp.asarray, replace(model, values))


def one_overhead_varied(model: Model, settings: int) -> Model:
    """The decode overhead per layer alone varies."""
    values = {"overheads.decode.per_layer_us": np.linspace(0, 500, settings)}
    return jax.tree.map(jnp.asarray, replace(model, values))


def compiled(case: Case, settings: Callable[[Model, int], Model], size: int) -> tuple[Any, Model]:
    """The compiled latencies of all experiments, and the settings that they take."""
    model = case.model()
    runs, swept = load_ground_truth(models=[model]).runs, settings(model, size)
    return jax.jit(partial(latencies, runs=runs, scoring="published")).lower(swept).compile(), swept


def evaluations_per_second(case: Case, settings: Callable[[Model, int], Model]) -> float:
    """One evaluation is a whole request's TTFT, TPOT and E2E of one experiment at one setting."""
    call, swept = compiled(case, settings, chunk_settings())
    return EXPERIMENTS * chunk_settings() / median_seconds(lambda: jax.block_until_ready(call(swept)), 15)


def steps_per_second(case: Case, requests: int) -> float:
    """Single decode steps of Llama-2-7B on two GPUs, every constant and context its own value in each."""
    size, model, arch = chunk_settings(), case.model(), load_architecture("llama-2-7b")
    contexts, ones = jnp.asarray(np.random.default_rng(0).uniform(100, 4000, (size, requests))), jnp.ones(requests)
    swept = varied(model, size)
    axes = jax.tree.map(lambda one, many: 0 if jnp.ndim(many) > jnp.ndim(one) else None, model, swept)

    def seconds(context: Array, model: Model) -> Array:
        batch = Batch(no_requests(), Requests(context, ones, ones))
        return model(batch, arch, Deployment(2.0)).total_s

    call = jax.jit(jax.vmap(seconds, in_axes=(0, axes)))
    return size / median_seconds(lambda: jax.block_until_ready(call(contexts, swept)), 9)


def gradient_cost(case: Case) -> float:
    """Time of the gradient of the MAPE in every leaf, in evaluations of the MAPE."""
    model = jax.tree.map(jnp.asarray, case.model())
    runs = jax.tree.map(jnp.asarray, load_ground_truth(models=[model]).runs)
    calls = [jax.jit(f).lower(model, runs).compile() for f in (tpot_mape, jax.grad(tpot_mape))]
    one, gradient = (median_seconds(lambda c=c: jax.block_until_ready(c(model, runs)), 200) for c in calls)
    return gradient / one


def scaling(case: Case, sizes: list[int]) -> dict[int, float]:
    """Seconds per setting of a sweep of each size, in chunks, so that memory stays bounded; the median chunk's."""
    seconds = {}
    for size in sizes:
        chunk = min(size, chunk_settings())
        call, swept = compiled(case, varied, chunk)
        every = median_seconds(lambda c=call, s=swept: jax.block_until_ready(c(s)), max(15, -(-size // chunk)))
        seconds[size] = every / chunk
    return seconds


def machine_limits() -> tuple[float, float]:
    """Measured bandwidth [B/s] of a·x + y on large arrays, and FLOP rate [FLOP/s] of a large matrix product."""
    x, y, m = jnp.ones(2**25, jnp.float32), jnp.ones(2**25, jnp.float32), jnp.ones((2048, 2048), jnp.float32)
    triad, product = jax.jit(lambda x, y: 3.0 * x + y), jax.jit(jnp.matmul)
    triad_s = median_seconds(lambda: triad(x, y).block_until_ready(), 7)
    product_s = median_seconds(lambda: product(m, m).block_until_ready(), 7)
    return 3 * x.nbytes / triad_s, 2 * 2048**3 / product_s


def limits(case: Case) -> dict[str, float]:
    """Bytes and FLOPs of one evaluation by the compiled program's cost analysis, all constants varying."""
    call, swept = compiled(case, varied, chunk_settings())
    cost, evaluations = call.cost_analysis(), EXPERIMENTS * chunk_settings()
    in_and_out = sum(x.nbytes for x in jax.tree.leaves((swept, call(swept))))
    return {
        "flops": cost["flops"] / evaluations,
        "bytes": cost["bytes accessed"] / evaluations,
        "least_bytes": in_and_out / evaluations,
    }
