"""The forms of the ``kernels`` step time, each by hand, and their gradients on both sides of each switch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from quick import jit
from stencil import check_leaves, filled, requests

from jaxroof.catalogue.load import load_architecture, load_tier0
from jaxroof.parameters import Deployment, numbers, replace
from jaxroof.step import Batch
from jaxroof.step.cost import smooth_maximum
from jaxroof.step.kernels import kernels

loaded = functools.cache(load_tier0)
H100, A100, L40S = (loaded(gpu) for gpu in ("h100-sxm", "a100-sxm", "l40s"))
LLAMA, MIXTRAL, QWEN = (load_architecture(name) for name in ("llama-2-7b", "mixtral-8x7b", "qwen3-30b-a3b"))
STEP = jit(kernels)


def all_reduce_s(tier0, tp, moved, in_graph):
    return tier0.hardware.link.all_reduce(tp, moved, in_graph)[0]


reduce_s, reduce_each = jit(all_reduce_s), jit(jax.vmap(all_reduce_s, in_axes=(None, None, 0, None)))
MIB = 2**20


def decode(count, context=10):
    return Batch(requests(), requests((context, 1, count)))


def step(batch, *served):
    """One program, whatever rows a batch has."""
    return STEP(filled(batch), *served)


def parts(batch, tier0=H100, arch=LLAMA, tp=1.0, ep=1.0):
    return step(batch, arch, Deployment(tp, ep), tier0).parts


def constant(tier0, key):
    return numbers(tier0)[f"hardware.{key}"]


@pytest.mark.parametrize(("rows", "blend"), [(1, 0), (1.25, 0.25), (2, 1), (600, 1)])
def test_gemm_by_hand(rows, blend):
    value = {key: constant(H100, f"kernels.gemm.{key}") for key in ("floor_us", "hbm_efficiency", "mfu")}
    one = {key: constant(H100, f"kernels.gemm.gemv_{key}") for key in ("floor_us", "hbm_efficiency")}
    floor = one["floor_us"] + blend * (value["floor_us"] - one["floor_us"])
    eta = 1 / ((1 - blend) / one["hbm_efficiency"] + blend / value["hbm_efficiency"])
    memory = 2 * (4096 * 4096 + 2 * rows * 4096) / (3.35e12 * eta)
    compute = 2 * rows * 4096 * 4096 / (989.5e12 * value["mfu"])
    part = parts(decode(rows))["attention_output"]
    assert float(part.memory_s) / 32 == pytest.approx(memory, rel=1e-12)
    assert float(part.compute_s) / 32 == pytest.approx(compute, rel=1e-12)
    assert float(part.seconds) / 32 == pytest.approx(floor * 1e-6 + np.hypot(memory, compute), rel=1e-12)


@pytest.mark.parametrize("rows", [1, 64, 4000])
def test_smoothness_0_is_exactly_the_hard_maximum(rows):
    hard = replace(H100, {"hardware.kernels.gemm.smoothness": 0.0})
    for name in ("qkv", "gate_up", "lm_head"):
        part = parts(decode(rows), hard)[name]
        assert float(part.seconds) == pytest.approx(float(part.floor_s + max(part.memory_s, part.compute_s)), rel=1e-15)


def test_smooth_maximum_has_a_finite_slope_everywhere():
    slope = jax.grad(smooth_maximum, argnums=(0, 1, 2))
    for values in ((0.0, 0.0, 1.0), (2e-6, 0.0, 1.0), (1e-6, 1e-6, 1.0), (1e-6, 3e-6, 0.0), (0.0, 0.0, 0.0)):
        assert all(np.isfinite(slope(*values)))
    assert smooth_maximum(jnp.asarray(3.0), jnp.asarray(4.0), jnp.asarray(1.0)) == 5


def test_decode_attention_is_the_faster_of_two_lines():
    keys = ("floor_us", "hbm_efficiency", "large_floor_us", "large_hbm_efficiency")
    floor, eta, large_floor, large_eta = (constant(H100, f"kernels.decode_attention.{key}") for key in keys)
    crossing = (large_floor - floor) / (1 / eta - 1 / large_eta) * 3.35e6  # bytes
    times = []
    for cache in (0.5 * crossing, 0.999 * crossing, 1.001 * crossing, 4 * crossing):
        part = parts(decode(1, cache / 16384 - 1))["decode_attention"]
        lines = floor + cache / 3.35e6 / eta, large_floor + cache / 3.35e6 / large_eta
        assert float(part.seconds) / 32 == pytest.approx(min(lines) * 1e-6, rel=1e-9)
        assert (lines[0] < lines[1]) == (cache < crossing)
        times.append(float(part.seconds))
    assert times == sorted(times)


def test_mixed_steps_below_sm90_run_decoding_in_tiles_of_the_prefill_kernel():
    batch = Batch(requests((100, 300, 1)), requests((700, 1, 4), (50, 1, 2)))
    constants = {key: constant(A100, f"kernels.prefill_attention.{key}") for key in ("floor_us", "mfu")}
    half = constant(A100, "kernels.prefill_attention.half_length_tokens") / 2
    apart = parts(batch, replace(A100, {"hardware.kernels.prefill_attention.mixed_tile_tokens": 0.0}))
    mixed = parts(batch, A100)
    pairs = 300 * (100 + 300 / 2 + half) + 64 * (4 * (700 + half) + 2 * (50 + half))
    assert mixed["decode_attention"].seconds == 0
    assert float(mixed["prefill_attention"].compute_s) / 32 == pytest.approx(
        4 * 4096 * pairs / (312e12 * constants["mfu"]), rel=1e-12
    )
    assert float(mixed["prefill_attention"].floor_s) == pytest.approx(32 * constants["floor_us"] * 1e-6)
    work = [sum(float(p[name].bytes + p[name].flops) for name in mixed if "attention" in name) for p in (apart, mixed)]
    assert work[0] == pytest.approx(work[1], rel=1e-12)
    assert apart["decode_attention"].seconds > 0


@pytest.mark.parametrize("batch", [Batch(requests((100, 300, 1)), requests()), decode(4)])
def test_a_step_of_one_phase_has_no_tiles(batch):
    apart = replace(A100, {"hardware.kernels.prefill_attention.mixed_tile_tokens": 0.0})
    assert step(batch, LLAMA, Deployment(1.0), A100).total_s == step(batch, LLAMA, Deployment(1.0), apart).total_s


@pytest.mark.parametrize("gpu", ["h100-sxm", "h200-sxm", "b200", "gb200", "mi300x"])
def test_decoding_keeps_its_kernel_from_sm90_on(gpu):
    assert constant(load_tier0(gpu), "kernels.prefill_attention.mixed_tile_tokens") == 0


def test_experts_cost_by_the_number_touched():
    keys = ("floor_us", "per_expert_us", "hbm_efficiency")
    floor, each, eta = (constant(H100, f"kernels.moe.{key}") for key in keys)
    touched = 8 * (1 - 0.75**3)
    part = parts(decode(3), arch=MIXTRAL)["experts"]
    assert float(part.floor_s) / 32 == pytest.approx((floor + each * touched) * 1e-6, rel=1e-12)
    assert float(part.memory_s) == pytest.approx(float(part.bytes) / (3.35e12 * eta), rel=1e-12)


@pytest.mark.parametrize(("tp", "ep"), [(2.0, 1.0), (2.0, 2.0), (4.0, 2.0)])
def test_expert_parallel_by_hand(tp, ep):
    tokens, width = 5, 768 / (tp / ep)
    touched, pairs = 128 / ep * (1 - (1 - 8 / 128) ** tokens), tokens * 8 / ep
    part = parts(decode(tokens), arch=QWEN, tp=tp, ep=ep)["experts"]
    weights = touched * 3 * 2048 * width + 128 * 2048
    assert float(part.bytes) / 48 == pytest.approx(2 * (weights + 2 * pairs * (2048 + 1.5 * width)), rel=1e-12)
    assert float(part.flops) / 48 == pytest.approx(2 * (pairs * 3 * 2048 * width + tokens * 128 * 2048), rel=1e-12)
    each = constant(H100, "kernels.moe.per_expert_us")
    assert float(part.floor_s) / 48 == pytest.approx((constant(H100, "kernels.moe.floor_us") + each * touched) * 1e-6)


def test_expert_parallel_divides_the_same_work():
    shared, divided = (parts(decode(5), arch=QWEN, tp=2.0, ep=ep) for ep in (1.0, 2.0))
    assert float(shared["experts"].flops) == pytest.approx(float(divided["experts"].flops), rel=1e-12)
    assert all(shared[name].seconds == divided[name].seconds for name in shared if name != "experts")


def line(tier0, kind, tp, moved):
    latency, rate = (
        constant(tier0, f"link.{kind}.{key}_tp{tp:g}{end}") for key, end in (("latency", "_us"), ("gb_per_s", ""))
    )
    return latency + moved / rate / 1e3


@pytest.mark.parametrize("tier0", [H100, A100], ids=["h100", "a100"])
@pytest.mark.parametrize(("tp", "switch_kib"), [(4.0, 512), (8.0, 256)])
def test_all_reduce_by_hand_and_its_crossing_near_the_kernels_own_switch(tier0, tp, switch_kib):
    for moved in (1e3, 1e5, 3e6):
        expected = min(line(tier0, kind, tp, moved) for kind in ("one_shot", "two_shot"))
        assert 1e6 * float(reduce_s(tier0, tp, moved, True)) == pytest.approx(expected, rel=1e-12)
    slopes, latencies = (
        [np.diff([line(tier0, kind, tp, moved) for moved in (0, 1e6)])[0] / 1e6 for kind in ("one_shot", "two_shot")],
        [line(tier0, kind, tp, 0) for kind in ("one_shot", "two_shot")],
    )
    crossing = (latencies[1] - latencies[0]) / (slopes[0] - slopes[1])
    assert crossing / 1024 == pytest.approx(switch_kib, rel=0.15)


def test_two_gpus_always_take_one_pass():
    for moved in (1e3, 1e5, 7e6):
        assert 1e6 * float(reduce_s(H100, 2.0, moved, True)) == pytest.approx(line(H100, "one_shot", 2, moved))


def test_beyond_the_limit_nccl_but_no_faster_than_the_custom_kernel_at_it():
    for tp in (2.0, 4.0, 8.0):
        kinds = ("one_shot",) if tp == 2 else ("one_shot", "two_shot")
        at_limit = min(line(H100, kind, tp, 8 * MIB) for kind in kinds)
        for moved in (8 * MIB, 9 * MIB, 64 * MIB):
            expected = max(at_limit, line(H100, "nccl", tp, moved))
            assert 1e6 * float(reduce_s(H100, tp, float(moved), True)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("tp", [4.0, 8.0])
def test_pcie_gpus_beyond_two_run_nccl(tp):
    for moved in (1e3, 1e5, 1e7, 1e8):
        assert 1e6 * float(reduce_s(L40S, tp, moved, True)) == pytest.approx(line(L40S, "nccl", tp, moved), rel=1e-12)


@pytest.mark.parametrize("in_graph", [True, False])
@pytest.mark.parametrize("tp", [1.0, 2.0, 3.0, 4.0, 8.0])
@pytest.mark.parametrize("gpu", ["h100-sxm", "h200-sxm", "a100-sxm", "l40s", "b200", "gb200", "mi300x"])
def test_all_reduce_takes_no_less_for_more_bytes(gpu, tp, in_graph):
    sizes = np.geomspace(256, 1e9, 400)
    times = np.asarray(reduce_each(loaded(gpu), tp, sizes, in_graph))
    assert (np.diff(times) >= -1e-12 * times[1:]).all()


SIDES = {
    "one row": (H100, LLAMA, decode(1), 2.0, 1.0),
    "many rows, large cache": (H100, LLAMA, decode(300, 2000), 4.0, 1.0),
    "NCCL": (H100, LLAMA, Batch(requests((0, 3000, 1)), requests()), 8.0, 1.0),
    "one pass": (H100, LLAMA, decode(8, 300), 8.0, 1.0),
    "two passes": (A100, LLAMA, decode(200, 300), 4.0, 1.0),
    "mixed step in tiles": (A100, LLAMA, Batch(requests((100, 300, 1)), requests((700, 1, 4))), 2.0, 1.0),
    "PCIe": (L40S, LLAMA, decode(8), 8.0, 1.0),
    "expert parallel": (H100, QWEN, decode(5), 4.0, 4.0),
    "experts in groups": (A100, MIXTRAL, Batch(requests((0, 300, 1)), requests((700, 1, 4))), 4.0, 2.0),
}


@pytest.mark.parametrize("side", SIDES)
def test_gradients_of_the_kernels_leaves_on_both_sides_of_each_switch(side):
    tier0, arch, batch, tp, ep = SIDES[side]
    check_leaves(kernels, tier0, arch, Deployment(tp, ep), batch, rtol=1e-5)


def test_every_switch_is_crossed_by_the_gradient_checks():
    tp4 = parts(SIDES["two passes"][2], A100, tp=4.0)["all_reduce"]
    assert float(tp4.floor_s) == pytest.approx(65e-6 * constant(A100, "link.two_shot.latency_tp4_us"))
    tp8 = parts(SIDES["one pass"][2], H100, tp=8.0)["all_reduce"]
    assert float(tp8.floor_s) == pytest.approx(65e-6 * constant(H100, "link.one_shot.latency_tp8_us"))
    large = parts(SIDES["many rows, large cache"][2], H100, tp=4.0)["decode_attention"]
    assert float(large.floor_s) == pytest.approx(32e-6 * constant(H100, "kernels.decode_attention.large_floor_us"))


@pytest.mark.parametrize("ep", [1.0, 2.0])
def test_gradient_of_the_deployment_is_finite_and_that_of_ep_right(ep):
    def total(degree):
        return 1e3 * kernels(decode(5), QWEN, Deployment(jnp.asarray(2.0), degree), H100).total_s

    check_grads(total, (jnp.asarray(ep),), order=1, modes=("rev",), atol=1e-5, rtol=1e-5)
