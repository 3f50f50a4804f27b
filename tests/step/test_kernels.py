"""The ``kernels`` step time: limits, monotonicity, gradients, mixtures, FP8, and the stored thresholds."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import jit, replace_anywhere
from stencil import BATCHES, check_leaves, filled, requests

from jaxroof.catalogue.load import load_architecture, load_tier0, with_settings
from jaxroof.catalogue.names import catalogue
from jaxroof.experiments import metrics
from jaxroof.experiments.evaluate import latencies
from jaxroof.parameters import Deployment, get, numbers, replace, walk
from jaxroof.step import Batch, Model
from jaxroof.step.kernels import kernels
from jaxroof.step.memory import memory
from jaxroof.studies.load import load_study, study_models
from jaxroof.studies.run import run

MODELS = {name: load_architecture(name) for name in ("llama-2-7b", "llama-2-70b", "mixtral-8x7b", "qwen3-30b-a3b")}
TIER0 = load_tier0(overheads="none", server="vllm-sync")
# Untuned tiles get better from 512 tokens on, and so may a whole step.
TUNED = replace(TIER0, {"server.untuned_moe_slowdown": 1.0})
LEAVES = {key: (path, leaf) for key, path, leaf in walk(TIER0)}
# Floors, host and sampling off, every efficiency and discount 1: only work at data-sheet rates is left.
IDEAL = replace_anywhere(
    TIER0,
    dict.fromkeys((k for k in LEAVES if k.endswith("floor_us") or k.startswith(("server.per_", "server.sampler"))), 0.0)
    | {key: 1.0 for key in LEAVES if key.endswith(("efficiency", ".mfu")) or key.startswith("traffic.")},
)
STEP = jit(kernels)
GRADIENT = jit(jax.grad(lambda arch, tp, batch: kernels(batch, arch, tp, TIER0).total_s, argnums=(0, 1, 2)))
STEP_MEMORY = jit(memory)


def seconds(batch, tier0=TIER0, model="llama-2-7b", tp=2.0, **architecture):
    return STEP(filled(batch), replace(MODELS[model], architecture), Deployment(tp), tier0).total_s


@pytest.mark.parametrize("context", [100, 1000, 4000])
def test_without_floors_head_and_host_a_decode_step_is_the_memory_model(context):
    step = STEP(filled(Batch(requests(), requests((context, 1, 1)))), MODELS["llama-2-7b"], Deployment(1.0), IDEAL)
    head = sum(step.parts[name].seconds for name in ("lm_head", "sampling", "logits_gather", "embedding"))
    expected = STEP_MEMORY(Batch(requests(), requests((context, 1, 1))), MODELS["llama-2-7b"], Deployment(1.0), IDEAL)
    np.testing.assert_allclose(step.total_s - head, expected.total_s, rtol=0.01)


def test_a_large_batch_runs_at_the_compute_bound_rate():
    arch, batch = MODELS["llama-2-70b"], 1e6
    step = STEP(filled(Batch(requests(), requests((0, 1, batch)))), arch, Deployment(4.0), TIER0)
    gemms = [step.parts[name] for name in ("qkv", "attention_output", "gate_up", "down")]
    flops = 2 * batch * 80 * (8192 * (8192 + 2 * 1024) + 8192 * 8192 + 3 * 8192 * 28672)
    np.testing.assert_allclose(sum(p.flops for p in gemms), flops / 4, rtol=1e-12)
    np.testing.assert_allclose(sum(p.seconds for p in gemms), flops / 4 / (989.5e12 * 0.8363), rtol=5e-3)


def test_parts_add_up_and_floors_by_hand():
    step = STEP(BATCHES["decode"], MODELS["llama-2-7b"], Deployment(1.0), TIER0)
    parts = sum(part.seconds for part in step.parts.values())
    np.testing.assert_allclose(step.total_s, parts + 333e-6 + 5 * 8.55e-6, rtol=1e-12)
    layer = ("qkv", "attention_output", "gate_up", "down", "decode_attention", "rotary", "kv_cache_write", "activation")
    floors = sum(float(step.parts[name].floor_s) for name in layer) + 2 / 2.03125 * float(step.parts["norms"].floor_s)
    assert floors / 32 == pytest.approx((4 * 3.505 + 12.83 + 3 * 3 + 6) * 1e-6, rel=1e-6)


def test_all_reduce_is_there_only_with_several_gpus_and_slower_outside_a_graph():
    one, two, eager = (
        STEP(batch, MODELS["llama-2-7b"], Deployment(tp), TIER0).parts["all_reduce"]
        for batch, tp in ((BATCHES["decode"], 1.0), (BATCHES["decode"], 2.0), (BATCHES["prefill"], 2.0))
    )
    assert one.seconds == 0
    assert two.floor_s == pytest.approx(65 * 4.284e-6)
    assert eager.floor_s == pytest.approx(65 * 21.5e-6)


def test_experts_touched_by_hand():
    for tokens, touched in ((1, 2), (2, 8 * (1 - 0.75**2)), (64, 8 * (1 - 0.75**64))):
        batch = Batch(requests(), requests((10, 1, tokens)))
        part = STEP(filled(batch), MODELS["mixtral-8x7b"], Deployment(1.0), TIER0).parts["experts"]
        weights = touched * 3 * 4096 * 14336 * 2 + 8 * 4096 * 2
        activations = 2 * 2 * tokens * 2 * (4096 + 1.5 * 14336)
        assert float(part.bytes) == pytest.approx(32 * (weights + activations), rel=1e-12)


def test_dense_models_have_no_experts_and_mixtures_no_dense_ffn():
    dense, mixture = (
        STEP(BATCHES["mixed"], MODELS[m], Deployment(2.0), TIER0).parts for m in ("llama-2-7b", "mixtral-8x7b")
    )
    assert dense["experts"].seconds == 0
    assert all(mixture[name].seconds == 0 for name in ("gate_up", "down", "activation"))


def test_fp8_halves_the_bytes_and_uses_the_fp8_rate():
    full, fp8 = load_architecture("llama-3.1-70b"), load_architecture("llama-3.1-70b-fp8")
    assert (float(fp8.layers.ffn_weight_bytes[0]), float(fp8.activation_bytes)) == (1, 2)
    decode, prefill = BATCHES["decode"], Batch(requests((0, 8192, 1)), requests())
    parts = [
        [STEP(filled(b), arch, Deployment(4.0), TIER0).parts["gate_up"] for b in (decode, prefill)]
        for arch in (full, fp8)
    ]
    assert float(parts[1][0].bytes) == pytest.approx(float(parts[0][0].bytes) / 2, rel=1e-3)
    shares = [numbers(TIER0)[f"hardware.kernels.{kind}.mfu"] for kind in ("gemm", "gemm_fp8")]
    rows = float(parts[0][1].compute_s) / 2 * shares[0] / shares[1]
    assert rows < float(parts[1][1].compute_s) < 1.02 * rows  # a part of a wave more
    assert (
        STEP(filled(decode), fp8, Deployment(4.0), TIER0).parts["lm_head"].bytes
        == STEP(filled(decode), full, Deployment(4.0), TIER0).parts["lm_head"].bytes
    )


@pytest.mark.parametrize("gpu", catalogue("hardware"))
def test_every_gpu_gives_positive_finite_parts(gpu):
    tier0 = load_tier0(gpu, "none")
    for model in MODELS:
        step = STEP(BATCHES["mixed"], MODELS[model], Deployment(4.0), tier0)
        assert all(np.isfinite(leaf) and leaf >= 0 for leaf in jax.tree.leaves(step))


@pytest.mark.parametrize("model", ["llama-2-7b", "mixtral-8x7b"])
@pytest.mark.parametrize("phase", BATCHES)
def test_gradient_of_every_leaf_against_central_differences(phase, model):
    """Every Tier-0 leaf; T = 4 so that the link counts."""
    check_leaves(kernels, TIER0, MODELS[model], Deployment(4.0), BATCHES[phase], rtol=1e-6)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("phase", BATCHES)
def test_gradients_of_shape_tp_and_batch_are_finite(phase, model):
    gradient = GRADIENT(MODELS[model], Deployment(2.0), BATCHES[phase])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(MODELS)),
    st.integers(0, 8000),
    st.integers(1, 4000),
    st.integers(1, 300),
    st.integers(1, 4000),
    st.sampled_from(range(5)),
    st.sampled_from([1.0, 2.0, 4.0]),
)
def test_never_faster_with_more_layers_tokens_batch_or_context(model, context, new, count, more, grow, tp):
    def at(c, m, n, layers, decode_context):
        batch = Batch(requests((c, m, 1)), requests((decode_context, 1, n)))
        return seconds(batch, TUNED, model, tp, num_hidden_layers=layers)

    point = (context, new, count, 32, context)
    larger = tuple(x + more * (i == grow) for i, x in enumerate(point))
    assert at(*larger) >= at(*point) * (1 - 1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(MODELS)),
    st.sampled_from(sorted(BATCHES)),
    st.sampled_from(
        [
            "hardware.peak_tflops",
            "hardware.hbm_tb_per_s",
            *(k for k in LEAVES if k.startswith("hardware.link") and k.endswith("gb_per_s_tp4")),
            *(k for k in LEAVES if k.startswith("hardware.kernels") and k.endswith(("efficiency", "mfu"))),
        ]
    ),
    st.floats(0.2, 1.0),
)
def test_never_slower_with_more_bandwidth_or_flops(model, phase, key, share):
    path, leaf = LEAVES[key]
    slower = replace(TIER0, {key: get(TIER0, path) / leaf.unit * share})
    assert seconds(BATCHES[phase], slower, model, 4.0) >= seconds(BATCHES[phase], TIER0, model, 4.0) * (1 - 1e-12)


@pytest.mark.parametrize("phase", BATCHES)
def test_absent_requests_cost_nothing(phase):
    alone = STEP(BATCHES[phase], MODELS["llama-2-7b"], Deployment(2.0), TIER0).total_s
    assert seconds(BATCHES[phase]) == pytest.approx(float(alone), rel=1e-14)
    absent = Batch(requests((100, 300, 1), (50, 0, 0)), requests((700, 1, 4), (9, 1, 0)))
    assert seconds(absent) == pytest.approx(float(seconds(BATCHES["mixed"])), rel=1e-14)


def test_admission_is_waited_for_once(truth):
    later = with_settings(TIER0, ["server.admission_ms=19.5"])
    now, then = (latencies(Model("kernels", t), truth.runs) for t in (TIER0, later))
    np.testing.assert_allclose(then.ttft_s - now.ttft_s, 10e-3, rtol=1e-9)
    np.testing.assert_allclose(then.tpot_s, now.tpot_s, rtol=1e-14)


def test_study_kernels_keeps_its_thresholds_and_its_waterfall_ends_at_the_model(truth):
    spec = load_study("kernels")
    result = run(spec, "itl", truth.runs, truth.groups(), study_models(spec))
    assert result.verdict == "confirmed"
    errors = result.errors["kernels"]
    assert errors["tpot_ape_pct"].mean() <= 4
    assert errors["tpot_ape_pct"].max() <= 10
    assert errors["e2e_ape_pct"].mean() <= 6
    assert errors["ttft_ape_pct"].mean() <= 20
    last = result.waterfall[-1]
    signed = metrics.signed_error(last.predicted_s, last.measured_s)
    np.testing.assert_allclose(100 * signed, errors["tpot_signed_pct"], atol=1e-9)
