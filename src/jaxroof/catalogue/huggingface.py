"""A Hugging Face ``config.json`` → the numbers of an ``Architecture``; loads no JAX."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.catalogue.names import find
from jaxroof.files import COUNT, NON_NEGATIVE, InputError, read_json
from jaxroof.files.check import number, one_of, required, table_at, text_at

# Each model_type that is modelled, and the key that makes its sliding_window one of attention ("": none does).
MODELLED = {
    "llama": "",
    "mistral": "sliding_window",
    "mixtral": "sliding_window",
    "qwen2": "use_sliding_window",
    "qwen2_moe": "use_sliding_window",
    "qwen3": "use_sliding_window",
    "qwen3_moe": "use_sliding_window",
    "phi3": "sliding_window",
    "granite": "",
}
DTYPE_BYTES = {"bfloat16": 2.0, "float16": 2.0}
EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts")
# Layers of several kinds and compressed KV caches have no home in Architecture.
UNSUPPORTED_KEYS = (
    "kv_lora_rank", "first_k_dense_replace", "mlp_only_layers", "hybrid_override_pattern", "interleave_moe_layer_step",
    "cross_attention_layers", "is_encoder_decoder", "compression_config",
)  # fmt: skip
UNSUPPORTED_PREFIXES = ("mamba_", "linear_")
# Rope types whose max_position_embeddings already counts their factor.
SCALED_ROPE = ("llama3", "longrope", "su")
SPARSE_STEP = "decoder_sparse_step"


def config_path(name: str) -> Path:
    """The file of a catalogue model, a ``config.json``, or the one in a folder."""
    path = find("models", name)
    return path / "config.json" if os.path.isdir(path) else path


def load_shape(name: str) -> dict[str, float]:
    """The fields of a catalogue model, or of any Hugging Face ``config.json`` or its folder. Raises InputError."""
    path = config_path(name)
    shape = shape_from_config(path, read_json(path))
    _refuse_quantised(path.with_name("hf_quant_config.json"))
    return shape


def parameter_count(shape: Mapping[str, float]) -> float:
    """Weights of the layers' matrices, routed experts among them, the embedding and the head (one when tied)."""
    hidden, experts = shape["hidden_size"], shape["num_experts"]
    attention = 2 * hidden * shape["head_dim"] * (shape["num_attention_heads"] + shape["num_key_value_heads"])
    expert = hidden * (3 * shape["moe_intermediate_size"] + 1)  # and its row of the router
    layer = attention + 3 * hidden * shape["intermediate_size"] + experts * expert
    embeddings = (2 - shape["tie_word_embeddings"]) * shape["vocab_size"] * hidden
    return shape["num_hidden_layers"] * layer + embeddings


def shape_from_config(path: Path, config: Mapping[str, Any]) -> dict[str, float]:
    """Read a config whose ``model_type`` is in ``MODELLED``; keys that are not needed are ignored.

    Multimodal configs nest the decoder under ``text_config``. No ``num_key_value_heads`` means
    multi-head attention, no ``head_dim`` means hidden_size / num_attention_heads. Raises InputError.
    """
    text = _object(path, config, "text_config") or config
    name = text_at(path, text, "model_type")
    if name not in MODELLED:
        raise InputError(path, "model_type", f"{name} is not modelled; modelled are {', '.join(MODELLED)}")
    _refuse_unmodelled(path, text)
    heads, hidden = _count(path, text, "num_attention_heads"), _count(path, text, "hidden_size")
    kv_heads = _count(path, text, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise InputError(path, "num_key_value_heads", f"{heads:g} heads cannot be divided by {kv_heads:g} KV heads")
    activation_bytes = _activation_bytes(path, text, config)
    every = {**config, **{key: value for key, value in text.items() if value is not None}}
    return {
        "num_hidden_layers": _count(path, text, "num_hidden_layers"),
        "hidden_size": hidden,
        "vocab_size": _count(path, text, "vocab_size"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": _count(path, text, "head_dim", hidden / heads),
        "weight_bytes": _weight_bytes(path, every, activation_bytes),
        "activation_bytes": activation_bytes,
        "tie_word_embeddings": _tied(path, every),
        "sliding_window": _optional(path, text, "sliding_window") if text.get(MODELLED[name]) else 0.0,
        "max_position_embeddings": _positions(path, text),
        **_ffn(path, text),
    }


def _refuse_quantised(path: Path) -> None:
    """An ``hf_quant_config.json``, where there is one, must say that nothing is quantised."""
    if not path.exists():
        return
    content = read_json(path)
    required(path, content, "quantization")
    for key in ("quant_algo", "kv_cache_quant_algo"):
        algo = required(path, table_at(path, content, "quantization"), key, "quantization.")
        if algo is not None:
            raise InputError(path, f"quantization.{key}", f"{algo} is not modelled")


def _refuse_unmodelled(path: Path, text: Mapping[str, Any]) -> None:
    for key, value in text.items():
        if value and (key in UNSUPPORTED_KEYS or key.startswith(UNSUPPORTED_PREFIXES)):
            raise InputError(path, key, "not modelled")
    layers = text.get("layer_types") or []
    if odd := [kind for kind in (layers if isinstance(layers, list) else [layers]) if kind != "full_attention"]:
        raise InputError(path, "layer_types", f"{odd[0]} is not modelled")


def _positions(path: Path, text: Mapping[str, Any]) -> float:
    """The longest context that vLLM serves [tokens], 0 where none is stated."""
    stated = _optional(path, text, "max_position_embeddings")
    rope = _object(path, text, "rope_scaling") or _object(path, text, "rope_parameters")
    if not rope.get("factor") or (rope.get("rope_type") or rope.get("type")) in SCALED_ROPE:
        return stated
    return _optional(path, rope, "factor") * (_optional(path, rope, "original_max_position_embeddings") or stated)


def _object(path: Path, table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """``table[key]``, empty where it is missing or null."""
    value = table.get(key)
    if not isinstance(value, Mapping | None):
        raise InputError(path, key, "must be an object")
    return value or {}


def _optional(path: Path, table: Mapping[str, Any], key: str) -> float:
    """A number; 0 where it is missing or null."""
    return number(path, key, table.get(key) or 0, NON_NEGATIVE)


def _count(path: Path, table: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A whole number; a missing or null one is ``default`` where there is one."""
    missing = default is not None and table.get(key) is None
    return number(path, key, default if missing else required(path, table, key), COUNT)


def _ffn(path: Path, text: Mapping[str, Any]) -> dict[str, float]:
    """Dense FFN, or routed experts and the dense FFN that a mixture's shared experts amount to."""
    intermediate = _count(path, text, "intermediate_size")
    key = next((key for key in EXPERT_KEYS if text.get(key)), None)
    experts = _count(path, text, key) if key else 1.0
    if experts == 1:
        none = dict.fromkeys(("num_experts", "num_experts_per_tok", "moe_intermediate_size"), 0.0)
        return {"intermediate_size": intermediate, **none}
    if (text.get(SPARSE_STEP) or 1) != 1:
        raise InputError(path, SPARSE_STEP, "layers of two kinds are not modelled")
    chosen = _count(path, text, "num_experts_per_tok")
    expert = _count(path, text, "moe_intermediate_size", intermediate)
    if chosen > experts:
        raise InputError(path, "num_experts_per_tok", f"must be ≤ {key}, got {chosen:g} > {experts:g}")
    shared = _optional(path, text, "n_shared_experts") * expert
    shared += _optional(path, text, "shared_expert_intermediate_size")
    experts_of = {"num_experts": experts, "num_experts_per_tok": chosen, "moe_intermediate_size": expert}
    return {"intermediate_size": shared, **experts_of}


def _activation_bytes(path: Path, *configs: Mapping[str, Any]) -> float:
    """Bytes of ``torch_dtype`` or ``dtype``, the decoder's before the whole model's."""
    for config in configs:
        for key in ("torch_dtype", "dtype"):
            if (dtype := config.get(key)) is not None:
                if dtype == "float32":
                    raise InputError(path, key, "vLLM serves a float32 checkpoint in 16 bit; state bfloat16 or float16")
                one_of(path, key, dtype, DTYPE_BYTES)
                return DTYPE_BYTES[dtype]
    raise InputError(path, "torch_dtype", "missing key; state the bfloat16 or float16 that the model is served in")


def _weight_bytes(path: Path, config: Mapping[str, Any], unquantised: float) -> float:
    """1 for FP8 layers (``fp8``, or ``compressed-tensors`` with 8-bit floats), else the activations' bytes."""
    quantisation = _object(path, config, "quantization_config")
    if not quantisation:
        return unquantised
    if quantisation.get("kv_cache_scheme"):
        raise InputError(path, "quantization_config", "kv_cache_scheme: a quantised KV cache is not modelled")
    method, groups = quantisation.get("quant_method"), _object(path, quantisation, "config_groups")
    weights = [_object(path, _object(path, groups, name), "weights") for name in groups]
    found = sorted({f"{w.get('num_bits')}-bit {w.get('type')}" for w in weights})
    if method == "fp8" or (method, found) == ("compressed-tensors", ["8-bit float"]):
        return 1.0
    found_weights = f" with {' and '.join(found)} weights" if found else ""
    understood = "only fp8 and compressed-tensors with 8-bit float weights are modelled"
    raise InputError(path, "quantization_config", f"{understood}, got {method}{found_weights}")


def _tied(path: Path, config: Mapping[str, Any]) -> float:
    tied = config.get("tie_word_embeddings")
    if not isinstance(tied, bool | None):
        raise InputError(path, "tie_word_embeddings", f"must be true or false, got {tied!r}")
    return float(bool(tied))
