"""A model in a line: its size, its KV cache, how it attends and how precise its weights are; loads no JAX."""

from collections.abc import Mapping
from typing import Any

from jaxroof.catalogue.counts import counts
from jaxroof.catalogue.huggingface import config_path, load_shape
from jaxroof.files import read_json

# What a layer's attention may be limited to, and what such layers are called.
WINDOWS = {"sliding_window": "sliding", "attention_chunk_size": "chunked"}


def summary(name: str) -> dict[str, Any]:
    """What tells a model from others; parameters in billions. Raises InputError."""
    shape = load_shape(name)
    counted = counts(shape)
    return {
        "name": name,
        "parameters_billion": counted.parameters / 1e9,
        "active_billion": counted.active_parameters / 1e9,
        "layers": int(sum(shape["layers"]["num_hidden_layers"])),
        "kv_bytes_per_token": int(counted.kv_bytes_per_token),
        "attention": attention(shape["layers"]),
        "precision": precision(read_json(config_path(name))),
    }


def attention(layers: Mapping[str, list[float]]) -> str:
    """MHA, GQA, MQA or MLA, and how many of the layers slide over how many tokens, or attend to chunks of so many."""
    kinds = [_heads(*group) for group in zip(*(layers[key] for key in HEADS), strict=True)]
    counts = layers["num_hidden_layers"]
    words = [" and ".join(dict.fromkeys(kind for kind in kinds if kind))]
    for key, word in WINDOWS.items():
        for window in sorted({size for size in layers[key] if size}):
            limited = sum(count for count, size in zip(counts, layers[key], strict=True) if size == window)
            words.append(f"{limited:g} of {sum(counts):g} {word} {window:g}")
    return ", ".join(words)


HEADS = ("num_attention_heads", "num_key_value_heads", "kv_lora_rank")


def _heads(heads: float, kv_heads: float, latent: float) -> str:
    """The kind of a group's attention, nothing where it has none."""
    if not heads or latent:
        return "MLA" if latent else ""
    return {heads: "MHA", 1: "MQA"}.get(kv_heads, "GQA")


def precision(config: Mapping[str, Any]) -> str:
    """The format that most weights are kept in, as the file calls it."""
    text = config.get("text_config") or {}
    settings = config.get("quantization_config") or text.get("quantization_config")
    if not settings:
        dtypes = (part.get(key) for part in (text, config) for key in ("torch_dtype", "dtype"))
        return next((dtype for dtype in dtypes if dtype), "bfloat16")
    weights = [group.get("weights") or {} for group in (settings.get("config_groups") or {}).values()]
    formats = dict.fromkeys(f"{each.get('type')}{each.get('num_bits')}" for each in weights)
    return ", ".join(formats) or str(settings.get("quant_algo") or settings.get("quant_method"))
