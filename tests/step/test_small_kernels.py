"""Small kernels of an architecture: their launches and bytes by hand, and what launching costs outside a graph."""

import numpy as np
import pytest
from quick import jit
from stencil import BATCHES, filled
from test_layer_kinds import EXPERTS, LATENT, arch

from jaxroof.catalogue.load import load_architecture, load_tier0
from jaxroof.parameters import Deployment, replace
from jaxroof.parameters.architecture import alike
from jaxroof.step.kernels import kernels

SYNC, ASYNC, SGLANG = (load_tier0(overheads="none", server=name) for name in ("vllm-sync", "vllm-0.15", "sglang-0.5"))
STEP = jit(kernels)
ROWS, NEW = 5, 740  # tokens of the decode batch, and of the prefill batch
# The forward pass of a step that has launches only.
FREE = replace(ASYNC, {"server.launch_us": 0.0})


def step(model, batch, tier0=ASYNC, tp=2.0):
    return STEP(filled(BATCHES[batch]), model, Deployment(tp), tier0)


@pytest.mark.parametrize("tp", [1.0, 2.0])
def test_norms_of_queries_and_keys_by_hand(tp):
    plain, normed = (step(arch((32, {"qk_norm": flag})), "decode", tp=tp) for flag in (0, 1))
    part = normed.parts["qk_norms"]
    assert float(plain.parts["qk_norms"].seconds) == 0
    moved = 2 * ROWS * (32 + 8) * 128 * 2 / tp
    np.testing.assert_allclose(part.bytes, 32 * moved, rtol=1e-12)
    np.testing.assert_allclose(part.seconds, 32 * (3e-6 + moved / (3.35e12 * 0.8)), rtol=1e-12)
    np.testing.assert_allclose(normed.total_s - plain.total_s, part.seconds, rtol=1e-9)


def test_norms_of_latents_are_as_wide_as_they_on_every_gpu():
    part = step(arch((61, LATENT | {"qk_norm": 1}), hidden=7168), "decode", tp=8.0).parts["qk_norms"]
    assert float(part.bytes) == 61 * 2 * ROWS * (1536 + 512) * 2


@pytest.mark.parametrize(("tier0", "launches"), [(ASYNC, 1), (SGLANG, 4)], ids=["compiled", "not compiled"])
def test_inputs_of_eight_bits_are_quantised_where_no_kernel_before_does_it(tier0, launches):
    plain, fp8 = (step(arch((32, {"attention_input_bytes": size})), "decode", tier0).parts for size in (2.0, 1.0))
    assert "quantisation" not in plain
    assert float(fp8["quantisation"].launches) == 32 * launches
    assert float(fp8["quantisation"].bytes) == 32 * launches * ROWS * 32 * 128 / 2 * (2 + 1)


def test_a_gpu_without_a_unit_for_eight_bits_quantises_nothing():
    a100 = load_tier0("a100-sxm", overheads="none")
    assert float(step(arch((32, {"attention_input_bytes": 1.0})), "decode", a100).parts["quantisation"].seconds) == 0


@pytest.mark.parametrize(
    ("does", "launches"),
    [
        ({"router_bias": 1}, (6, 0)),
        ({"router_groups": 1}, (7, 7)),
        ({"router_bias": 1, "router_groups": 1}, (2, 0)),
        ({"router_late_sigmoid": 1}, (3, 3)),
    ],
    ids=["bias", "groups", "bias and groups", "late sigmoid"],
)
def test_launches_of_a_router_beyond_a_top_k(does, launches):
    model = arch((32, EXPERTS | does))
    for tier0, count in zip((SYNC, ASYNC), launches, strict=True):
        part = step(model, "decode", tier0).parts["routing"]
        assert float(part.launches) == 32 * count
        assert float(part.bytes) == 32 * count * 2 * ROWS * 64 * 4


def test_a_softmax_and_a_top_k_are_in_the_block_of_experts():
    plain, routed = (arch((32, EXPERTS | other)) for other in ({}, {"router_bias": 1}))
    assert plain.layers.routing is None
    assert "routing" not in step(plain, "decode").parts
    same, _ = alike([plain, routed])
    assert float(step(same, "decode", SYNC).parts["routing"].seconds) == 0


def test_outside_a_graph_a_forward_pass_takes_as_long_as_its_launches():
    """Four products, attention, rotation, cache, activation, two norms and two all-reduces; and once six more."""
    slow = replace(ASYNC, {"server.launch_us": 100.0})
    model = arch((32, {}))
    free, bound = (step(model, "prefill", tier0) for tier0 in (FREE, slow))
    launches = 32 * (4 + 1 + 3 + 2 + 2) + 1 + 1 + 1 + 1 + 1
    sampler = sum(float(bound.parts[name].seconds) for name in ("sampling", "sorting", "penalties"))
    assert float(bound.total_s) == pytest.approx(launches * 100e-6 + sampler, rel=1e-9)
    assert float(free.total_s) < float(bound.total_s)
    np.testing.assert_allclose(step(model, "decode", slow).total_s, step(model, "decode", FREE).total_s, rtol=1e-12)


def test_a_block_of_experts_is_several_launches():
    parts = step(arch((32, EXPERTS)), "prefill").parts
    assert float(parts["experts"].launches) == 32 * 8
    assert float(parts["gate_up"].launches) == 32  # of the shared experts


def test_launches_show_in_small_models_only():
    for name, shows in (("qwen3-0.6b", True), ("llama-3.1-8b", False), ("qwen3-30b-a3b", False)):
        with_, without = (step(load_architecture(name), "prefill", tier0, tp=1.0).total_s for tier0 in (ASYNC, FREE))
        assert bool(with_ > without) == shows
