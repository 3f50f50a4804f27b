"""Which ``model_type`` says its shape how; a new one is an entry, not a branch.

A type is listed once what is read of it has the parameters that its implementation has
(``scripts/count_parameters.py``), or those in the name of a published model.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts")
CHOSEN_KEYS = ("num_experts_per_tok", "top_k_experts")
FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"


@dataclasses.dataclass(frozen=True)
class Mixture:
    """The keys of a mixture of experts: ``dense`` [width of a layer without experts], shared experts and their width.

    ``shared_count`` "" is one shared expert, ``shared_width`` "" none.
    """

    dense: str = "intermediate_size"
    shared_count: str = ""
    shared_width: str = ""


@dataclasses.dataclass(frozen=True)
class Names:
    """What the modules of a layer are called in a checkpoint; these are the names that a quantiser leaves out."""

    dense: str = "mlp"
    shared: str = "mlp.shared_experts"
    expert: str = "mlp.experts.0"
    matrices: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a ``model_type`` says its shape.

    ``window``: which layers attend to a window, a name in ``attention.WINDOWS``. ``reads``: the keys of patterns over
    layers that it has; others are refused. ``keys``: by kind of layer, the keys that stand for an attention field
    there. ``defaults``: what its files leave out.
    """

    window: str = "none"
    reads: tuple[str, ...] = ()
    keys: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    latent: bool = False
    mixture: Mixture | None = None
    ffn_matrices: int = 3
    tied: bool = False
    scaled_positions: bool = False
    names: Names = Names()


_BLOCK_SPARSE = Names("mlp", "block_sparse_moe.shared_experts", "block_sparse_moe.experts.0", ("w1", "w3", "w2"))
_SHARED_EXPERT = Names(shared="mlp.shared_expert")
_TYPES = ("layer_types",)
_WINDOW_AFTER = {"max_window_layers": 28}

_QWEN = Kind(window="after", reads=_TYPES, defaults=_WINDOW_AFTER)
_QWEN_MOE = Kind(
    window="switched", reads=("mlp_only_layers", "decoder_sparse_step"), mixture=Mixture(), defaults=_WINDOW_AFTER
)
_DEEPSEEK = Kind(
    reads=("first_k_dense_replace", "moe_layer_freq", "kv_lora_rank", "q_lora_rank"),
    latent=True,
    mixture=Mixture(shared_count="n_shared_experts", shared_width="moe_intermediate_size"),
)
_GEMMA = Kind(tied=True, scaled_positions=True, reads=_TYPES, defaults={"head_dim": 256})

KINDS: dict[str, Kind] = {
    "llama": Kind(),
    "mistral": Kind(window="all"),
    "mixtral": Kind(window="all", mixture=Mixture(), names=_BLOCK_SPARSE),
    "qwen2": _QWEN,
    "qwen2_moe": dataclasses.replace(
        _QWEN_MOE,
        window="alternating",
        reads=("layer_types", *_QWEN_MOE.reads),
        mixture=Mixture(shared_width="shared_expert_intermediate_size"),
        names=_SHARED_EXPERT,
    ),
    "qwen3": _QWEN,
    "qwen3_moe": _QWEN_MOE,
    "qwen3_vl_text": Kind(),
    "qwen3_vl_moe_text": dataclasses.replace(_QWEN_MOE, window="none"),
    "mimo": _QWEN,
    "phi3": Kind(window="all"),
    "granite": Kind(),
    "glm4": Kind(),
    "glm4_moe": dataclasses.replace(_DEEPSEEK, reads=("first_k_dense_replace",), latent=False),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "gpt_oss": Kind(window="every 2nd is full", reads=_TYPES, mixture=Mixture(), defaults={"head_dim": 64}),
    "llama4_text": Kind(
        window="rotated",
        reads=("layer_types", "interleave_moe_layer_step", "moe_layers", "no_rope_layers"),
        mixture=Mixture(dense="intermediate_size_mlp", shared_width="intermediate_size"),
        names=Names("feed_forward", "feed_forward.shared_expert", "feed_forward.experts.0"),
    ),
    "minimax_m2": Kind(reads=("attn_type_list",), mixture=Mixture(), names=_BLOCK_SPARSE),
    "mimo_v2_flash": Kind(
        window="hybrid",
        reads=("hybrid_layer_pattern", "moe_layer_freq", "layer_types", "mlp_layer_types"),
        keys={
            SLIDING: {
                "num_attention_heads": "swa_num_attention_heads",
                "num_key_value_heads": "swa_num_key_value_heads",
                "head_dim": "swa_head_dim",
                "v_head_dim": "swa_v_head_dim",
            }
        },
        mixture=Mixture(),
    ),
    "step3p7": Kind(
        window="stated",
        reads=("layer_types", "first_k_dense_replace"),
        mixture=Mixture(shared_width="share_expert_dim"),
        names=Names("mlp", "share_expert", "moe.experts.0"),
    ),
    "nemotron-nas": Kind(reads=("block_configs",)),
    "gemma2": dataclasses.replace(_GEMMA, window="every 2nd is full"),
    "gemma3_text": dataclasses.replace(
        _GEMMA,
        window="every 6th is full",
        reads=("layer_types", "sliding_window_pattern"),
        # What the smaller published files leave to the implementation.
        defaults={
            "head_dim": 256, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262208,
            "max_position_embeddings": 131072,
        },
    ),
    "gemma4_text": dataclasses.replace(
        _GEMMA,
        window="every 6th is full",
        keys={FULL: {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}},
        defaults={"head_dim": 256, "global_head_dim": 512},
        mixture=Mixture(shared_width="intermediate_size"),
        names=Names(shared="mlp", expert="experts.0"),
    ),
}  # fmt: skip
