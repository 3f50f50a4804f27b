"""What is read of a model's file has the parameters and the KV bytes that its implementation has."""

import csv
import importlib.util
import json
from pathlib import Path

import pytest

from jaxroof.catalogue.counts import counts
from jaxroof.catalogue.huggingface import KINDS, load_shape, shape_from_config
from jaxroof.files import InputError

TABLE = Path(__file__).parent / "data/counted_parameters.csv"
with TABLE.open(newline="") as file:
    ROWS = list(csv.DictReader(file))
READ = [row for row in ROWS if row["status"] == "read"]
PACKAGE, SOURCE = "aiconfigurator_core", "aiconfigurator-core 0.12.0"
PUBLISHED = [row for row in ROWS if row["source"] == SOURCE]
TOLERANCE = 0.01

# Facts of published files, by the name of their row.
FACTS = {
    "deepseek-ai--DeepSeek-V3": {
        "model_type": "deepseek_v3", "num_hidden_layers": 61, "hidden_size": 7168, "intermediate_size": 18432,
        "vocab_size": 129280, "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
        "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "n_routed_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1, "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3, "moe_layer_freq": 1,
    },
    "openai--gpt-oss-120b": {
        "model_type": "gpt_oss", "num_hidden_layers": 36, "hidden_size": 2880, "intermediate_size": 2880,
        "vocab_size": 201088, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
        "num_local_experts": 128, "num_experts_per_tok": 4, "sliding_window": 128,
    },
    "google--gemma-4-26B-A4B": {
        "model_type": "gemma4_text", "num_hidden_layers": 30, "hidden_size": 2816, "intermediate_size": 2112,
        "vocab_size": 262144, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256,
        "global_head_dim": 512, "num_global_key_value_heads": 2, "attention_k_eq_v": True, "sliding_window": 1024,
        "enable_moe_block": True, "num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704,
    },
    "meta-llama--Llama-4-Maverick-17B-128E-Instruct": {
        "model_type": "llama4_text", "num_hidden_layers": 48, "hidden_size": 5120, "intermediate_size": 8192,
        "intermediate_size_mlp": 16384, "vocab_size": 202048, "num_attention_heads": 40, "num_key_value_heads": 8,
        "head_dim": 128, "num_local_experts": 128, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2,
        "attention_chunk_size": 8192,
    },
    "XiaomiMiMo--MiMo-V2-Flash": {
        "model_type": "mimo_v2_flash", "num_hidden_layers": 48, "hidden_size": 4096, "intermediate_size": 16384,
        "vocab_size": 152576, "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 192, "v_head_dim": 128,
        "swa_num_attention_heads": 64, "swa_num_key_value_heads": 8, "swa_head_dim": 192, "swa_v_head_dim": 128,
        "hybrid_layer_pattern": [0, 1, 1, 1, 1, 0] + [1, 1, 1, 1, 1, 0] * 7, "sliding_window": 128,
        "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048,
        "moe_layer_freq": [0] + [1] * 47,
    },
    "Qwen--Qwen3-Coder-480B-A35B-Instruct": {
        "model_type": "qwen3_moe", "num_hidden_layers": 62, "hidden_size": 6144, "intermediate_size": 8192,
        "vocab_size": 151936, "num_attention_heads": 96, "num_key_value_heads": 8, "head_dim": 128,
        "num_experts": 160, "num_experts_per_tok": 8, "moe_intermediate_size": 2560,
    },
}  # fmt: skip


def agrees(row, parameters, kv_bytes):
    """Whether numbers are those that a row has counted, where it has."""
    pairs = ((parameters, row["parameters_counted"]), (kv_bytes, row["kv_bytes_counted"]))
    return all(not counted or read == pytest.approx(float(counted), rel=TOLERANCE) for read, counted in pairs)


def amounts(shape):
    """Parameters, and KV bytes at 2 bytes a number."""
    found = counts(shape | {"kv_cache_bytes": 2.0})
    return found.parameters, found.kv_bytes_per_token


def test_nothing_is_read_with_an_error_of_more_than_one_percent():
    assert len(READ) > 100
    assert all(row["parameters_counted"] for row in READ)
    wrong = [row["name"] for row in READ if not agrees(row, float(row["parameters_read"]), float(row["kv_bytes_read"]))]
    assert wrong == []


def test_every_type_that_is_read_was_counted():
    flat = {"qwen2_vl", "qwen2_5_vl"}  # older files of the same decoders
    assert set(KINDS) - flat == {row["model_type"] for row in READ}


def test_what_is_refused_has_a_reason():
    assert all(row["reason"] for row in ROWS if row["status"] != "read")


@pytest.mark.parametrize("name", FACTS)
def test_facts_of_published_files_are_read_as_counted(name):
    row = next(row for row in PUBLISHED if row["name"] == name)
    assert agrees(row, *amounts(shape_from_config(Path("config.json"), FACTS[name])))


def test_as_many_published_files_are_read_as_there_are():
    assert sum(row["status"] == "read" for row in PUBLISHED) >= 49


@pytest.mark.skipif(not importlib.util.find_spec(PACKAGE), reason=f"{PACKAGE} is not installed")
@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["name"])
def test_a_published_file_is_read_as_counted_or_refused(row, tmp_path):
    folder = Path(importlib.util.find_spec(PACKAGE).origin).parent / "model_configs"
    for name in ("config.json", "hf_quant_config.json"):
        if (path := folder / f"{row['name']}_{name}").exists():
            (tmp_path / name).write_text(json.dumps(json.loads(path.read_text())))
    if row["status"] == "read":
        assert agrees(row, *amounts(load_shape(str(tmp_path))))
    else:
        with pytest.raises(InputError):
            load_shape(str(tmp_path))
