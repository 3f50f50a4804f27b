"""Kinds of layers: limits in which they are plain ones, bytes and FLOPs by hand, gradients."""

import dataclasses

import jax
import numpy as np
import pytest
from quick import jit
from stencil import BATCHES, filled

from jaxroof.catalogue.load import load_tier0
from jaxroof.files import InputError
from jaxroof.parameters import Architecture, Deployment, Layers, layers_of, replace
from jaxroof.parameters.architecture import alike, check_deployment
from jaxroof.request.limits import refuse_layers
from jaxroof.serving.capacity import gpu_bytes
from jaxroof.step.kernels import kernels
from jaxroof.step.span import attended_pairs, first_attended
from jaxroof.step.work import kv_bytes_per_token

TIER0 = load_tier0(overheads="none")
STEP = jit(kernels)
PLAIN = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 14336}
# DeepSeek-V3's attention; 128 heads of 128 + 64, values of 128.
LATENT = {
    "num_attention_heads": 128, "num_key_value_heads": 128, "head_dim": 192, "v_head_dim": 128, "q_lora_rank": 1536,
    "kv_lora_rank": 512, "qk_rope_head_dim": 64, "intermediate_size": 18432,
}  # fmt: skip
EXPERTS = {"num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 2048}


def arch(*groups, hidden=4096):
    """Groups of (number of layers, what differs from a plain one)."""
    each = [PLAIN | {"num_hidden_layers": count} | other for count, other in groups]
    keys = {key for group in each for key in group}
    defaults = {field.name: field.default for field in dataclasses.fields(Layers)}
    columns = {key: [float(group.get(key, defaults.get(key, 0.0))) for group in each] for key in keys}
    return Architecture(hidden, 128256, layers_of(columns))


def step(model, batch, tp=2.0):
    return STEP(filled(BATCHES[batch]), model, Deployment(tp), TIER0)


def test_a_model_without_latents_has_no_products_of_them_in_its_step():
    plain = arch((32, {}))
    assert plain.layers.latents is None
    assert not {"q_up", "kv_up"} & set(step(plain, "prefill").parts)
    assert all(each.layers.latents is not None for each in alike([plain, arch((61, LATENT))]))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    "same",
    [
        [(12, {}), (20, {})],
        [(32, {}), (0, {"num_attention_heads": 16})],
        [(32, {"sliding_window": 1001})],
        [(32, {"attention_chunk_size": 1001})],
        [(32, {"v_head_dim": 128})],
    ],
    ids=["two groups", "a group without layers", "a window as long", "a chunk as long", "values as wide as keys"],
)
def test_what_is_a_plain_model_takes_as_long(same, batch):
    plain, other = (step(model, batch) for model in (arch((32, {})), arch(*same)))
    for one, two in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-12)


@pytest.mark.parametrize("batch", BATCHES)
def test_one_expert_that_all_tokens_take_is_a_dense_ffn(batch):
    """The same weights are read and multiplied; the block has rates of its own."""
    expert = {"intermediate_size": 0, "num_experts": 1, "num_experts_per_tok": 1, "moe_intermediate_size": 14336}
    parts, routed = step(arch((32, {})), batch).parts, step(arch((32, expert)), batch).parts["experts"]
    router = 4096 * 32  # of all layers
    tokens = float(np.sum(BATCHES[batch].prefill.count * BATCHES[batch].prefill.new_tokens)) + float(
        np.sum(BATCHES[batch].decode.count)
    )
    dense = sum(float(parts[name].flops) for name in ("gate_up", "down"))
    assert float(routed.flops) == pytest.approx(dense + 2 * tokens * router, rel=1e-12)


@pytest.mark.parametrize("window", [1, 7, 64, 10_000])
@pytest.mark.parametrize("kind", ["sliding_window", "attention_chunk_size"])
def test_attended_tokens_are_those_counted_one_by_one(kind, window):
    layers = arch((1, {kind: window})).layers
    for context, new in ((0, 1), (5, 1), (63, 1), (64, 1), (0, 300), (130, 50)):
        at = (np.array([[float(tokens)]]) for tokens in (context, new))
        pairs = float(attended_pairs(*at, layers)[0, 0])
        first = [max(0, p + 1 - window) if kind == "sliding_window" else p - p % window for p in range(context + new)]
        counted = sum(p + 1 - first[p] for p in range(context, context + new))
        assert float(first_attended(np.array([[float(context)]]), layers)[0, 0]) == first[context]
        # A token is half within itself: the sum of a line is the integral and half a token each.
        assert abs(pairs - counted) <= new / 2 + 1e-9


def test_a_window_by_hand():
    """gpt-oss: every other layer attends to 128 tokens; 2 · 8 · 64 numbers of 2 bytes per token and layer."""
    heads = {"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64}
    model = arch((18, heads), (18, heads | {"sliding_window": 128}))
    read = step(model, "decode", tp=1.0).parts["decode_attention"].bytes
    tokens = 3 * 701 + 2 * 901
    assert float(read) == 18 * 2 * 8 * 64 * 2 * (tokens + 5 * 128)
    held = gpu_bytes(model, 1.0, 5000.0, 5.0, 16.0) - gpu_bytes(model, 1.0, 0.0)
    assert float(held) == 18 * 2 * 8 * 64 * 2 * (5000 + 5 * (128 + 16))


@pytest.mark.parametrize("tp", [1, 8])
def test_latent_attention_by_hand(tp):
    """DeepSeek-V3, a layer: 576 numbers of cache; decoding attends to them, prefill expands them first."""
    model, heads = arch((1, LATENT), hidden=7168), 128 / tp
    parts, prefill = (step(model, batch, tp=float(tp)).parts for batch in ("decode", "prefill"))
    tokens, rows = 3 * 701 + 2 * 901, 5
    assert float(kv_bytes_per_token(model)) == 576 * 2
    assert float(parts["decode_attention"].bytes) == 576 * 2 * tokens
    pairs = 3 * 700.5 + 2 * 900.5
    assert float(parts["decode_attention"].flops) == pytest.approx(2 * heads * (512 + 64 + 512) * pairs, rel=1e-12)
    matrices = {
        "qkv": (rows, 7168, 1536 + 512 + 64),
        "q_up": (rows, 1536, heads * 192),
        "kv_up": (rows, 512, heads * (128 + 128)),
        "attention_output": (rows, heads * 128, 7168),
    }
    for name, (m, k, n) in matrices.items():
        assert float(parts[name].flops) == pytest.approx(2 * m * k * n, rel=1e-12)
        assert float(parts[name].bytes) == pytest.approx(2 * (k * n + m * k + m * n), rel=1e-12)
    pairs = 700 * (300 + 350) + 40 * 20
    assert float(prefill["prefill_attention"].flops) == pytest.approx(2 * heads * (192 + 128) * pairs, rel=1e-12)
    assert float(prefill["kv_up"].flops) == pytest.approx(2 * (300 + 700 + 40) * 512 * heads * 256, rel=1e-12)


def test_an_ungated_ffn_has_two_matrices():
    gated, ungated = (step(arch((32, {"ffn_matrices": n})), "decode").parts for n in (3, 2))
    assert float(ungated["gate_up"].flops) == float(gated["gate_up"].flops) / 2
    assert float(ungated["down"].flops) == float(gated["down"].flops)


def test_layers_without_attention_have_an_ffn_only():
    none = {"num_attention_heads": 0, "num_key_value_heads": 0, "head_dim": 0}
    parts, without = (step(model, "mixed").parts for model in (arch((16, {})), arch((16, {}), (16, none))))
    for name in ("qkv", "attention_output", "decode_attention", "prefill_attention", "rotary", "kv_cache_write"):
        assert float(without[name].seconds) == float(parts[name].seconds)
    assert float(without["gate_up"].seconds) == 2 * float(parts["gate_up"].seconds)
    assert float(without["all_reduce"].seconds) == pytest.approx(float(parts["all_reduce"].seconds) * 49 / 33)


def seconds(layers, model, batch):
    return kernels(batch, dataclasses.replace(model, layers=layers), Deployment(2.0), TIER0).total_s


SECONDS, SLOPES = jit(jax.vmap(seconds, in_axes=(0, None, None))), jit(jax.grad(seconds))


@pytest.mark.parametrize(
    "model",
    [
        arch((18, {}), (18, {"sliding_window": 128})),
        arch((3, LATENT), (5, LATENT | EXPERTS)),
        arch((12, {"attention_chunk_size": 512}), (4, {"ffn_matrices": 2})),
        arch((3, {"qk_norm": 1}), (5, EXPERTS | {"router_bias": 1, "router_groups": 1})),
    ],
    ids=["windows", "latents and experts", "chunks", "norms and routers"],
)
@pytest.mark.parametrize("batch", BATCHES)
def test_gradients_of_layers_are_differences(model, batch):
    """Of every leaf that is not 0, in both groups; one that is 0 says what is not there."""
    values, structure = jax.tree.flatten(model.layers)
    values, step = np.stack(np.broadcast_arrays(*values)), filled(BATCHES[batch])
    size = 1e-5 * values.ravel()
    nudges = (np.eye(size.size) * size).reshape(-1, *values.shape)
    moved = np.concatenate([values - nudges, values + nudges])
    below, above = np.split(SECONDS(jax.tree.unflatten(structure, list(moved.swapaxes(0, 1))), model, step), 2)
    slopes = np.ravel(jax.tree.leaves(SLOPES(jax.tree.unflatten(structure, list(values)), model, step)))
    there, rounding = size > 0, 1e-10 * float(np.max(above)) / np.min(size[size > 0])
    np.testing.assert_allclose(slopes[there], ((above - below)[there] / (2 * size[there])), rtol=1e-5, atol=rounding)


def test_models_with_more_kinds_of_layers_stack_with_those_of_fewer():
    plain, mixed = alike([arch((32, {})), arch((18, {}), (18, {"sliding_window": 128}))])
    assert plain.layers.head_dim.shape == mixed.layers.head_dim.shape == (2,)
    assert float(plain.num_hidden_layers) == 32
    one, two = (step(model, "mixed").total_s for model in (plain, arch((32, {}))))
    assert float(one) == pytest.approx(float(two), rel=1e-12)


def test_what_is_set_for_all_layers_needs_equal_ones():
    assert replace(arch((32, {})), {"num_hidden_layers": [16, 32]}).layers.num_hidden_layers.shape == (2, 1)
    with pytest.raises(InputError, match="replace: head_dim: has a value for each kind of layer"):
        replace(arch((16, {}), (16, {"sliding_window": 8})), {"head_dim": 64})


@pytest.mark.parametrize("step_model", ["memory", "roofline"])
@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"num_experts": 8}, "num_experts: the STEP step time is for dense models"),
        ({"kv_lora_rank": 512}, "kv_lora_rank: the STEP step time is for plain layers"),
        ({"q_lora_rank": 512}, "q_lora_rank: the STEP step time is for plain layers"),
        ({"attention_chunk_size": 512}, "attention_chunk_size: the STEP step time is for plain layers"),
        ({"ffn_matrices": 2}, "ffn_matrices: the STEP step time is for plain layers"),
        ({"kv_projections": 1}, "kv_projections: the STEP step time is for plain layers"),
        ({"v_head_dim": 64}, "v_head_dim: the STEP step time is for plain layers"),
        ({"head_dim": 64}, "layers: the STEP step time is for equal layers; use kernels: head_dim differs"),
        (
            {"sliding_window": 512},
            "layers: the STEP step time is for equal layers; use kernels: sliding_window differs",
        ),
    ],
)
def test_step_times_of_plain_models_refuse_others(step_model, other, says):
    with pytest.raises(InputError, match=says.replace("STEP", step_model)):
        refuse_layers("x", step_model, arch((16, {}), (16, other)))


@pytest.mark.parametrize("part", ["attention", "ffn"])
def test_roofline_refuses_products_of_8_bits_that_memory_knows_the_bytes_of(part):
    narrow = arch((32, {f"{part}_input_bytes": 1, f"{part}_weight_bytes": 1}))
    refuse_layers("x", "memory", narrow)
    with pytest.raises(InputError, match=f"x: {part}_input_bytes: the roofline step time is for products of 16 bits"):
        refuse_layers("x", "roofline", narrow)


def test_every_kind_of_layer_must_be_shared_out():
    model = arch((16, {}), (16, {"num_key_value_heads": 3, "num_attention_heads": 6}))
    with pytest.raises(InputError, match="tp: 6 attention heads cannot be divided by 4"):
        check_deployment("x", model, 4)
    with pytest.raises(InputError, match="tp: 3 KV heads can be neither divided nor replicated over 2"):
        check_deployment("x", model, 2)
