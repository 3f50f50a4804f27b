"""Attention of each layer: which attend to a window, with how many heads of what width."""

from collections.abc import Callable
from typing import Any

from jaxroof.catalogue.huggingface.config import Config
from jaxroof.catalogue.huggingface.types import CHUNKED, FULL, SLIDING, Kind

Rule = Callable[[Config, int], str]
Norms = Callable[[Config, int], bool]
# What a layer may have of its own.
OWN = ("num_attention_heads", "num_key_value_heads", "head_dim", "v_head_dim", "sliding_window")


def _sliding(condition: bool) -> str:
    return SLIDING if condition else FULL


def _pattern(text: Config, layer: int) -> str:
    """A period, whose last layer is a full one, or a word of L and G, local and global."""
    pattern = text.get("sliding_window_pattern")
    if not text.optional("sliding_window"):
        return FULL
    if not isinstance(pattern, str):
        return _sliding((layer + 1) % text.count("sliding_window_pattern") != 0)
    if not pattern or set(pattern) - {"L", "G"}:
        raise text.error("sliding_window_pattern", f"must be a period or a word of L and G, got {pattern!r}")
    return _sliding(pattern[layer % len(pattern)] == "L")


def _alternating(text: Config, layer: int) -> str:
    switched = text.flag("use_sliding_window") and layer < text.count("max_window_layers")
    return _sliding(switched and layer % 2 == 0)


def _after(text: Config, layer: int) -> str:
    return _sliding(text.flag("use_sliding_window") and layer >= text.optional("max_window_layers"))


def _past(text: Config, layer: int) -> str:
    return _sliding(bool(text.optional("sliding_window")) and layer >= text.count("max_window_layers"))


def _rotates(text: Config, layer: int) -> bool:
    """Whether a layer rotates its keys; files leave the list out or empty."""
    stated = text.items("no_rope_layers")
    if stated and layer >= len(stated):
        raise text.error("no_rope_layers", f"must have an item for each layer, got {len(stated)}")
    return bool(stated[layer] if stated else (layer + 1) % text.count("no_rope_layer_interval", 4))


def _rotated(text: Config, layer: int) -> str:
    return CHUNKED if _rotates(text, layer) and text.optional("attention_chunk_size") else FULL


def _unrotated(text: Config, layer: int) -> str:
    switched = text.flag("use_sliding_window") and text.optional("sliding_window") > 0
    return _sliding(switched and not _rotates(text, layer))


def _hybrid(text: Config, layer: int) -> str:
    return _sliding(bool(text.per_layer("hybrid_layer_pattern")[layer]))


def _softmax(text: Config, layer: int) -> str:
    """1 is attention; others of the same family have layers without."""
    if "attn_type_list" in text.table and (kind := text.per_layer("attn_type_list")[layer]) != 1:
        raise text.error("attn_type_list", f"{kind} is not modelled")
    return FULL


def _stated(text: Config, layer: int) -> str:
    raise text.error("layer_types", "missing key")


# The kind of a layer of a file that has no ``layer_types``.
WINDOWS: dict[str, Rule] = {
    "none": lambda text, layer: FULL,
    "all": lambda text, layer: _sliding(bool(text.optional("sliding_window"))),
    "switched": lambda text, layer: _sliding(text.flag("use_sliding_window")),
    "after": _after,
    "alternating": _alternating,
    "past": _past,
    "pattern": _pattern,
    "rotated": _rotated,
    "unrotated": _unrotated,
    "hybrid": _hybrid,
    "softmax": _softmax,
    "stated": _stated,
}


def _switched(text: Config, key: str) -> bool:
    """A flag that files may leave out or empty."""
    return text.get(key) is not None and text.flag(key)


# Whether a layer norms queries and keys, or latents.
NORMED: dict[str, Norms] = {
    "none": lambda text, layer: False,
    "all": lambda text, layer: True,
    "qk_norm": lambda text, layer: _switched(text, "qk_norm"),
    "use_qk_norm": lambda text, layer: _switched(text, "use_qk_norm"),
    "qk_layernorm": lambda text, layer: _switched(text, "qk_layernorm"),
    "rotated": lambda text, layer: _switched(text, "use_qk_norm") and _rotates(text, layer),
}


def layer_kinds(text: Config, kind: Kind) -> list[str]:
    """Each layer's kind: ``full_attention``, ``sliding_attention`` or ``chunked_attention``. Raises InputError."""
    layers = text.layers
    if not text.get("layer_types") or "layer_types" not in kind.reads:
        return [WINDOWS[kind.window](text, layer) for layer in range(layers)]
    known = (FULL, CHUNKED) if kind.window == "rotated" else (FULL, SLIDING)
    stated = text.per_layer("layer_types")
    if odd := [value for value in stated if value not in known]:
        raise text.error("layer_types", f"{odd[0]} is not modelled")
    return stated


def attention(text: Config, kind: Kind, layer: str, index: int) -> dict[str, float]:
    """The attention fields of a layer of this kind, the ``index``-th. Raises InputError."""
    keys = {} if "per_layer_config" in text.table else kind.keys.get(layer, {})
    text = _of_layer(text, layer, index)
    window = {
        "sliding_window": text.count("sliding_window") if layer == SLIDING else 0.0,
        "attention_chunk_size": text.count("attention_chunk_size") if layer == CHUNKED else 0.0,
        "qk_norm": float(NORMED[kind.qk_norm](text, index)),
    }
    if kind.latent:
        return _latent(text) | window
    if text.flag("attention_k_eq_v") and layer == FULL:
        return _heads(text, keys) | window | {"kv_projections": 1.0}
    if "attention_k_eq_v" in text.table:  # then alone the full layers have KV heads of their own
        keys = {field: key for field, key in keys.items() if field != "num_key_value_heads"}
    return _heads(text, keys) | window


def _of_layer(text: Config, layer: str, index: int) -> Config:
    """The settings of one layer: its own, and those of its kind, before the others."""
    every, other = text.part("per_layer_config"), text.part("attention_other_setting")
    names = [key for key in every.table if key.isdecimal() and int(key) == index]
    own = every.part(names[0]) if names else Config(text.path, {})
    if odd := [key for key in own.table if key not in OWN]:
        raise own.error(odd[0], "not modelled")
    of_kind = other.table if other.get("attention_type") == layer else {}
    return text.between({}, {**of_kind, **own.table})


def _heads(text: Config, keys: Any) -> dict[str, float]:
    """Heads that share KV heads; no ``num_key_value_heads``: as many, no ``head_dim``: hidden_size / heads."""
    heads_key, kv_key, dim_key, value_key = (
        keys.get(field) if keys.get(field) in text.table else field
        for field in ("num_attention_heads", "num_key_value_heads", "head_dim", "v_head_dim")
    )
    heads = text.count(heads_key)
    kv_heads = text.count(kv_key, heads)
    if heads % kv_heads:
        raise text.error(kv_key, f"{heads:g} heads cannot be divided by {kv_heads:g} KV heads")
    return {
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": text.count(dim_key, text.count("hidden_size") / heads),
        "v_head_dim": text.optional(value_key),
    }


def _latent(text: Config) -> dict[str, float]:
    """Multi-head latent attention: every head has keys and values of its own, made of one latent."""
    heads, rope = text.count("num_attention_heads"), text.count("qk_rope_head_dim")
    return {
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": text.count("qk_nope_head_dim") + rope,
        "v_head_dim": text.count("v_head_dim"),
        "q_lora_rank": text.optional("q_lora_rank"),
        "kv_lora_rank": text.count("kv_lora_rank"),
        "qk_rope_head_dim": rope,
    }
