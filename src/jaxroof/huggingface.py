"""A Hugging Face ``config.json`` → :class:`Architecture`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.errors import InputError
from jaxroof.files import number, one_of, required
from jaxroof.leaves import COUNT
from jaxroof.params import Architecture

DTYPE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "float8_e4m3fn": 1.0, "float8_e5m2": 1.0}
EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts")


def architecture_from_config(path: Path, config: Mapping[str, Any]) -> Architecture:
    """Read a dense Llama, Qwen or Mistral style config; keys that are not needed are ignored.

    Multimodal configs nest the decoder under ``text_config``. No ``num_key_value_heads`` means
    multi-head attention, no ``head_dim`` means hidden_size / num_attention_heads. Raises InputError.
    """
    text = config.get("text_config", config)
    if not isinstance(text, Mapping):
        raise InputError(path, "text_config", "must be an object")
    for key in EXPERT_KEYS:
        if (text.get(key) or 1) != 1:
            raise InputError(path, key, "a mixture of experts; the step-time models are for dense models")

    def count(key: str) -> float:
        return number(path, key, required(path, text, key), COUNT)

    heads = count("num_attention_heads")
    kv_heads = heads if text.get("num_key_value_heads") is None else count("num_key_value_heads")
    if heads % kv_heads:
        raise InputError(path, "num_key_value_heads", f"{heads:g} heads cannot be divided by {kv_heads:g} KV heads")
    hidden = count("hidden_size")
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    if not isinstance(tied, (bool, type(None))):
        raise InputError(path, "tie_word_embeddings", f"must be true or false, got {tied!r}")
    return Architecture(
        num_hidden_layers=count("num_hidden_layers"),
        hidden_size=hidden,
        intermediate_size=count("intermediate_size"),
        vocab_size=count("vocab_size"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=number(path, "head_dim", hidden / heads, COUNT) if text.get("head_dim") is None else count("head_dim"),
        weight_bytes=_weight_bytes(path, text, config),
        tie_word_embeddings=float(bool(tied)),
    )


def _weight_bytes(path: Path, *configs: Mapping[str, Any]) -> float:
    """Bytes per weight of ``torch_dtype`` or ``dtype``, the decoder's before the whole model's."""
    for config in configs:
        for key in ("torch_dtype", "dtype"):
            if (dtype := config.get(key)) is not None:
                one_of(path, key, dtype, DTYPE_BYTES)
                return DTYPE_BYTES[dtype]
    raise InputError(path, "torch_dtype", "missing key")
