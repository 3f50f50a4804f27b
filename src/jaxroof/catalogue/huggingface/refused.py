"""What is refused by name: keys of what an ``Architecture`` cannot say, and patterns that a type does not read."""

import re
from collections.abc import Iterable

from jaxroof.catalogue.huggingface.config import Config
from jaxroof.catalogue.huggingface.kinds import KINDS
from jaxroof.catalogue.huggingface.types import EXPERT_KEYS, FULL, Kind

# By key: why a file that says something there is refused, whatever its type; the first is named.
REASONS = {
    r"index_topk": "sparse MLA",
    r"sparse_attention_config": "sparse attention",
    r"hybrid_override_pattern|mamba_.*|ssm_.*": "Mamba layers",
    r"linear_.*|full_attention_interval": "linear attention",
    r"compress_ratios": "a compressed KV cache",
    r"compression_config": "an old form of quantization_config",
    r"num_kv_shared_layers|use_cla": "layers that share a KV cache",
    r"hidden_size_per_layer_input": "embeddings of each layer",
    r"use_double_wide_mlp": "FFNs of two widths",
    r"cross_attention_layers|add_cross_attention|is_encoder_decoder": "cross-attention",
    r"attn_output_gate|attention_output_gate": "gated attention",
}
# A list over layers, by its name; and single numbers that make layers differ.
PATTERN = re.compile(
    r"(?!num_|max_).*(_layers|layer_types|_pattern|_freq|_type_list|_layers_enum)"
    r"|block_configs|per_layer_config|attention_other_setting"
)
NUMBERS = (
    "kv_lora_rank", "first_k_dense_replace", "moe_layer_freq", "decoder_sparse_step", "interleave_moe_layer_step",
    "sliding_window_pattern", *EXPERT_KEYS,
)  # fmt: skip


def kind_of(name: str, text: Config) -> Kind:
    """The entry of a ``model_type`` that is modelled. Raises InputError for others, and for what none can say."""
    named = next(iter(_reasons(text)), None)
    if name not in KINDS:
        because = f" ({named[0]}: {named[1]})" if named else ""
        raise text.error("model_type", f"{name} is not modelled{because}; modelled are {', '.join(KINDS)}")
    if named:
        raise text.error(named[0], f"not modelled ({named[1]})")
    kind = KINDS[name]
    for key, value in text.table.items():
        if key not in kind.reads and _is_pattern(kind, key, value):
            raise text.error(key, _not_modelled(key, value))
    if missing := [key for key in kind.required if key not in text.table]:
        raise text.error(missing[0], "missing key")
    return kind


def _reasons(text: Config) -> Iterable[tuple[str, str]]:
    said = [key for key, value in text.table.items() if value]
    for pattern, why in REASONS.items():
        yield from ((key, why) for key in said if re.fullmatch(pattern, key))


def _is_pattern(kind: Kind, key: str, value: object) -> bool:
    """Whether a key makes layers differ, or gives experts to a type that has none."""
    if key == "layer_types":
        return bool(value) and value != [FULL] * len(value if isinstance(value, list) else "")
    if key in EXPERT_KEYS and kind.mixture:
        return False
    if isinstance(value, list | dict | str):
        return bool(value) and PATTERN.fullmatch(key) is not None
    return key in NUMBERS and value not in (0, 1)


def _not_modelled(key: str, value: object) -> str:
    if key != "layer_types":
        return "not modelled"
    values = value if isinstance(value, list) else [value]
    return f"{next(item for item in values if item != FULL)} is not modelled"
