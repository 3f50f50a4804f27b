"""Which ``model_type`` says its shape how; a new one is an entry, not a branch.

A type is listed once what is read of it has the parameters that its implementation has
(``scripts/count_parameters.py``), or those in the name of a published model. Norms of queries and keys, and what a
router does, are read in vLLM 0.15.1's ``model_executor/models``, or in transformers 5.24.0 where vLLM has no such type.
"""

import dataclasses

from jaxroof.catalogue.huggingface.types import FULL, SLIDING, Kind, Mixture, Names

_BLOCK_SPARSE = Names("mlp", "block_sparse_moe.shared_experts", "block_sparse_moe.experts.0", ("w1", "w3", "w2"))
_SHARED_EXPERT = Names(shared="mlp.shared_expert")
_TYPES = ("layer_types",)
_LATENT = ("kv_lora_rank", "q_lora_rank")
_DENSE_FIRST = ("first_k_dense_replace", "mlp_layer_types")
_WINDOW_AFTER = {"max_window_layers": 28}
_BIASED, _GROUPED = ("router_bias",), ("router_groups",)
_BIASED_GROUPS = (*_BIASED, *_GROUPED)

_PLAIN = Kind()
_TIED = Kind(tied=True)
_UNGATED = Kind(ffn_matrices=2)
_NORMED = Kind(qk_norm="all")
_WINDOWED = Kind(window="all")
_PATTERN = Kind(
    window="pattern", reads=("layer_types", "sliding_window_pattern"), defaults={"sliding_window_pattern": 4}
)
_QWEN = Kind(window="after", reads=_TYPES, defaults=_WINDOW_AFTER, qk_norm="qk_norm")
_QWEN_MOE = Kind(
    window="switched",
    reads=("mlp_only_layers", "decoder_sparse_step"),
    mixture=Mixture(),
    defaults=_WINDOW_AFTER,
    qk_norm="all",
)
_GLM_MOE = Kind(
    reads=_DENSE_FIRST,
    mixture=Mixture(shared_count="n_shared_experts", shared_width="moe_intermediate_size"),
    defaults={"first_k_dense_replace": 1},
    qk_norm="use_qk_norm",
    router=_BIASED_GROUPS,
)
_COUNTED_MOE = Mixture(shared_count="num_shared_experts", shared_width="moe_intermediate_size")
_DEEPSEEK = dataclasses.replace(_GLM_MOE, latent=True, reads=(*_DENSE_FIRST, "moe_layer_freq", *_LATENT), qk_norm="all")
_MLA = Kind(latent=True, tied=True, reads=_LATENT, qk_norm="all")
_GEMMA = Kind(
    window="pattern",
    tied=True,
    scaled_positions=True,
    reads=("layer_types", "sliding_window_pattern"),
    defaults={"head_dim": 256, "sliding_window_pattern": 2, "sliding_window": 4096},
)
_GEMMA4 = dataclasses.replace(
    _GEMMA,
    reads=("layer_types", "sliding_window_pattern", "per_layer_config"),
    keys={FULL: {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}},
    defaults={"head_dim": 256, "global_head_dim": 512, "sliding_window_pattern": 6, "sliding_window": 512},
    mixture=Mixture(shared_width="intermediate_size"),
    names=Names(shared="mlp", expert="experts.0"),
    qk_norm="all",
)
_STEP = Kind(
    window="stated",
    reads=("layer_types", "first_k_dense_replace"),
    mixture=Mixture(shared_width="share_expert_dim"),
    names=Names("mlp", "share_expert", "moe.experts.0"),
    qk_norm="all",
    router=_BIASED,
)

KINDS: dict[str, Kind] = {
    "llama": _PLAIN,
    "mistral": _WINDOWED,
    "ministral": dataclasses.replace(_WINDOWED, reads=_TYPES),
    "ministral3": _WINDOWED,
    "mixtral": Kind(window="all", mixture=Mixture(), names=_BLOCK_SPARSE),
    "qwen2": _QWEN,
    "qwen2_moe": dataclasses.replace(
        _QWEN_MOE,
        window="alternating",
        reads=("layer_types", *_QWEN_MOE.reads),
        mixture=Mixture(shared_width="shared_expert_intermediate_size"),
        names=_SHARED_EXPERT,
        qk_norm="qk_norm",
    ),
    "qwen3": dataclasses.replace(_QWEN, qk_norm="all"),
    "qwen3_moe": _QWEN_MOE,
    "qwen2_vl": _QWEN,
    "qwen2_vl_text": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen2_5_vl_text": _QWEN,
    "qwen3_vl_text": _NORMED,
    "qwen3_vl_moe_text": dataclasses.replace(_QWEN_MOE, window="none"),
    "mimo": _QWEN,
    "phi": _UNGATED,
    "phi3": _WINDOWED,
    "phimoe": Kind(window="all", mixture=Mixture(), names=_BLOCK_SPARSE),
    "granite": _PLAIN,
    "granite_swa": Kind(window="stated", reads=_TYPES, tied=True),
    "granitemoe": Kind(mixture=Mixture(), names=_BLOCK_SPARSE),
    "granitemoeshared": Kind(mixture=Mixture(shared_width="shared_intermediate_size"), names=_BLOCK_SPARSE),
    "granitemoe_swa": Kind(
        window="stated",
        reads=_TYPES,
        mixture=Mixture(shared_width="shared_intermediate_size"),
        names=_BLOCK_SPARSE,
    ),
    "glm": _PLAIN,
    "glm4": _PLAIN,
    "glm4v_text": _PLAIN,
    "glm4_moe": _GLM_MOE,
    "glm4v_moe_text": _GLM_MOE,
    "glm4_moe_lite": _DEEPSEEK,
    "deepseek_v2": dataclasses.replace(_DEEPSEEK, defaults={}, router=_GROUPED),
    "deepseek_v3": dataclasses.replace(_DEEPSEEK, defaults={"first_k_dense_replace": 3}),
    "kimi_k2": _DEEPSEEK,
    "mistral4": dataclasses.replace(_DEEPSEEK, defaults={}, router=_GROUPED),
    # No implementation to read: what it does beyond latents is not known.
    "sarvam_mla": dataclasses.replace(_DEEPSEEK, router=()),
    "sarvam_moe": dataclasses.replace(_GLM_MOE, router=()),
    "solar_open": dataclasses.replace(_GLM_MOE, defaults={}, qk_norm="none"),
    "dots1": dataclasses.replace(
        _GLM_MOE,
        window="past",
        reads=(*_DENSE_FIRST, "layer_types"),
        defaults={"max_window_layers": 62},
        qk_norm="all",
    ),
    "hy_v3": Kind(
        reads=_DENSE_FIRST,
        mixture=_COUNTED_MOE,
        defaults={"first_k_dense_replace": 1},
        qk_norm="all",
        router=_BIASED,
    ),
    "exaone": _PLAIN,
    "exaone4": dataclasses.replace(_PATTERN, qk_norm="all"),
    "exaone_moe": dataclasses.replace(
        _PATTERN,
        reads=(*_PATTERN.reads, *_DENSE_FIRST),
        mixture=_COUNTED_MOE,
        defaults={**_PATTERN.defaults, "first_k_dense_replace": 1},
        qk_norm="all",
        router=_BIASED_GROUPS,
    ),
    "ernie4_5": _TIED,
    "ernie4_5_moe": Kind(
        tied=True,
        reads=("moe_layer_interval", "moe_layer_start_index", "moe_layer_end_index"),
        mixture=Mixture(shared_count="moe_num_shared_experts", shared_width="moe_intermediate_size"),
        router=_BIASED,
    ),
    "gpt_oss": Kind(
        window="pattern",
        reads=_TYPES,
        mixture=Mixture(),
        defaults={"head_dim": 64, "sliding_window_pattern": 2},
    ),
    "llama4_text": Kind(
        window="rotated",
        reads=("layer_types", "interleave_moe_layer_step", "moe_layers", "no_rope_layers"),
        mixture=Mixture(dense="intermediate_size_mlp", shared_width="intermediate_size"),
        names=Names("feed_forward", "feed_forward.shared_expert", "feed_forward.experts.0"),
        defaults={"use_qk_norm": True},
        qk_norm="rotated",
        router=("router_late_sigmoid",),
    ),
    "minimax_m2": Kind(
        window="softmax",
        reads=("attn_type_list",),
        mixture=Mixture(shared_width="shared_intermediate_size"),
        names=_BLOCK_SPARSE,
        qk_norm="all",
        router=_BIASED,
    ),
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
        required=("swa_num_key_value_heads",),
        mixture=Mixture(),
        router=_BIASED_GROUPS,
    ),
    "step3p5": dataclasses.replace(
        _STEP,
        reads=("layer_types", "mlp_layer_types", "moe_layers_enum", "per_layer_config", "attention_other_setting"),
        keys={
            FULL: {"num_key_value_heads": "num_attention_groups"},
            SLIDING: {
                "num_attention_heads": "num_sliding_attention_heads", "num_key_value_heads": "num_attention_groups",
            },
        },
    ),
    "step3p7": _STEP,
    "nemotron-nas": Kind(reads=("block_configs",)),
    "nemotron": _UNGATED,
    "cohere": Kind(tied=True, qk_norm="use_qk_norm"),
    "cohere2": dataclasses.replace(_PATTERN, tied=True),
    "olmo": _PLAIN,
    "olmo2": _NORMED,
    "olmo3": dataclasses.replace(_PATTERN, qk_norm="all"),
    "olmoe": Kind(mixture=Mixture(), qk_norm="all"),
    "flex_olmo": Kind(mixture=Mixture(), qk_norm="all"),
    "smollm3": Kind(window="unrotated", tied=True, reads=("layer_types", "no_rope_layers")),
    "seed_oss": _PLAIN,
    "hunyuan_v1_dense": Kind(qk_norm="use_qk_norm"),
    "hyperclovax": _PLAIN,
    "internlm3": _PLAIN,
    "iquestcoder": _PLAIN,
    "helium": _PLAIN,
    "mellum": Kind(reads=("layer_types", "mlp_layer_types"), mixture=Mixture(), qk_norm="all"),
    "kolibri1": Kind(
        window="stated",
        reads=_TYPES,
        mixture=Mixture(shared_width="shared_expert_intermediate_size"),
        qk_norm="all",
        router=_BIASED,
    ),
    "flint": Kind(
        window="stated",
        reads=("layer_types", "mlp_only_layers", "decoder_sparse_step"),
        mixture=Mixture(shared_width="shared_expert_intermediate_size"),
        names=_SHARED_EXPERT,
        qk_norm="all",
    ),
    "cwm": Kind(window="stated", reads=_TYPES),
    "apertus": Kind(ffn_matrices=2, qk_norm="all"),
    "arcee": _UNGATED,
    "jais2": _UNGATED,
    "persimmon": Kind(ffn_matrices=2, defaults={"qk_layernorm": True}, qk_norm="qk_layernorm"),
    "stablelm": _PLAIN,
    "starcoder2": Kind(window="all", ffn_matrices=2, tied=True),
    "gpt_neox": _UNGATED,
    "youtu": _MLA,
    "minicpm3": _MLA,
    "gemma": Kind(tied=True, scaled_positions=True, defaults={"head_dim": 256}),
    "gemma2": _GEMMA,
    "vaultgemma": _GEMMA,
    "gemma3_text": dataclasses.replace(
        _GEMMA,
        # What the smaller published files leave to the implementation.
        defaults={
            **_GEMMA.defaults, "sliding_window_pattern": 6, "num_attention_heads": 8, "num_key_value_heads": 4,
            "vocab_size": 262208, "max_position_embeddings": 131072,
        },
        qk_norm="all",
    ),
    "gemma4_text": _GEMMA4,
    "gemma4_unified_text": _GEMMA4,
}  # fmt: skip
