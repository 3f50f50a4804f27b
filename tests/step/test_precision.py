"""Which constants a kernel has for narrow numbers, by hand; where a GPU has none; gradients of all of them."""

import functools

import numpy as np
import pytest
from quick import jit
from stencil import check_leaves, filled, requests

import jaxroof
from jaxroof.catalogue.load import load_architecture, load_tier0
from jaxroof.parameters import Deployment, alike, get, layers_of, numbers, put, walk
from jaxroof.step import Batch
from jaxroof.step.kernels import kernels

loaded = functools.cache(load_tier0)
STEP = jit(kernels)
DENSE = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
FFN = {"intermediate_size": 14336}
MIXTURE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 4096}
PLAIN = load_architecture("llama-3.1-8b")
# weight, input [B], block
FORMATS = {"fp8": (1.0, 1.0, 0.0), "fp8_block": (1 + 4 / 128**2, 1.0, 128.0), "fp4": (0.5625, 0.5625, 16.0)}


def model(name=None, kv_bytes=2.0, **fields):
    weight, given, block = FORMATS.get(name, (2.0, 2.0, 0.0))
    parts = ("attention", "ffn", "expert")
    widths = {f"{part}_{of}_bytes": x for part in parts for of, x in (("weight", weight), ("input", given))}
    layers = layers_of(DENSE | fields | widths | {"input_block": block})
    return put(PLAIN, {"layers": layers, "kv_cache_bytes": np.asarray(kv_bytes, dtype=PLAIN.kv_cache_bytes.dtype)})


def decode(count, context=700.0):
    return Batch(requests(), requests((context, 1, count)))


def parts(batch, tier0, arch):
    return STEP(filled(batch), arch, Deployment(1.0), tier0).parts


def constants(tier0, table):
    prefix = f"hardware.kernels.{table}."
    return {key.removeprefix(prefix): x for key, x in numbers(tier0).items() if key.startswith(prefix)}


@pytest.mark.parametrize("rows", [2, 40, 600])
@pytest.mark.parametrize(("gpu", "name"), [("h100-sxm", "fp8"), ("h100-sxm", "fp8_block"), ("b200", "fp4")])
def test_products_of_narrow_inputs_by_hand(gpu, name, rows):
    tier0, (weight, given, _) = loaded(gpu), FORMATS[name]
    c, rate = constants(tier0, f"gemm_{name}"), numbers(tier0)[f"hardware.{name[:3]}_tflops"] * 1e12
    bandwidth, k, n = numbers(tier0)["hardware.hbm_tb_per_s"] * 1e12, 14336, 4096
    memory = (k * n * weight + rows * k * given + 2 * rows * n) / (bandwidth * c["hbm_efficiency"])
    outputs = rows * n + c["wave_outputs"] + c["tall_wave_outputs"] * min(rows / 256, 1)
    compute = 2 * k * outputs / (rate * c["mfu"])
    floor = c["floor_us"] * 1e-6 + c["input_pass_bytes"] * rows * k / bandwidth
    part = parts(decode(rows), tier0, model(name, **FFN))["down"]
    assert float(part.seconds) / 32 == pytest.approx(floor + np.hypot(memory, compute), rel=1e-12)
    assert float(part.flops) / 32 == pytest.approx(2 * rows * n * k, rel=1e-12)


@pytest.mark.parametrize(("gpu", "name"), [("h200-sxm", "fp8"), ("h200-sxm", "fp8_block"), ("b200", "fp4")])
def test_experts_of_narrow_inputs_by_hand(gpu, name):
    tier0, (weight, *_), rows, width = loaded(gpu), FORMATS[name], 5, 4096
    c, rate = constants(tier0, f"moe_{name}"), numbers(tier0)[f"hardware.{name[:3]}_tflops"] * 1e12
    bandwidth, touched, matrix = numbers(tier0)["hardware.hbm_tb_per_s"] * 1e12, 8 * (1 - 0.75**rows), 3 * 4096 * width
    activations, router = 2 * rows * (2 * 4096 + 3 * width), 4096 * 8
    memory = (touched * matrix * weight + 2 * (activations + router)) / (bandwidth * c["hbm_efficiency"])
    flops = 2 * ((2 * rows + c["tile_rows"] * touched) * matrix + rows * router)
    compute = flops / (rate * c["mfu"])
    floor = (c["floor_us"] + c["per_expert_us"] * touched) * 1e-6 + c["input_pass_bytes"] * activations / bandwidth
    part = parts(decode(rows), tier0, model(name, **MIXTURE))["experts"]
    assert float(part.seconds) / 32 == pytest.approx(floor + np.hypot(memory, compute), rel=1e-12)


@pytest.mark.parametrize("context", [256.0, 4000.0, 60000.0])
def test_an_fp8_cache_is_read_by_its_own_lines_and_half_a_tile_more(context):
    tier0 = loaded("h100-sxm")
    c = constants(tier0, "decode_attention_fp8")
    bytes_s = 16 * (context + 1 + c["half_tile_tokens"]) * 2048 / 3.35e12
    lines = [c[f"{of}floor_us"] * 1e-6 + bytes_s / c[f"{of}hbm_efficiency"] for of in ("", "large_")]
    part = parts(decode(16, context), tier0, model(kv_bytes=1.0, **FFN))["decode_attention"]
    assert float(part.seconds) / 32 == pytest.approx(min(lines), rel=1e-9)
    assert float(part.bytes) / 32 == pytest.approx(16 * (context + 1) * 2048, rel=1e-12)
    assert (
        1.35
        < float(parts(decode(16, 60000.0), tier0, model(**FFN))["decode_attention"].seconds)
        / float(parts(decode(16, 60000.0), tier0, model(kv_bytes=1.0, **FFN))["decode_attention"].seconds)
        < 1.95
    )


@pytest.mark.parametrize("name", FORMATS)
def test_without_a_unit_or_constants_narrow_products_are_those_of_16_bits(name):
    # The A100 has no such unit; the MI300X has one for FP8, and no constants for it.
    a100, mi300x, arch = loaded("a100-sxm"), loaded("mi300x"), model(name, **FFN)
    part = parts(decode(40), a100, arch)["down"]
    plain = parts(decode(40), a100, model(**FFN))["down"]
    assert float(part.compute_s) == pytest.approx(float(plain.compute_s), rel=1e-12)
    assert constants(mi300x, f"gemm_{name}") == constants(mi300x, "gemm") | {
        "input_pass_bytes": 0, "wave_outputs": 0, "tall_wave_outputs": 0,
    }  # fmt: skip
    rate = float(
        parts(decode(40), mi300x, model(**FFN))["down"].compute_s / parts(decode(40), mi300x, arch)["down"].compute_s
    )
    assert rate == pytest.approx(2.0 if name != "fp4" else 1.0, rel=1e-2)


def test_a_plain_model_has_no_choice_in_its_step_and_is_the_same_beside_a_narrow_one():
    assert model(**FFN).layers.inputs is None
    tier0, plain, batch = loaded("h100-sxm"), model(**FFN), decode(40)
    beside = alike([plain, model("fp8", **FFN)])[0]
    assert beside.layers.inputs is not None
    for name, part in parts(batch, tier0, plain).items():
        assert float(parts(batch, tier0, beside)[name].seconds) == pytest.approx(float(part.seconds), rel=1e-12)


SIDES = {
    "FP8": ("h100-sxm", model("fp8", 1.0, **FFN), Batch(requests((100, 300, 1)), requests((700, 1, 4)))),
    "FP8, one row": ("h100-sxm", model("fp8", 1.0, **FFN), decode(1)),
    "FP8 in blocks, experts": ("b200", model("fp8_block", **MIXTURE), decode(300, 2000)),
    "FP8 experts": ("h200-sxm", model("fp8", 1.0, **MIXTURE), decode(300, 2000)),
    "FP4": ("b200", model("fp4", 1.0, **MIXTURE, **FFN), Batch(requests((0, 3000, 1)), requests((700, 1, 40)))),
    "FP4 without a unit": ("h100-sxm", model("fp4", **FFN), decode(300, 2000)),
}


@pytest.mark.parametrize("side", SIDES)
def test_gradients_of_every_leaf_of_narrow_models(side):
    gpu, arch, batch = SIDES[side]
    gradient = check_leaves(kernels, loaded(gpu), arch, Deployment(1.0), batch, rtol=1e-5)
    narrow = {key: slope for key, slope in gradient.items() if "_fp" in key and slope}
    assert narrow or "without" in side


def test_a_server_file_may_say_what_a_gpu_is_to_its_engine(tmp_path):
    gpu = jaxroof.load_hardware("h100-sxm")
    engine = jaxroof.load_tier0("h100-sxm", server="trtllm-1.0").hardware
    moved = {key for key, path, _ in walk(gpu) if get(gpu, path) != get(engine, path)}
    assert moved
    assert all(key.startswith("kernels.gemm_fp8.") for key in moved)
    other = jaxroof.load_tier0("a100-sxm", server="trtllm-1.0").hardware
    assert numbers(other) == numbers(jaxroof.load_hardware("a100-sxm"))
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "Mine"\nengine = "x"\nversion = "1"\nbase = "vllm-0.15"\n'
        '[gpu.h100-sxm]\nhbm_tb_per_s = { value = 3.0, source = "x" }\n'
        '[gpu.h100-sxm.kernels.gemm]\nmfu = { value = 0.5, source = "x" }\n'
    )
    mine = numbers(jaxroof.load_tier0("h100-sxm", server=str(path)).hardware)
    assert (mine["hbm_tb_per_s"], mine["kernels.gemm.mfu"]) == (3.0, 0.5)
    assert mine["kernels.gemm.floor_us"] == numbers(gpu)["kernels.gemm.floor_us"]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("gpu = 3", "gpu: must be a table"),
        ("[gpu]\nh100-sxm = 3", "gpu.h100-sxm: must be a table"),
        ("[gpu.h100-sxm.kernels.gemm_fp9]", "gpu.h100-sxm.kernels.gemm_fp9: unknown key; did you mean gemm_fp8?"),
        ('[gpu.l40s.kernels.gemm]\nmfu = { value = 2, source = "x" }', "gpu.l40s.kernels.gemm.mfu: must be ≤ 1, got 2"),
        ("[gpu.l40s]\nhbm_gb = 3", "gpu.l40s.hbm_gb: must be {"),
    ],
)
def test_a_gpu_of_a_server_file_that_cannot_be(tmp_path, table, says):
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "vllm-0.15"\ntitle = "Mine"\nengine = "x"\nversion = "1"\n{table}\n')
    with pytest.raises(jaxroof.InputError) as error:
        jaxroof.load_tier0("h100-sxm", server=str(path))
    assert str(error.value).startswith(f"{path}: {says}")
