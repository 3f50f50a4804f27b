"""A Hugging Face ``config.json`` → :class:`Architecture`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.inputs.errors import InputError
from jaxroof.inputs.files import number, one_of, required
from jaxroof.leaves import COUNT, NON_NEGATIVE
from jaxroof.params import Architecture

DTYPE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "float8_e4m3fn": 1.0, "float8_e5m2": 1.0}
EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts")
# Layers of several kinds and compressed KV caches have no home in Architecture.
UNSUPPORTED_KEYS = ("kv_lora_rank", "first_k_dense_replace", "mlp_only_layers")
SPARSE_STEP = "decoder_sparse_step"


def architecture_from_config(path: Path, config: Mapping[str, Any]) -> Architecture:
    """Read a Llama, Qwen, Mistral or Mixtral style config; keys that are not needed are ignored.

    Multimodal configs nest the decoder under ``text_config``. No ``num_key_value_heads`` means
    multi-head attention, no ``head_dim`` means hidden_size / num_attention_heads. Raises InputError.
    """
    text = config.get("text_config", config)
    if not isinstance(text, Mapping):
        raise InputError(path, "text_config", "must be an object")
    for key in UNSUPPORTED_KEYS:
        if text.get(key):
            raise InputError(path, key, "not modelled")
    heads, hidden = _count(path, text, "num_attention_heads"), _count(path, text, "hidden_size")
    kv_heads = _count(path, text, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise InputError(path, "num_key_value_heads", f"{heads:g} heads cannot be divided by {kv_heads:g} KV heads")
    activation_bytes = _activation_bytes(path, text, config)
    return Architecture(
        num_hidden_layers=_count(path, text, "num_hidden_layers"),
        hidden_size=hidden,
        vocab_size=_count(path, text, "vocab_size"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=_count(path, text, "head_dim", hidden / heads),
        weight_bytes=_weight_bytes(path, {**config, **text}, activation_bytes),
        activation_bytes=activation_bytes,
        tie_word_embeddings=_tied(path, {**config, **text}),
        **_ffn(path, text),
    )


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
        return {"intermediate_size": intermediate}
    if (text.get(SPARSE_STEP) or 1) != 1:
        raise InputError(path, SPARSE_STEP, "layers of two kinds are not modelled")
    chosen, expert = (
        _count(path, text, "num_experts_per_tok"),
        _count(path, text, "moe_intermediate_size", intermediate),
    )
    if chosen > experts:
        raise InputError(path, "num_experts_per_tok", f"must be ≤ {key}, got {chosen:g} > {experts:g}")
    shared = number(path, "n_shared_experts", text.get("n_shared_experts") or 0, NON_NEGATIVE) * expert
    shared += number(
        path, "shared_expert_intermediate_size", text.get("shared_expert_intermediate_size") or 0, NON_NEGATIVE
    )
    experts_of = {"num_experts": experts, "num_experts_per_tok": chosen, "moe_intermediate_size": expert}
    return {"intermediate_size": shared, **experts_of}


def _activation_bytes(path: Path, *configs: Mapping[str, Any]) -> float:
    """Bytes of ``torch_dtype`` or ``dtype``, the decoder's before the whole model's."""
    for config in configs:
        for key in ("torch_dtype", "dtype"):
            if (dtype := config.get(key)) is not None:
                one_of(path, key, dtype, DTYPE_BYTES)
                return DTYPE_BYTES[dtype]
    raise InputError(path, "torch_dtype", "missing key")


def _weight_bytes(path: Path, config: Mapping[str, Any], unquantised: float) -> float:
    """1 for FP8 layers (``fp8``, or ``compressed-tensors`` with 8-bit floats), else the activations' bytes."""
    quantisation = config.get("quantization_config")
    if quantisation is None:
        return unquantised
    if not isinstance(quantisation, Mapping):
        raise InputError(path, "quantization_config", "must be an object")
    if quantisation.get("quant_method") == "fp8":
        return 1.0
    groups = quantisation.get("config_groups")
    each = list(groups.values()) if isinstance(groups, Mapping) else []
    weights = [group.get("weights") if isinstance(group, Mapping) else None for group in each]
    if weights and all(isinstance(w, Mapping) and (w.get("num_bits"), w.get("type")) == (8, "float") for w in weights):
        return 1.0
    method = quantisation.get("quant_method")
    raise InputError(path, "quantization_config", f"only fp8 and 8-bit-float compressed-tensors, got {method!r}")


def _tied(path: Path, config: Mapping[str, Any]) -> float:
    tied = config.get("tie_word_embeddings")
    if not isinstance(tied, (bool, type(None))):
        raise InputError(path, "tie_word_embeddings", f"must be true or false, got {tied!r}")
    return float(bool(tied))
