"""Step-time models: values by hand, properties, gradients of every leaf."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import jit
from stencil import check_leaves, filled, requests

from jaxroof.catalogue.load import load_architecture, load_tier0, with_settings
from jaxroof.parameters import Deployment, get, replace, walk
from jaxroof.step import STEP_MODELS, Batch
from jaxroof.step.memory import memory
from jaxroof.step.overhead import overhead_s
from jaxroof.step.roofline import roofline

H2B = load_tier0(overheads="h2b")

ARCH = load_architecture("llama-2-7b")
GQA = load_architecture("llama-2-70b")
W = 2 * 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
K = 2 * 32 * 32 * 128 * 2
STEP = jit(lambda model, *args: model(*args), static_argnums=0)
TERMS = ("base", "per_layer", "per_layer_replicated", "per_sqrt_layer", "per_vocab", "per_kv_group", "per_request")


PREFILL = Batch(requests((100, 600, 1)), requests())
DECODE = Batch(requests(), requests((700, 1, 1), (900, 1, 3)))
MIXED = Batch(requests((100, 600, 1)), requests((700, 1, 2)))
BATCHES = {"prefill": PREFILL, "decode": DECODE, "mixed": MIXED}


def total(model, batch, tier0, tp=2.0, arch=ARCH):
    return STEP(model, batch, arch, Deployment(tp), tier0).total_s


def test_memory_by_hand():
    none = load_tier0(overheads="none")
    bandwidth = 3.35e12 * 0.82
    decode = W + sum(n * (K + K * c * 0.80 + 32 * 4096 * 2 * 0.75) for c, n in ((700, 1), (900, 3)))
    prefill = W + K * 600 + K * 100 * 0.92 + 32 * 4096 * 2 * 600 * 0.85
    np.testing.assert_allclose(total(memory, DECODE, none), decode / 2 / bandwidth, rtol=1e-14)
    np.testing.assert_allclose(total(memory, PREFILL, none), prefill / 2 / bandwidth, rtol=1e-14)
    riding = 2 * (K + K * 700 * 0.80 + 32 * 4096 * 2 * 0.75)
    np.testing.assert_allclose(total(memory, MIXED, none), (prefill + riding) / 2 / bandwidth, rtol=1e-14)


def test_a_one_token_prefill_chunk_takes_the_discounts_of_decode():
    none = load_tier0(overheads="none")
    one = total(memory, Batch(requests((700, 1, 1)), requests()), none)
    assert one == total(memory, Batch(requests(), requests((700, 1, 1))), none)


def test_roofline_by_hand():
    none = load_tier0(overheads="none")
    peak, bandwidth = 989.5e12, 3.35e12 * 0.82
    gemm = sum(
        max(2 * 600 * k * n / (peak * 0.799), k * n * 2 / bandwidth)
        for k, n in [(4096, 4096)] * 4 + [(4096, 11008)] * 2 + [(11008, 4096)]
    )
    attention = 4 * 4096 * 600 * 700 * 32 / 1.8 / (peak * 0.667)
    step = roofline(PREFILL, ARCH, Deployment(2), none)
    np.testing.assert_allclose(step.parts["prefill"].compute_s, (32 * gemm + attention) / 2, rtol=1e-14)
    np.testing.assert_allclose(step.parts["prefill"].memory_s, total(memory, PREFILL, none), rtol=1e-14)
    assert step.parts["decode"].seconds == 0
    assert step.total_s == step.parts["prefill"].compute_s


def test_roofline_takes_a_tick_at_least():
    fast = with_settings(load_tier0(overheads="none"), ["hardware.peak_tflops=1e12", "hardware.hbm_tb_per_s=1e12"])
    assert total(roofline, DECODE, fast) == 1e-6


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("base_us", 1),
        ("per_layer_us", 80 / 4),
        ("per_layer_replicated_us", 80),
        ("per_sqrt_layer_us", 20**0.5),
        ("per_vocab_us", 1),
        ("per_kv_group_us", 80 * 2 / 32),
        ("per_request_us", 3),
    ],
)
def test_overhead_terms_by_hand(term, expected):
    tier0 = with_settings(load_tier0(overheads="none"), [f"overheads.prefill.{term}=1e6"])
    assert overhead_s(tier0.overheads, GQA, Deployment(4), MIXED) == pytest.approx(expected, rel=1e-12)
    assert overhead_s(tier0.overheads, GQA, Deployment(4), DECODE) == 0


def test_chunk_term_and_kv_groups_by_hand():
    tier0 = with_settings(load_tier0(overheads="idea_e"), ["overheads.decode.per_kv_group_us=1e6"])
    assert overhead_s(tier0.overheads, GQA, Deployment(4), PREFILL) == pytest.approx(2 * 500e-6)
    many = overhead_s(tier0.overheads, GQA, Deployment(16), DECODE)
    assert many == pytest.approx(100e-6 * 80 / 16 + 80 / 32)  # never less than one KV head per GPU


@pytest.mark.parametrize("term", TERMS)
def test_a_term_set_to_zero_is_bitwise_the_formula_without_it(term):
    with_zero = with_settings(H2B, [f"overheads.decode.{term}_us=0"]) if term != "per_layer" else H2B
    assert total(memory, DECODE, with_zero) == total(memory, DECODE, H2B)


@pytest.mark.parametrize("phase", BATCHES)
@pytest.mark.parametrize("name", ["memory", "roofline"])
def test_gradient_of_every_leaf_against_central_differences(name, phase):
    """No case lies on a kink."""
    check_leaves(STEP_MODELS[name], load_tier0(overheads="idea_ac"), ARCH, Deployment(2.0), BATCHES[phase], rtol=1e-6)


@pytest.mark.parametrize("name", STEP_MODELS)
def test_gradient_of_architecture_and_tp_is_finite(name):
    gradient = jit(jax.grad(lambda at: STEP_MODELS[name](MIXED, *at, H2B).total_s))((ARCH, Deployment(2)))
    assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(gradient))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(STEP_MODELS)),
    st.sampled_from(sorted(BATCHES)),
    st.sampled_from(["hardware.peak_tflops", "hardware.hbm_tb_per_s", "hardware.mfu.gemm", "hardware.mfu.attention"]),
    st.floats(0.3, 1.0),
)
def test_never_slower_with_faster_hardware(name, phase, key, share):
    full = H2B
    path = {k: (p, leaf.unit) for k, p, leaf in walk(full)}[key]
    slower = replace(full, {key: get(full, path[0]) / path[1] * share})
    assert total(STEP_MODELS[name], filled(BATCHES[phase]), slower) >= total(
        STEP_MODELS[name], filled(BATCHES[phase]), full
    ) * (1 - 1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(STEP_MODELS)),
    st.integers(0, 8000),
    st.integers(1, 4000),
    st.integers(1, 200),
    st.sampled_from([(1, 0, 0), (0, 1, 0), (0, 0, 1)]),
)
def test_never_faster_with_more_context_batch_or_layers(name, context, more, count, grow):
    def at(c, n, layers):
        arch = replace(ARCH, {"num_hidden_layers": layers})
        return total(STEP_MODELS[name], filled(Batch(requests(), requests((c, 1, n)))), H2B, arch=arch)

    larger = (context + more * grow[0], count + more * grow[1], 32 + more * grow[2])
    assert at(*larger) >= at(context, count, 32)


@pytest.mark.parametrize("name", STEP_MODELS)
def test_absent_requests_cost_nothing(name):
    absent = Batch(requests((100, 600, 1), (50, 40, 0)), requests((700, 1, 2), (9, 1, 0)))
    assert total(STEP_MODELS[name], absent, H2B) == total(STEP_MODELS[name], MIXED, H2B)
