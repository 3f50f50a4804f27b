"""What makes sweeps fast changes no number: precision, few nodes, settings as an axis."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import replace_anywhere

from jaxroof import latencies, load_ground_truth, load_model, replace, tpot_mape
from jaxroof.catalogue.load import load_architecture
from jaxroof.parameters import Deployment, Sampling, get, walk
from jaxroof.request.latency import latency, step_times, total
from jaxroof.request.schedule import Knots, every_scoring
from jaxroof.request.tracing import as_primitives
from jaxroof.request.workload import exact
from jaxroof.step import STEP_MODELS

TABLES = Path(__file__).parents[1] / "data/roofline_parity"
MODELS = [("memory", None), ("kernels", None), ("roofline", None), ("roofline", TABLES)]


@pytest.mark.parametrize(("step", "tables"), MODELS)
def test_float32_is_within_1e_4_of_float64_on_mape(step, tables):
    mape = []
    for wide in (False, True):
        with jax.enable_x64(wide):
            model = load_model(step, overheads="h2b", mfu_tables=tables)
            runs = load_ground_truth(models=[model]).runs
            mape.append(tpot_mape(model, runs, scoring="published"))
    assert mape[0].dtype == np.float32
    np.testing.assert_allclose(mape[0], mape[1], atol=1e-4)


def test_schedules_are_short(truth):
    schedule = truth.runs.schedules["published"]
    assert schedule.prefill_weight.shape[1] <= 16
    assert schedule.chunk_weight.shape[1] == 4
    assert schedule.decode_context_tokens.shape[1] == 2


@pytest.mark.parametrize("step", STEP_MODELS)
def test_settings_with_every_constant_varying_are_the_settings_one_by_one(truth, step):
    model, generator = load_model(step, overheads="idea_e"), np.random.default_rng(0)
    values = {key: float(get(model, path)) / leaf.unit for key, path, leaf in walk(model)}
    values = {key: (value or 1.0) * generator.uniform(0.9, 1.0, 3) for key, value in values.items()}
    swept = latencies(replace_anywhere(model, values), truth.runs)
    for i in range(3):
        one = replace_anywhere(model, {key: value[i] for key, value in values.items()})
        alone = latencies(one, truth.runs)
        for ours, theirs in zip(jax.tree.leaves(swept), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(ours[:, i], theirs, rtol=1e-13)


@pytest.mark.parametrize("workload", ["chat", "code", "summarization"])
def test_one_mean_prefill_node_and_the_chunks_apart_are_all_nodes(truth, workload):
    """``memory`` is affine in a prefill step's context and tokens; split at the chunk, every node has its chunks."""
    arch, deployment = load_architecture("llama-2-70b"), Deployment(4.0)
    model = replace(load_model("memory", overheads="idea_e"), {"overheads.prefill.per_chunk_us": 700.0})
    starts = (0, 284, 2048, 4096, 6144)
    split = Knots((512.0,), {start: (512.0, 1024.0, 1536.0) for start in starts}, prefill_nodes=3)
    schedule = every_scoring(exact(truth.workloads[workload]), 2.0, Sampling(), 2048, split)[0]
    merged = latency(model, schedule, arch, deployment)
    every = total(schedule, *step_times(model, schedule, arch, deployment))
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
