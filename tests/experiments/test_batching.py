"""What makes sweeps fast changes no number: precision, few nodes, settings as an axis."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxroof import latencies, load_ground_truth, load_tier0, replace, tpot_mape
from jaxroof.catalogue.load import load_architecture
from jaxroof.parameters import Deployment, get, walk
from jaxroof.request.latency import latency, step_times, total
from jaxroof.request.schedule import Knots, published
from jaxroof.request.tracing import as_primitives
from jaxroof.request.workload import exact
from jaxroof.step import STEP_MODELS

TABLES = Path(__file__).parents[1] / "data/roofline_parity"
MODELS = [("memory", None), ("kernels", None), ("roofline", None), ("roofline", TABLES)]


@pytest.mark.parametrize(("step_model", "tables"), MODELS)
def test_float32_is_within_1e_4_of_float64_on_mape(step_model, tables):
    mape = []
    for wide in (False, True):
        with jax.enable_x64(wide):
            tier0 = load_tier0(overheads="h2b", mfu_tables=tables)
            runs = load_ground_truth(tier0s=[tier0]).runs
            mape.append(tpot_mape(tier0, runs, scoring="published", step_model=step_model))
    assert mape[0].dtype == np.float32
    np.testing.assert_allclose(mape[0], mape[1], atol=1e-4)


def test_schedules_are_short(truth):
    schedule = truth.runs.schedules["published"]
    assert schedule.prefill_weight.shape[1] <= 16
    assert schedule.chunk_weight.shape[1] == 4
    assert schedule.decode_context_tokens.shape[1] == 2


@pytest.mark.parametrize("step_model", STEP_MODELS)
def test_settings_with_every_constant_varying_are_the_settings_one_by_one(truth, step_model):
    tier0, generator = load_tier0(overheads="idea_e"), np.random.default_rng(0)
    values = {key: float(get(tier0, path)) / leaf.unit for key, path, leaf in walk(tier0)}
    values = {key: (value or 1.0) * generator.uniform(0.9, 1.0, 3) for key, value in values.items()}
    swept = latencies(replace(tier0, values), truth.runs, scoring="itl", step_model=step_model)
    for i in range(3):
        one = replace(tier0, {key: value[i] for key, value in values.items()})
        alone = latencies(one, truth.runs, scoring="itl", step_model=step_model)
        for ours, theirs in zip(jax.tree.leaves(swept), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(ours[:, i], theirs, rtol=1e-13)


@pytest.mark.parametrize("workload", ["chat", "code", "summarization"])
def test_one_mean_prefill_node_and_the_chunks_apart_are_all_nodes(truth, workload):
    """``memory`` is affine in a prefill step's context and tokens; split at the chunk, every node has its chunks."""
    tier0, arch, deployment = load_tier0(overheads="idea_e"), load_architecture("llama-2-70b"), Deployment(4.0)
    tier0 = replace(tier0, {"overheads.prefill.per_chunk_us": 700.0})
    starts = (0, 284, 2048, 4096, 6144)
    split = Knots((512.0,), {start: (512.0, 1024.0, 1536.0) for start in starts}, nodes=3)
    schedule = published(exact(truth.workloads[workload]), split)
    merged = latency(STEP_MODELS["memory"], schedule, arch, deployment, tier0)
    every = total(schedule, *step_times(STEP_MODELS["memory"], schedule, arch, deployment, tier0))
    np.testing.assert_allclose(merged.ttft_s, every.ttft_s, rtol=1e-12)


def test_primitives_are_the_function_without_what_is_not_needed():
    def function(x, y):
        unused = jnp.exp(x) + y["a"]
        assert unused.shape == ()
        return {"sum": jnp.where(x > 0, x, 0.0) + y["a"], "constant": jnp.ones(())}

    arguments = jnp.asarray(2.0), {"a": jnp.asarray(3.0)}
    assert as_primitives(function)(*arguments) == function(*arguments)
    assert "exp" not in str(jax.make_jaxpr(as_primitives(function))(*arguments))
    assert jax.grad(lambda x: as_primitives(function)(x, arguments[1])["sum"])(2.0) == 1
