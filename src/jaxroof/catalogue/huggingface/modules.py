"""The modules of a layer, by part, with their weights; the bytes per weight of each part are their mean."""

from collections.abc import Iterator, Mapping

from jaxroof.catalogue.huggingface.quantisation import Quantisation
from jaxroof.catalogue.huggingface.schemes import PLAIN
from jaxroof.catalogue.huggingface.types import Names

PREFIXES = ("model.", "model.language_model.", "language_model.model.")
HEADS = ("lm_head", "language_model.lm_head", "model.lm_head", "model.language_model.lm_head")
# Matrices that some checkpoints keep as one.
FUSED = {
    "q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj",
}  # fmt: skip
Module = tuple[str, str, float]  # part, name within the layer, weights


def precision(
    layer: Mapping[str, float], hidden: float, names: Names, index: int, quantisation: Quantisation
) -> dict[str, float]:
    """``…_weight_bytes`` and ``…_input_bytes`` of each part of a layer, ``input_block`` of its FP8 inputs."""
    parts: dict[str, list[tuple[float, float, float]]] = {}
    block = 0.0
    for part, module, count in modules(layer, hidden, names):
        scheme = quantisation.scheme(_aliases(index, module)) if quantisation.rules else PLAIN
        block = max(block, scheme.block) if 1 <= scheme.input < PLAIN.input else block
        parts.setdefault(part, []).append((count, scheme.weight, scheme.input))
    result = {"input_block": block}
    for part in ("attention", "ffn", "expert"):
        total = sum(count for count, _, _ in parts.get(part, ()))
        for which, name in ((1, "weight"), (2, "input")):
            mean = sum(module[0] * module[which] for module in parts.get(part, ())) / total if total else 0.0
            result[f"{part}_{name}_bytes"] = mean or PLAIN[which - 1]
    return result


def head_bytes(quantisation: Quantisation, tied: bool) -> float:
    """Bytes of a weight of the head; one that is the embedding is not quantised."""
    return PLAIN.weight if tied or not quantisation.head else quantisation.scheme(HEADS).weight


def _aliases(index: int, module: str) -> Iterator[str]:
    """The names that a module of a layer may have in a checkpoint."""
    inner, _, matrix = module.rpartition(".")
    for prefix in PREFIXES:
        for name in filter(None, (matrix, FUSED.get(matrix))):
            yield f"{prefix}layers.{index}.{inner}.{name}"


def modules(layer: Mapping[str, float], hidden: float, names: Names) -> Iterator[Module]:
    """Each with its part (attention, ffn or expert), its name within the layer, and its weights."""
    for name, count in _attention(layer, hidden).items():
        yield "attention", f"self_attn.{name}", count
    mixture = layer.get("num_experts", 0.0) > 0
    dense, expert = layer["intermediate_size"], layer.get("moe_intermediate_size", 0.0)
    gated = layer.get("ffn_matrices", 3.0) > 2
    for matrix in (names.matrices if mixture else Names.matrices)[not gated :]:
        if mixture:
            yield "expert", f"{names.expert}.{matrix}", hidden * expert
        yield "ffn", f"{names.shared if mixture else names.dense}.{matrix}", hidden * dense


def _attention(layer: Mapping[str, float], hidden: float) -> dict[str, float]:
    """Weights of each projection; the sums of ``jaxroof.weights.attention``."""
    heads, kv_heads, width = layer["num_attention_heads"], layer["num_key_value_heads"], layer["head_dim"]
    values, latent, queries = layer.get("v_head_dim") or width, layer.get("kv_lora_rank", 0.0), heads * width
    result = {"o_proj": heads * values * hidden}
    if compressed := layer.get("q_lora_rank", 0.0):
        result |= {"q_a_proj": hidden * compressed, "q_b_proj": compressed * queries}
    else:
        result |= {"q_proj": hidden * queries}
    if latent:
        rope = layer["qk_rope_head_dim"]
        expanded = heads * (width - rope + values)
        return result | {"kv_a_proj_with_mqa": hidden * (latent + rope), "kv_b_proj": latent * expanded}
    of_values = hidden * kv_heads * values * (layer.get("kv_projections", 2.0) - 1)
    return result | {"k_proj": hidden * kv_heads * width, "v_proj": of_values}
