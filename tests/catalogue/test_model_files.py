"""Which ``config.json`` is read as what: modelled architectures have their published size, others are refused."""

import json

import pytest
from command_line import CONFIGS, ROOT, numbers, predict, refused, run, works

from jaxroof.catalogue.counts import counts
from jaxroof.catalogue.huggingface import load_notes, load_shape, shape_from_config
from jaxroof.files import InputError

LLAMA = {
    "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "torch_dtype": "bfloat16",
}  # fmt: skip
MISTRAL = LLAMA | {"model_type": "mistral", "vocab_size": 32000}
QWEN3 = LLAMA | {"model_type": "qwen3", "num_hidden_layers": 36, "intermediate_size": 12288, "vocab_size": 151936}
# Dimensions from each model's config.json, billions of parameters from its card, all on huggingface.co.
PUBLISHED = {
    "meta-llama/Llama-3.1-8B": (8.03, LLAMA),
    "mistralai/Mistral-7B-v0.1": (7.24, MISTRAL),
    "mistralai/Mixtral-8x7B-v0.1": (
        46.7, MISTRAL | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "Qwen/Qwen2.5-7B": (
        7.62,
        LLAMA | {
            "model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 3584, "intermediate_size": 18944,
            "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
        },
    ),
    "Qwen/Qwen1.5-MoE-A2.7B": (
        14.3,
        LLAMA | {
            "model_type": "qwen2_moe", "num_hidden_layers": 24, "hidden_size": 2048, "intermediate_size": 5632,
            "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 151936, "num_experts": 60,
            "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
        },
    ),
    "Qwen/Qwen3-8B": (8.19, QWEN3 | {"head_dim": 128, "layer_types": ["full_attention"] * 36}),
    "Qwen/Qwen3-30B-A3B": (
        30.5,
        QWEN3 | {
            "model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048, "intermediate_size": 6144,
            "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
            "moe_intermediate_size": 768, "mlp_only_layers": [],
        },
    ),
    "microsoft/Phi-3-mini-4k-instruct": (
        3.82,
        LLAMA | {
            "model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_key_value_heads": 32,
            "vocab_size": 32064,
        },
    ),
    "ibm-granite/granite-3.1-8b-base": (
        8.17,
        LLAMA | {
            "model_type": "granite", "num_hidden_layers": 40, "intermediate_size": 12800, "vocab_size": 49155,
            "tie_word_embeddings": True,
        },
    ),
}  # fmt: skip


MIXTURE = LLAMA | {
    "model_type": "deepseek_v3", "num_hidden_layers": 4, "num_key_value_heads": 32, "n_routed_experts": 64,
    "num_experts_per_tok": 6, "moe_intermediate_size": 1408, "n_shared_experts": 2, "first_k_dense_replace": 1,
    "kv_lora_rank": 512, "q_lora_rank": None, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
}  # fmt: skip
GEMMA4 = LLAMA | {
    "model_type": "gemma4_text", "num_hidden_layers": 6, "head_dim": 256, "global_head_dim": 512,
    "num_global_key_value_heads": 2, "attention_k_eq_v": True, "sliding_window": 1024,
}  # fmt: skip
ERNIE = LLAMA | {
    "model_type": "ernie4_5_moe", "num_hidden_layers": 4, "moe_num_experts": 64, "moe_k": 6,
    "moe_intermediate_size": 1536, "moe_num_shared_experts": 2,
}  # fmt: skip
BLOCK = {"attention": {"n_heads_in_group": 8, "no_op": False}, "ffn": {"ffn_mult": 2.625, "no_op": False}}
NAS = LLAMA | {"model_type": "nemotron-nas", "num_hidden_layers": 2, "num_key_value_heads": None}
OPEN = LLAMA | {"model_type": "gpt_oss", "num_hidden_layers": 4, "num_local_experts": 32, "num_experts_per_tok": 4}


def read(config):
    return shape_from_config(ROOT / "config.json", config)


def layers(config, *fields):
    """How many layers have which values of some fields."""
    groups = read(config)["layers"]
    values = zip(groups["num_hidden_layers"], *(groups[field] for field in fields), strict=True)
    found = {}
    for count, *value in values:
        found[tuple(value)] = found.get(tuple(value), 0) + count
    return found


def write(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_modelled_architecture_has_its_published_size(name):
    billions, config = PUBLISHED[name]
    assert counts(read(config)).parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_a_plain_model_is_one_group_of_layers():
    groups = read(LLAMA)["layers"]
    assert {len(values) for values in groups.values()} == {1}
    assert groups["num_hidden_layers"] == [32]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "M-M*-"}, "model_type: nemotron_h is not modelled"),
        ({"model_type": "qwen3_next", "linear_num_key_heads": 16}, "model_type: qwen3_next is not modelled"),
        (
            {"model_type": "glm_moe_dsa", "index_topk": 2048},
            "model_type: glm_moe_dsa is not modelled (index_topk: sparse MLA); modelled are llama, mistral, ",
        ),
        ({"model_type": "jamba", "mamba_d_state": 16}, "model_type: jamba is not modelled (mamba_d_state: Mamba la"),
        ({"model_type": "minimax_m3_vl", "text_config": {"hidden_size": 8}}, "model_type: minimax_m3_vl is not"),
        ({"model_type": "bloom", "torch_dtype": "float16"}, "model_type: bloom is not modelled; modelled are"),
        (MIXTURE | {"index_topk": 2048}, "index_topk: not modelled (sparse MLA)"),
        (GEMMA4 | {"num_kv_shared_layers": 2}, "num_kv_shared_layers: not modelled (layers that share a KV cache)"),
        (GEMMA4 | {"hidden_size_per_layer_input": 256}, "hidden_size_per_layer_input: not modelled"),
        (QWEN3 | {"layer_types": ["linear_attention"] * 36}, "layer_types: linear_attention is not modelled"),
        (QWEN3 | {"layer_types": ["full_attention"] * 35}, "layer_types: must have an item for each of the 36 layers"),
        (LLAMA | {"model_type": "minimax_m2", "attn_type_list": [1] * 31 + [0]}, "attn_type_list: 0 is not modelled"),
        (LLAMA | {"num_local_experts": 8}, "num_local_experts: not modelled"),
        (LLAMA | {"moe_layers_enum": "3,4"}, "moe_layers_enum: not modelled"),
        (LLAMA | {"num_key_value_heads": 5}, "num_key_value_heads: 32 heads cannot be divided by 5 KV heads"),
        (LLAMA | {"num_hidden_layers": 1e6}, "num_hidden_layers: must be ≤ 1000"),
        (LLAMA | {"hidden_size": 1e30}, "hidden_size: must be ≤ 1e+09, got 1e+30"),
        (LLAMA | {"vocab_size": 1e300}, "vocab_size: must be ≤ 1e+09"),
        (LLAMA | {"max_position_embeddings": 1e18}, "max_position_embeddings: must be ≤ 1e+09"),
        (LLAMA | {"max_position_embeddings": 0.5}, "max_position_embeddings: must be a whole number, got 0.5"),
        (
            LLAMA | {"max_position_embeddings": 8192, "rope_scaling": {"type": "linear", "factor": 1e300}},
            "rope_scaling.factor: must be ≤ 10000",
        ),
        (
            LLAMA | {"max_position_embeddings": 1e9, "rope_scaling": {"type": "linear", "factor": 2}},
            "rope_scaling.factor: makes more than 1e+09 positions: 2e+09",
        ),
        (MISTRAL | {"sliding_window": -1}, "sliding_window: must be ≥ 0"),
        (MIXTURE | {"num_experts_per_tok": 65}, "num_experts_per_tok: must be ≤ n_routed_experts, got 65 > 64"),
        (MIXTURE | {"first_k_dense_replace": 1.5}, "first_k_dense_replace: must be a whole number, got 1.5"),
        (
            MIXTURE | {"first_k_dense_replace": 5},
            "first_k_dense_replace: must be ≤ 4 (num_hidden_layers), got 5",
        ),
        (ERNIE | {"moe_layer_start_index": 5}, "moe_layer_start_index: must be ≤ 4 (num_hidden_layers), got 5"),
        (ERNIE | {"moe_layer_end_index": 2.5}, "moe_layer_end_index: must be a whole number, got 2.5"),
        (MIXTURE | {"n_shared_experts": 0.5}, "n_shared_experts: must be a whole number, got 0.5"),
        (MIXTURE | {"q_lora_rank": 1.5}, "q_lora_rank: must be a whole number, got 1.5"),
        (MISTRAL | {"sliding_window": 0.5}, "sliding_window: must be a whole number, got 0.5"),
        (MIXTURE | {"moe_layer_freq": [1]}, "moe_layer_freq: must have an item for each of the 4 layers, got 1"),
        (MIXTURE | {"mlp_layer_types": ["dense"] * 3 + ["odd"]}, "mlp_layer_types: odd is not modelled"),
        (NAS | {"block_configs": [BLOCK]}, "block_configs: must have an item for each of the 2 layers, got 1"),
        (
            NAS | {"block_configs": [BLOCK, BLOCK | {"ffn": {"ffn_mult": 1e300}}]},
            "block_configs.1.ffn.ffn_mult: must be ≤ 10000, got 1e+300",
        ),
        (NAS, "block_configs: must have an item for each of the 2 layers, got 0"),
        (
            NAS | {"block_configs": [BLOCK, BLOCK | {"attention": {"replace_with_linear": True}}]},
            "block_configs.1.attention.replace_with_linear: not modelled",
        ),
        (
            NAS | {"block_configs": [BLOCK | {"attention": {"n_heads_in_group": 5}}] * 2},
            "block_configs.0.attention.n_heads_in_group: 32 heads cannot be divided into groups of 5",
        ),
        ({"text_config": LLAMA | {"model_type": None}}, "model_type: must be text"),
        (LLAMA | {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types: sliding_attention is not"),
        (LLAMA | {"layer_types": 3}, "layer_types: 3 is not modelled"),
        (LLAMA | {"hybrid_override_pattern": "M-M*-"}, "hybrid_override_pattern: not modelled"),
        (LLAMA | {"mamba_num_heads": 128}, "mamba_num_heads: not modelled"),
        (LLAMA | {"linear_conv_kernel_dim": 4}, "linear_conv_kernel_dim: not modelled"),
        (LLAMA | {"interleave_moe_layer_step": 2}, "interleave_moe_layer_step: not modelled"),
        (LLAMA | {"kv_lora_rank": 512}, "kv_lora_rank: not modelled"),
        (LLAMA | {"model_type": "mixtral", "num_experts_per_tok": 2}, "num_experts_per_tok: is of experts, and"),
        (LLAMA | {"torch_dtype": "int8"}, "torch_dtype: must be one of bfloat16, float16, float32"),
    ],
)  # fmt: skip
def test_what_is_not_modelled_is_refused_by_name(tmp_path, config, says):
    path = write(tmp_path, config)
    with pytest.raises(InputError) as error:
        load_shape(str(tmp_path))
    assert str(error.value).startswith(f"{path}: {says}")
    assert "\n" not in str(error.value)


def test_keys_that_say_nothing_are_not_refused():
    silent = {"layer_types": None, "mamba_d_state": None, "linear_bias": False, "mlp_only_layers": []}
    assert read(LLAMA | silent)["hidden_size"] == 4096


@pytest.mark.parametrize(
    ("config", "window"),
    [
        (MISTRAL | {"sliding_window": 4096}, 4096),
        (MISTRAL | {"sliding_window": None}, 0),
        (MISTRAL, 0),
        (LLAMA | {"sliding_window": 4096}, 0),
        (QWEN3 | {"sliding_window": 4096}, 0),
        (QWEN3 | {"sliding_window": 4096, "use_sliding_window": False}, 0),
        (QWEN3 | {"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 0}, 4096),
        (QWEN3 | {"model_type": "qwen3_vl_text", "sliding_window": 4096, "use_sliding_window": True}, 0),
    ],
)
def test_which_window_is_one_of_attention(config, window):
    assert read(config)["layers"]["sliding_window"] == [window]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (QWEN3 | {"sliding_window": 4096, "use_sliding_window": True}, {(0,): 28, (4096,): 8}),
        (OPEN | {"sliding_window": 128}, {(0,): 2, (128,): 2}),
        (OPEN | {"sliding_window": 128, "layer_types": ["full_attention"] * 4}, {(0,): 4}),
        (LLAMA | {"model_type": "gemma3_text", "sliding_window": 512}, {(512,): 27, (0,): 5}),
        (
            LLAMA | {"model_type": "gemma3_text", "sliding_window": 512, "sliding_window_pattern": 2},
            {(512,): 16, (0,): 16},
        ),
        (
            LLAMA | {"model_type": "exaone4", "sliding_window": 512, "sliding_window_pattern": "LLG"},
            {(512,): 22, (0,): 10},
        ),
        (LLAMA | {"model_type": "exaone4"}, {(0,): 32}),
    ],
)  # fmt: skip
def test_layers_with_and_without_a_window(config, found):
    assert layers(config, "sliding_window") == found


def test_layers_that_rotate_their_keys_attend_to_chunks():
    scout = LLAMA | {
        "model_type": "llama4_text", "num_local_experts": 16, "num_experts_per_tok": 1, "attention_chunk_size": 8192,
        "intermediate_size_mlp": 16384, "interleave_moe_layer_step": 2,
    }  # fmt: skip
    fields = ("attention_chunk_size", "intermediate_size", "num_experts")
    assert layers(scout, *fields) == {(8192, 16384, 0): 16, (8192, 14336, 16): 8, (0, 14336, 16): 8}
    stated = {"moe_layers": [0], "no_rope_layers": [0] * 32}
    assert layers(scout | stated, *fields) == {(0, 14336, 16): 1, (0, 16384, 0): 31}


def test_latent_attention_and_shared_experts():
    assert layers(MIXTURE, "intermediate_size", "num_experts") == {(14336, 0): 1, (2816, 64): 3}
    fields = ("num_key_value_heads", "head_dim", "v_head_dim", "q_lora_rank", "kv_lora_rank", "qk_rope_head_dim")
    assert layers(MIXTURE, *fields) == {(32, 192, 128, 0, 512, 64): 4}
    assert counts(read(MIXTURE)).kv_bytes_per_token == 4 * (512 + 64) * 2
    assert layers(MIXTURE | {"moe_layer_freq": [0, 0, 0, 1]}, "num_experts") == {(0,): 3, (64,): 1}
    assert layers(MIXTURE | {"first_k_dense_replace": 4}, "num_experts") == {(0,): 4}


def test_full_layers_with_heads_of_their_own():
    fields = ("num_key_value_heads", "head_dim", "kv_projections")
    assert layers(GEMMA4, *fields) == {(8, 256, 2): 5, (2, 512, 1): 1}
    assert layers(GEMMA4 | {"attention_k_eq_v": False}, *fields) == {(8, 256, 2): 5, (8, 512, 2): 1}
    own = {"per_layer_config": {"05": {"head_dim": 128, "num_key_value_heads": 4}}}
    assert layers(GEMMA4 | own, *fields) == {(8, 256, 2): 5, (4, 128, 1): 1}
    parallel = {"num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704}
    assert layers(GEMMA4 | parallel, "intermediate_size", "num_experts_per_tok") == {(14336, 8): 6}


def test_settings_of_sliding_layers():
    other = {"attention_type": "sliding_attention", "num_attention_heads": 96, "num_attention_groups": 8}
    step = LLAMA | {
        "model_type": "step3p5", "num_hidden_layers": 4, "num_key_value_heads": None, "num_attention_groups": 4,
        "head_dim": 128, "num_attention_heads": 64, "attention_other_setting": other, "sliding_window": 512,
        "layer_types": ["full_attention"] + ["sliding_attention"] * 4, "num_nextn_predict_layers": 1,
        "moe_layers_enum": "1,2,3", "moe_num_experts": 288, "moe_top_k": 8, "moe_intermediate_size": 1280,
        "share_expert_dim": 1280,
    }  # fmt: skip
    fields = ("num_attention_heads", "num_key_value_heads", "sliding_window", "num_experts", "intermediate_size")
    assert layers(step, *fields) == {(64, 4, 0, 0, 14336): 1, (96, 8, 512, 288, 1280): 3}


def test_blocks_with_heads_and_widths_of_their_own_or_none():
    none = {"attention": {"n_heads_in_group": None, "no_op": True}, "ffn": {"ffn_mult": None, "no_op": True}}
    fields = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
    assert layers(NAS | {"block_configs": [BLOCK, none]}, *fields) == {(32, 4, 7168): 1, (0, 0, 0): 1}


def test_what_is_left_out_is_said(tmp_path):
    text = LLAMA | {"dtype": "float32", "torch_dtype": None, "num_nextn_predict_layers": 1}
    write(tmp_path, {"model_type": "llava", "text_config": text, "vision_config": {}})
    assert load_notes(str(tmp_path)) == [
        "the text part of llava; its vision tower is left out",
        "num_nextn_predict_layers: layers that predict further tokens (MTP) are left out",
        "dtype: float32 in the file, served in bfloat16",
    ]
    write(tmp_path, {"model_type": None, "text_config": LLAMA})
    assert load_notes(str(tmp_path)) == ["the text part of a model; its vision tower is left out"]
    write(tmp_path, LLAMA)
    assert load_notes(str(tmp_path)) == []


@pytest.mark.parametrize("dtype", [None, "bfloat16", "float16", "float32"])
def test_any_precision_is_served_in_16_bit(dtype):
    assert read(LLAMA | {"torch_dtype": dtype})["activation_bytes"] == 2


@pytest.mark.parametrize(
    ("outer", "text", "tied"),
    [(None, None, 0), (True, None, 1), (None, True, 1), (False, True, 0), (True, False, 0), (True, True, 1)],
)
def test_a_head_is_the_embedding_unless_somebody_says_no(outer, text, tied):
    config = {"text_config": LLAMA | {"tie_word_embeddings": text}, "tie_word_embeddings": outer}
    assert read(config)["tie_word_embeddings"] == tied


def test_some_types_have_a_tied_head_unless_said_otherwise():
    gemma = LLAMA | {"model_type": "gemma"}
    assert read(gemma)["tie_word_embeddings"] == 1
    assert read(gemma | {"tie_word_embeddings": False})["tie_word_embeddings"] == 0


@pytest.mark.parametrize(
    ("rope", "positions"),
    [
        (None, 32768),
        ({"rope_type": "default"}, 32768),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 32768),
        ({"type": "longrope", "factor": 32}, 32768),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}, 32768),
        ({"rope_type": "linear", "factor": 2.0}, 65536),
        ({"rope_type": "linear", "factor": 1.00001}, 32768),
    ],
)
def test_positions_count_the_rope_scaling(rope, positions):
    stated = LLAMA | {"max_position_embeddings": 32768, "rope_scaling": rope}
    assert read(stated)["max_position_embeddings"] == positions


def test_a_request_beyond_the_window_is_refused_by_step_times_without_windows(tmp_path):
    mistral = {"model": "mistral-7b", "prompt": 4000, "cached": 1000}
    works(predict(**mistral, step_model="memory", output=96))
    works(predict(**mistral, output=97))
    says = "sliding_window: the memory step time has no windows; use kernels: the window of 4096 tokens is shorter than"
    refused(tmp_path, predict(**mistral, step_model="memory", output=97), f"mistral-7b: {says} the request's 4097")
    folder = tmp_path / "truth"
    folder.mkdir()
    header = "name,model,tp,workload,split,ttft_ms,tpot_ms,e2e_ms,source\n"
    (folder / "experiments.csv").write_text(f"{header}one,mistral-7b,1,summarization,test,100,10,1000,x\n")
    (folder / "workloads.toml").write_text((ROOT / "ground_truth/workloads.toml").read_text())
    evaluate = ["evaluate", "--ground-truth", folder]
    refused(tmp_path, [*evaluate, "--step-model=memory"], f"{folder}/experiments.csv: one: {says} the request's 10240")
    assert run(evaluate)[0] == 0


def test_a_folder_is_its_config_json(tmp_path):
    (tmp_path / "config.json").write_text((CONFIGS / "models/llama-2-7b.json").read_text())
    assert numbers(predict(model=f"{tmp_path}/")) == numbers(predict())


def test_a_null_of_the_text_part_hides_nothing(tmp_path):
    outer = {"quantization_config": {"quant_method": "fp8"}, "tie_word_embeddings": True}
    text = LLAMA | dict.fromkeys(outer)
    shape = shape_from_config(tmp_path / "config.json", outer | {"text_config": text})
    assert (shape["layers"]["attention_weight_bytes"], shape["tie_word_embeddings"]) == ([1], 1)
