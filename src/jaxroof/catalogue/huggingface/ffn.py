"""FFN of each layer: a dense one, or experts and those that are shared."""

from collections.abc import Callable
from typing import Any

from jaxroof.catalogue.huggingface.config import Config
from jaxroof.catalogue.huggingface.types import CHOSEN_KEYS, EXPERT_KEYS, Kind, Mixture
from jaxroof.files import Range


def _from(text: Config, key: str, layer: int) -> bool:
    """From a layer on; where that is the end, none has."""
    return layer >= text.optional(key, Range(high=text.layers, whole=True, limit="num_hidden_layers"))


def _every(text: Config, key: str, layer: int) -> bool:
    return bool((layer + 1) % text.count(key, 1) == 0)


def _frequency(text: Config, key: str, layer: int) -> bool:
    """A list says it of each layer, a number how often."""
    if isinstance(text.get(key), list):
        return bool(text.per_layer(key)[layer])
    return bool(layer % text.count(key, 1) == 0)


TYPES = "mlp_layer_types"
# By key: whether a layer has experts. All that a file has must agree, where it has no list of types.
SPARSE: dict[str, Callable[[Config, str, int], bool]] = {
    "first_k_dense_replace": _from,
    "moe_layer_freq": _frequency,
    "mlp_only_layers": lambda text, key, layer: layer not in text.items(key),
    "decoder_sparse_step": _every,
    "interleave_moe_layer_step": lambda text, key, layer: "moe_layers" in text.table or _every(text, key, layer),
    "moe_layers": lambda text, key, layer: layer in text.items(key),
    "moe_layers_enum": lambda text, key, layer: str(layer) in str(text.get(key)).split(","),
    "moe_layer_interval": _every,
    "moe_layer_start_index": _from,
    "moe_layer_end_index": lambda text, key, layer: text.get(key) == -1 or layer <= text.optional(key),
}


def ffn(text: Config, kind: Kind, layer: int) -> dict[str, float]:
    """The FFN fields of a layer. Raises InputError."""
    mixture, key = kind.mixture, text.first(*EXPERT_KEYS)
    if mixture and key is None and (chosen_key := text.first(*CHOSEN_KEYS)):
        raise text.error(chosen_key, f"is of experts, and there is none of {', '.join(EXPERT_KEYS)}")
    experts = text.count(key) if key else 1.0
    if mixture is None or key is None or experts == 1:
        return _fields(kind, text.count("intermediate_size"))
    if not _has_experts(text, kind, layer):
        return _fields(kind, text.count(mixture.dense))
    chosen_key = text.first(*CHOSEN_KEYS) or CHOSEN_KEYS[0]
    chosen = text.count(chosen_key)
    if chosen > experts:
        raise text.error(chosen_key, f"must be ≤ {key}, got {chosen:g} > {experts:g}")
    width = text.count("moe_intermediate_size" if text.get("moe_intermediate_size") else "intermediate_size")
    of_experts = {"num_experts": experts, "num_experts_per_tok": chosen, "moe_intermediate_size": width}
    return _fields(kind, _shared(text, mixture)) | of_experts | dict.fromkeys(kind.router, 1.0)


def _has_experts(text: Config, kind: Kind, layer: int) -> bool:
    if TYPES not in kind.reads or not text.get(TYPES):
        return all(rule(text, key, layer) for key, rule in SPARSE.items() if key in kind.reads and key in text.table)
    stated = text.per_layer(TYPES)[layer]
    if stated not in ("dense", "sparse"):
        raise text.error(TYPES, f"{stated} is not modelled")
    return bool(stated == "sparse")


def _fields(kind: Kind, width: float) -> dict[str, Any]:
    return {"intermediate_size": width, "ffn_matrices": float(kind.ffn_matrices)}


def _shared(text: Config, mixture: Mixture) -> float:
    """The width of the dense FFN that the shared experts amount to."""
    count = text.optional(mixture.shared_count) if mixture.shared_count else 1.0
    return count * text.optional(mixture.shared_width) if mixture.shared_width else 0.0
