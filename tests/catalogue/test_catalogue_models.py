"""Every model of the catalogue has the parameters that its publisher states, and is listed with what it is."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest
from command_line import CONFIGS, works

from jaxroof.catalogue.counts import counts
from jaxroof.catalogue.huggingface import load_shape
from jaxroof.catalogue.names import catalogue
from jaxroof.catalogue.sampling import load_generation
from jaxroof.catalogue.summary import attention, precision

HF, ARXIV = "https://huggingface.co/", "https://arxiv.org/abs/"


@dataclasses.dataclass(frozen=True)
class Published:
    """Billions of parameters as they are written, "" for as many active ones as there are, and where.

    ``less`` and ``active_less`` are how many of embedding and head (1 or 2) the publisher leaves out of them, the
    embedding first; ``more`` is what else it counts [billions].
    """

    source: str
    total: str
    active: str = ""
    less: int = 0
    active_less: int = 0
    more: float = 0.0


# The vision tower and what joins it, of transformers' Llama4ForConditionalGeneration.
VISION = 0.87
GEMMA_2, GEMMA_3 = ARXIV + "2408.00118", ARXIV + "2503.19786"  # tables of parameters; those of Gemma 3 without vision
LLAMA_3, GPT_OSS, GLM_4_5, KIMI_K2 = (ARXIV + n for n in ("2407.21783", "2508.10925", "2508.06471", "2507.20534"))
PUBLISHED = {
    "codellama-34b": Published(HF + "codellama/CodeLlama-34b-Instruct-hf", "33.7"),
    # 37 of the report is 36.6 without the embedding and 37.6 with it; which is meant is inferred from that.
    "deepseek-r1": Published(HF + "deepseek-ai/DeepSeek-R1", "671", "37", active_less=1),
    "deepseek-v3": Published(ARXIV + "2412.19437", "671", "37", active_less=1),
    "gemma-2-2b": Published(GEMMA_2, "2.61"),
    "gemma-2-9b": Published(GEMMA_2, "9.24"),
    "gemma-2-27b": Published(GEMMA_2, "27.2"),
    "gemma-3-1b": Published(GEMMA_3, "1.000"),
    "gemma-3-4b": Published(GEMMA_3, "3.884"),
    "gemma-3-12b": Published(GEMMA_3, "11.77"),
    "gemma-3-27b": Published(GEMMA_3, "27.02"),
    # The report counts neither embedding nor head; its totals have a layer that predicts a second token.
    "glm-4.5": Published(GLM_4_5, "355", "32", active_less=2),
    "glm-4.5-air": Published(GLM_4_5, "106", "12", active_less=2),
    # The model card counts the head among the active ones and the embedding not.
    "gpt-oss-20b": Published(GPT_OSS, "20.91", "3.61", active_less=1),
    "gpt-oss-120b": Published(GPT_OSS, "116.83", "5.13", active_less=1),
    # The total is that of the files: the report's 1.04 T is more than they hold.
    "kimi-k2": Published(f"{HF}moonshotai/Kimi-K2-Instruct, active: {KIMI_K2}", "1026", "32.6"),
    "llama-2-7b": Published(HF + "meta-llama/Llama-2-7b-hf", "6.74"),
    "llama-2-70b": Published(HF + "meta-llama/Llama-2-70b-hf", "69.0"),
    "llama-3.1-8b": Published(HF + "meta-llama/Llama-3.1-8B", "8.03"),
    "llama-3.1-70b": Published(HF + "meta-llama/Llama-3.1-70B", "70.6"),
    "llama-3.1-70b-fp8": Published(HF + "RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8", "70.6"),
    "llama-3.1-405b": Published(LLAMA_3, "405"),
    "llama-3.2-1b": Published(HF + "meta-llama/Llama-3.2-1B", "1.24"),
    "llama-3.2-3b": Published(HF + "meta-llama/Llama-3.2-3B", "3.21"),
    "llama-3.3-70b": Published(HF + "meta-llama/Llama-3.3-70B-Instruct", "70.6"),
    "llama-4-scout": Published(HF + "meta-llama/Llama-4-Scout-17B-16E-Instruct", "109", "17", more=VISION),
    "llama-4-maverick": Published(HF + "meta-llama/Llama-4-Maverick-17B-128E-Instruct", "402", "17", more=VISION),
    # 10 is 9.8 without embedding and head, and 11.0 with them; that they are left out is inferred from that.
    "minimax-m2": Published(HF + "MiniMaxAI/MiniMax-M2", "230", "10", active_less=2),
    "mistral-7b": Published(HF + "mistralai/Mistral-7B-v0.1", "7.24"),
    "mistral-large-2": Published(HF + "mistralai/Mistral-Large-Instruct-2407", "123"),
    "mistral-nemo": Published(HF + "mistralai/Mistral-Nemo-Instruct-2407", "12.2"),
    "mistral-small-3-24b": Published(HF + "mistralai/Mistral-Small-24B-Instruct-2501", "23.6"),
    "mixtral-8x7b": Published(ARXIV + "2401.04088", "46.7", "12.9"),
    "mixtral-8x22b": Published("https://mistral.ai/news/mixtral-8x22b", "141", "39"),
    "phi-4": Published(HF + "microsoft/phi-4", "14.7"),
    "qwen2.5-7b": Published(HF + "Qwen/Qwen2.5-7B-Instruct", "7.62"),
    "qwen2.5-32b": Published(HF + "Qwen/Qwen2.5-32B-Instruct", "32.8"),
    # The small ones by their "non-embedding" parameters: 1.7 is 1.72.
    "qwen3-0.6b": Published(HF + "Qwen/Qwen3-0.6B", "0.44", less=1),
    "qwen3-1.7b": Published(HF + "Qwen/Qwen3-1.7B", "1.4", less=1),
    "qwen3-4b": Published(HF + "Qwen/Qwen3-4B", "4.0"),
    "qwen3-8b": Published(HF + "Qwen/Qwen3-8B", "8.2"),
    "qwen3-14b": Published(HF + "Qwen/Qwen3-14B", "14.8"),
    "qwen3-32b": Published(HF + "Qwen/Qwen3-32B", "32.8"),
    # 3.3 is 3.35 cut off.
    "qwen3-30b-a3b": Published(HF + "Qwen/Qwen3-30B-A3B", "30.5", "3.3"),
    "qwen3-235b-a22b": Published(HF + "Qwen/Qwen3-235B-A22B", "235", "22"),
}
SAMPLING = {
    "deepseek-r1": (0.6, 0.95, 0), "deepseek-v3": (1, 1, 0), "gemma-2-9b": (1, 1, 0), "gemma-3-27b": (1, 0.95, 64),
    "gpt-oss-120b": (1, 1, 0), "kimi-k2": (0.6, 1, 0), "llama-4-scout": (0.6, 0.9, 0), "mistral-nemo": (1, 1, 0),
    "qwen3-0.6b": (0.6, 0.95, 20),
}  # fmt: skip
LISTED = {
    "deepseek-v3": (61 * (512 + 64) * 2, "MLA", "fp8"),
    "gemma-3-1b": (26 * 2 * 256 * 2, "MQA, 22 of 26 sliding 512", "bfloat16"),
    "gpt-oss-20b": (24 * 2 * 8 * 64 * 2, "GQA, 12 of 24 sliding 128", "mxfp4"),
    "llama-2-7b": (32 * 2 * 32 * 128 * 2, "MHA", "float16"),
    "llama-3.1-70b-fp8": (80 * 2 * 8 * 128 * 2, "GQA", "float8"),
    "llama-4-scout": (48 * 2 * 8 * 128 * 2, "GQA, 36 of 48 chunked 8192", "bfloat16"),
    "mistral-7b": (32 * 2 * 8 * 128 * 2, "GQA, 32 of 32 sliding 4096", "bfloat16"),
}


def is_written(value, text):
    """Whether a number is written so when it is rounded, or cut off, to as many digits."""
    digits = len(text.partition(".")[2])
    cut_off = math.floor(value * 10**digits) / 10**digits
    return text in (f"{value:.{digits}f}", f"{cut_off:.{digits}f}")


def test_every_model_has_a_published_size():
    assert sorted(PUBLISHED) == catalogue("models")


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name):
    row, shape = PUBLISHED[name], load_shape(name)
    billions, embedding = counts(shape), shape["vocab_size"] * shape["hidden_size"] / 1e9
    total = billions.parameters / 1e9 - row.less * embedding + row.more
    assert total == pytest.approx(float(row.total), rel=0.01)
    active = billions.active_parameters / 1e9 - row.active_less * embedding
    if not row.active:
        assert billions.active_parameters == billions.parameters
    else:  # active ones are published with few digits
        assert active == pytest.approx(float(row.active), rel=0.01) or is_written(active, row.active)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_file_says_where_it_is_from(name):
    config = json.loads((CONFIGS / f"models/{name}.json").read_text())
    assert config["_source"].startswith(HF)
    assert "generation_config" not in config or config["generation_config"]["_source"]


@pytest.mark.parametrize("name", SAMPLING)
def test_sampling_is_the_models_own(name):
    sampling = load_generation(name)
    found = tuple(float(each) for each in (sampling.temperature, sampling.top_p, sampling.top_k))
    assert found == pytest.approx(SAMPLING[name])


@pytest.mark.parametrize("name", LISTED)
def test_a_model_is_listed_with_what_it_is(name):
    (row,) = (row for row in works(["list", "models"])["models"] if row["name"] == name)
    assert (row["kv_bytes_per_token"], row["attention"], row["precision"]) == LISTED[name]
    assert row["layers"] == sum(load_shape(name)["layers"]["num_hidden_layers"])
    assert row["parameters_billion"] == counts(load_shape(name)).parameters / 1e9
    assert row["active_billion"] == counts(load_shape(name)).active_parameters / 1e9


def test_layers_may_attend_otherwise_or_not_at_all():
    layers = {
        "num_hidden_layers": [1.0, 2.0, 3.0], "num_attention_heads": [8.0, 8.0, 0.0],
        "num_key_value_heads": [8.0, 2.0, 0.0], "kv_lora_rank": [0.0] * 3, "sliding_window": [64.0, 0.0, 0.0],
        "attention_chunk_size": [0.0] * 3,
    }  # fmt: skip
    assert attention(layers) == "MHA and GQA, 1 of 6 sliding 64"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "bfloat16"),
        ({"dtype": "float16"}, "float16"),
        ({"torch_dtype": "float32", "text_config": {"dtype": "bfloat16"}}, "bfloat16"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "NVFP4"),
        ({"text_config": {"quantization_config": {"quant_method": "awq"}}, "torch_dtype": "float16"}, "awq"),
    ],
)
def test_the_precision_is_as_the_file_calls_it(config, said):
    assert precision(config) == said


def test_listing_models_loads_no_jax():
    code = "import sys; from jaxroof.commands.listing import run; run('models', True); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
