"""Which ``config.json`` is read as what: modelled architectures have their published size, others are refused."""

import json

import pytest
from command_line import CONFIGS, ROOT, numbers, predict, refused, works

from jaxroof.catalogue.huggingface import MODELLED, parameter_count, shape_from_config
from jaxroof.catalogue.load import load_architecture

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


def read(config):
    return shape_from_config(ROOT / "config.json", config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_modelled_architecture_has_its_published_size(name):
    billions, config = PUBLISHED[name]
    assert parameter_count(read(config)) / 1e9 == pytest.approx(billions, rel=0.01)


def test_every_modelled_type_has_a_published_size():
    assert {config["model_type"] for _, config in PUBLISHED.values()} == set(MODELLED)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "gemma2", "sliding_window": 4096, "head_dim": 256}, "model_type: gemma2 is not modelled"),
        (
            {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "sliding_window": 1024}},
            "model_type: gemma3_text is not modelled; modelled are llama, mistral, ",
        ),
        ({"model_type": "gpt_oss", "layer_types": ["sliding_attention"]}, "model_type: gpt_oss is not modelled"),
        (
            {"model_type": "llama4", "text_config": {"model_type": "llama4_text", "interleave_moe_layer_step": 1}},
            "model_type: llama4_text is not modelled",
        ),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "M-M*-"}, "model_type: nemotron_h is not modelled"),
        ({"model_type": "qwen3_next", "linear_num_key_heads": 16}, "model_type: qwen3_next is not modelled"),
        ({"model_type": "deepseek_v2", "kv_lora_rank": 512}, "model_type: deepseek_v2 is not modelled"),
        ({"model_type": "jamba", "mamba_d_state": 16}, "model_type: jamba is not modelled"),
        ({"model_type": "phi", "torch_dtype": "float16"}, "model_type: phi is not modelled"),
        ({"model_type": "starcoder2", "sliding_window": 4096}, "model_type: starcoder2 is not modelled"),
        ({"text_config": LLAMA | {"model_type": None}}, "model_type: must be text"),
        (LLAMA | {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types: sliding_attention is not"),
        (LLAMA | {"layer_types": 3}, "layer_types: 3 is not modelled"),
        (LLAMA | {"hybrid_override_pattern": "M-M*-"}, "hybrid_override_pattern: not modelled"),
        (LLAMA | {"mamba_num_heads": 128}, "mamba_num_heads: not modelled"),
        (LLAMA | {"linear_conv_kernel_dim": 4}, "linear_conv_kernel_dim: not modelled"),
        (LLAMA | {"interleave_moe_layer_step": 2}, "interleave_moe_layer_step: not modelled"),
        (LLAMA | {"kv_lora_rank": 512}, "kv_lora_rank: not modelled"),
        (LLAMA | {"torch_dtype": "float32"}, "torch_dtype: vLLM serves a float32 checkpoint in 16 bit"),
        (LLAMA | {"torch_dtype": None}, "torch_dtype: missing key; state the bfloat16 or float16"),
        (
            LLAMA | {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
                }
            },
            "quantization_config: only fp8 and compressed-tensors with 8-bit float weights are modelled, "
            "got compressed-tensors with 4-bit int weights",
        ),
    ],
)  # fmt: skip
def test_what_is_not_modelled_is_refused_by_name(tmp_path, config, says):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    refused(tmp_path, predict(model=path), f"{path}: {says}")


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
        (QWEN3 | {"sliding_window": 4096, "use_sliding_window": True}, 4096),
    ],
)
def test_which_window_is_one_of_attention(config, window):
    assert read(config)["sliding_window"] == window


@pytest.mark.parametrize(
    ("rope", "positions"),
    [
        (None, 32768),
        ({"rope_type": "default"}, 32768),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 32768),
        ({"type": "longrope", "factor": 32}, 32768),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}, 32768),
        ({"rope_type": "linear", "factor": 2.0}, 65536),
    ],
)
def test_positions_count_the_rope_scaling(rope, positions):
    stated = LLAMA | {"max_position_embeddings": 32768, "rope_scaling": rope}
    assert read(stated)["max_position_embeddings"] == positions


def test_a_request_beyond_the_window_is_refused(tmp_path):
    works(predict(model="mistral-7b", prompt=4000, cached=1000, output=96))
    says = "sliding_window: windowed attention is not modelled: the window of 4096 tokens is shorter than the request's"
    refused(tmp_path, predict(model="mistral-7b", prompt=4000, cached=1000, output=97), f"mistral-7b: {says} 4097")
    folder = tmp_path / "truth"
    folder.mkdir()
    header = "name,model,tp,workload,split,ttft_ms,tpot_ms,e2e_ms,source\n"
    (folder / "experiments.csv").write_text(f"{header}one,mistral-7b,1,summarization,test,100,10,1000,x\n")
    (folder / "workloads.toml").write_text((ROOT / "ground_truth/workloads.toml").read_text())
    refused(tmp_path, ["evaluate", "--ground-truth", folder], f"{folder}/experiments.csv: one: {says} 10240")


def test_a_folder_is_its_config_json(tmp_path):
    (tmp_path / "config.json").write_text((CONFIGS / "models/llama-2-7b.json").read_text())
    assert numbers(predict(model=f"{tmp_path}/")) == numbers(predict())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": None}}, "quant_algo: FP8 is not modelled"),
        ({"quantization": {"quant_algo": None, "kv_cache_quant_algo": "FP8"}}, "kv_cache_quant_algo: FP8 is not"),
        ({"quantization": {"quant_algo": "NVFP4"}}, "quant_algo: NVFP4 is not modelled"),
        ({"quantization": {"quant_algo": None}}, "kv_cache_quant_algo: missing key"),
    ],
)
def test_a_quantised_checkpoint_is_refused(tmp_path, content, says):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    beside = tmp_path / "hf_quant_config.json"
    beside.write_text(json.dumps({"quantization": {"quant_algo": None, "kv_cache_quant_algo": None}}))
    assert load_architecture(str(tmp_path / "config.json")) is not None
    beside.write_text(json.dumps(content))
    refused(tmp_path, predict(model=tmp_path), f"{beside}: quantization.{says}")


def test_a_null_of_the_text_part_hides_nothing(tmp_path):
    outer = {"quantization_config": {"quant_method": "fp8"}, "tie_word_embeddings": True}
    text = LLAMA | dict.fromkeys(outer)
    shape = shape_from_config(tmp_path / "config.json", outer | {"text_config": text})
    assert (shape["weight_bytes"], shape["tie_word_embeddings"]) == (1, 1)
