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

from jaxroof.catalogue.load import load_architecture, load_tier0
from jaxroof.experiments.evaluate import latencies, tpot_mape
from jaxroof.experiments.load import load_ground_truth
from jaxroof.parameters import Deployment, Tier0, get, replace, walk
from jaxroof.request.latency import no_requests
from jaxroof.step import STEP_MODELS, Batch, Requests

TABLES = Path(__file__).parents[1] / "tests/data/roofline_parity"
EXPERIMENTS = 13


class Model(NamedTuple):
    """A step model, and the overheads and tables that go with it."""

    step_model: str
    formula: str
    tables: Path | None = None

    def tier0(self) -> Tier0:
        """Its constants, of the float type in force."""
        return load_tier0(overheads=self.formula, mfu_tables=self.tables)


MODELS = {
    "memory": Model("memory", "h2b"),
    "roofline": Model("roofline", "h2b"),
    "roofline with tables": Model("roofline", "h2b", TABLES),
    "kernels": Model("kernels", "none"),
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


def varied(tier0: Tier0, settings: int) -> Tier0:
    """Every constant its own value in each setting, ±10 %; one that is 0 goes from 0 to 1 in its file's unit."""
    generator = np.random.default_rng(0)
    values = {}
    for key, path, leaf in walk(tier0):
        value = float(get(tier0, path)) / leaf.unit
        values[key] = value * generator.uniform(0.9, 1.1, settings) if value else generator.uniform(0, 1, settings)
    return jax.tree.map(jnp.asarray, replace(tier0, values))


def one_overhead_varied(tier0: Tier0, settings: int) -> Tier0:
    """The decode overhead per layer alone varies."""
    values = {"overheads.decode.per_layer_us": np.linspace(0, 500, settings)}
    return jax.tree.map(jnp.asarray, replace(tier0, values))


def compiled(model: Model, settings: Callable[[Tier0, int], Tier0], size: int) -> tuple[Any, Tier0]:
    """The compiled latencies of all experiments, and the settings that they take."""
    tier0 = model.tier0()
    runs, swept = load_ground_truth(tier0s=[tier0]).runs, settings(tier0, size)
    return jax.jit(partial(latencies, runs=runs, step_model=model.step_model)).lower(swept).compile(), swept


def evaluations_per_second(model: Model, settings: Callable[[Tier0, int], Tier0]) -> float:
    """One evaluation is a whole request's TTFT, TPOT and E2E of one experiment at one setting."""
    call, swept = compiled(model, settings, chunk_settings())
    return EXPERIMENTS * chunk_settings() / median_seconds(lambda: jax.block_until_ready(call(swept)), 15)


def steps_per_second(model: Model, requests: int) -> float:
    """Single decode steps of Llama-2-7B on two GPUs, every constant and context its own value in each."""
    size, tier0, arch = chunk_settings(), model.tier0(), load_architecture("llama-2-7b")
    contexts, ones = jnp.asarray(np.random.default_rng(0).uniform(100, 4000, (size, requests))), jnp.ones(requests)
    swept = varied(tier0, size)
    axes = jax.tree.map(lambda one, many: 0 if jnp.ndim(many) > jnp.ndim(one) else None, tier0, swept)

    def seconds(context: Array, constants: Tier0) -> Array:
        batch = Batch(no_requests(), Requests(context, ones, ones))
        return STEP_MODELS[model.step_model](batch, arch, Deployment(2.0), constants).total_s

    call = jax.jit(jax.vmap(seconds, in_axes=(0, axes)))
    return size / median_seconds(lambda: jax.block_until_ready(call(contexts, swept)), 9)


def gradient_cost(model: Model) -> float:
    """Time of the gradient of the MAPE in every leaf, in evaluations of the MAPE."""
    tier0 = jax.tree.map(jnp.asarray, model.tier0())
    runs = jax.tree.map(jnp.asarray, load_ground_truth(tier0s=[tier0]).runs)
    loss = partial(tpot_mape, scoring="itl", step_model=model.step_model)
    calls = [jax.jit(f).lower(tier0, runs).compile() for f in (loss, jax.grad(loss))]
    one, gradient = (median_seconds(lambda c=c: jax.block_until_ready(c(tier0, runs)), 200) for c in calls)
    return gradient / one


def scaling(model: Model, sizes: list[int]) -> dict[int, float]:
    """Seconds per setting of a sweep of each size, in chunks, so that memory stays bounded; the median chunk's."""
    seconds = {}
    for size in sizes:
        chunk = min(size, chunk_settings())
        call, swept = compiled(model, varied, chunk)
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


def limits(model: Model) -> dict[str, float]:
    """Bytes and FLOPs of one evaluation by the compiled program's cost analysis, all constants varying."""
    call, swept = compiled(model, varied, chunk_settings())
    cost, evaluations = call.cost_analysis(), EXPERIMENTS * chunk_settings()
    in_and_out = sum(x.nbytes for x in jax.tree.leaves((swept, call(swept))))
    return {
        "flops": cost["flops"] / evaluations,
        "bytes": cost["bytes accessed"] / evaluations,
        "least_bytes": in_and_out / evaluations,
    }
