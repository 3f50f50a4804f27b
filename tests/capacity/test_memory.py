"""What a GPU's memory is spent on, by hand and by vLLM's own formula."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxroof import load_architecture, load_tier0, replace
from jaxroof.capacity.analysis import analyse
from jaxroof.catalogue.sourced_tree import Ranged
from jaxroof.parameters import scalar
from jaxroof.serving import capacity
from jaxroof.serving.activations import activation_bytes

GIB = 2**30
NO_RANGES = {"h100-sxm": {}, "h200-sxm": {}}
# deepseek-ai/DeepSeek-V2-Lite on huggingface.co.
LITE = {
    "model_type": "deepseek_v2", "num_hidden_layers": 27, "hidden_size": 2048, "intermediate_size": 10944,
    "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 102400, "torch_dtype": "bfloat16",
    "kv_lora_rank": 512, "q_lora_rank": None, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
    "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "moe_intermediate_size": 1408,
    "first_k_dense_replace": 1, "moe_layer_freq": 1, "max_position_embeddings": 163840, "tie_word_embeddings": False,
    "topk_method": "greedy", "n_group": 1, "topk_group": 1,
}  # fmt: skip
# vLLM 0.15.1, v1/core/kv_cache_utils.py, get_num_blocks: int(available // page_size // num_layers). Of one GPU: memory,
# share, weights, and the bytes of a block of 16 tokens over all layers: 16 · layers · 2 · KV heads · head_dim · bytes.
SETTINGS = {
    "one GPU": ("llama-3.1-8b", "h100-sxm", 1, 0.9, "auto", 80 * GIB, 16_059_990_016, 2_097_152, 29_206),
    "another share": ("llama-3.1-8b", "h100-sxm", 2, 0.95, "auto", 80 * GIB, 8_029_995_008, 1_048_576, 70_166),
    "FP8 cache": ("llama-3.1-8b", "l40s", 1, 0.9, "fp8", 46_068 * 2**20, 16_059_990_016, 1_048_576, 26_145),
    "two GPUs": ("llama-3.1-70b", "h200-sxm", 2, 0.9, "auto", 141 * GIB, 70_552_387_584, 2_621_440, 25_064),
    "16 GPUs, 8 KV heads": ("llama-3.1-70b", "h100-sxm", 16, 0.9, "auto", 80 * GIB, 8_986_820_608, 655_360, 104_252),
    "8 GPUs, 4 KV heads": ("qwen3-30b-a3b", "h100-sxm", 8, 0.9, "auto", 80 * GIB, 7_680_163_840, 393_216, 177_076),
    "a mixture": ("mixtral-8x7b", "a100-sxm", 4, 0.9, "auto", 80 * GIB, 23_352_836_096, 524_288, 102_914),
    # A latent of 512 + 64 numbers, whole on each GPU: 16 · 27 · 576 · bytes.
    "MLA on four": ("lite", "h100-sxm", 4, 0.9, "auto", 80 * GIB, 7_906_066_432, 497_664, 139_458),
    "MLA, FP8 cache": ("lite", "h100-sxm", 1, 0.9, "fp8_e4m3", 80 * GIB, 31_412_715_520, 248_832, 184_448),
    # Two groups of 12 layers share 161 646 blocks of 12 · 16 · 2 · 8 · 64 · 2 bytes: the size that vLLM prints is half.
    "windows": ("gpt-oss-20b", "h100-sxm", 1, 0.9, "auto", 80 * GIB, 13_747_322_880, 786_432, 161_646 // 2),
}


def loaded(name, tmp_path, dtype=None):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LITE))
    return load_architecture(str(path) if name == "lite" else name, dtype)


@pytest.mark.parametrize("setting", SETTINGS)
def test_blocks_are_vllms(tmp_path, setting):
    name, gpu, tp, share, dtype, memory, weights, block, blocks = SETTINGS[setting]
    arch, tier0 = loaded(name, tmp_path, dtype), load_tier0(gpu)
    tier0 = replace(tier0, {"server.gpu_memory_utilization": share, "server.activations_in_budget": 0})
    assert float(tier0.hardware.hbm_bytes) == memory
    assert float(capacity.gpu_bytes(arch, scalar(tp), 0.0)) == weights
    assert float(capacity.gpu_bytes(arch, scalar(tp), 16.0)) - weights == block
    assert float(capacity.kv_blocks(arch, scalar(tp), tier0)) == blocks == (share * memory - weights) // block


def test_activations_by_hand(tmp_path):
    tier0 = load_tier0("h100-sxm")
    # The sampler: 1024 rows of 128256 logits of 28 bytes beside 8192 tokens of 4096 columns.
    assert activation_bytes(load_architecture("llama-3.1-8b"), scalar(1), tier0) == 1024 * 128256 * 28 + 8192 * 4096 * 2
    # A layer: residual, gate and up (14336 each), and what the down projection takes.
    few = replace(tier0, {"server.max_num_seqs": 16})
    columns = 4096 + 2 * 14336 + 14336
    assert activation_bytes(load_architecture("llama-3.1-8b"), scalar(1), few) == 8192 * columns * 2
    # Experts of 768 on one GPU of 8: 8 of them give 2048 columns each, and take 96; residual and input beside.
    columns = 2 * 2048 + 8 * (2048 + 96)
    assert activation_bytes(load_architecture("qwen3-30b-a3b"), scalar(8), few) == 8192 * columns * 2
    # MLA on four: queries of 192 columns for 4 heads, 576 of latents, the input; 65536 tokens expanded to 4 · 256.
    columns, expanded = 2048 + (4 * 192 + 576) + 2048, 65536 * 4 * 256
    experts = 2 * 2048 + 6 * (2048 + 352)
    assert experts > columns
    found = activation_bytes(loaded("lite", tmp_path), scalar(4), few)
    assert found == (8192 * experts + expanded) * 2


def test_what_is_reserved_and_what_is_outside():
    arch = load_architecture("llama-3.1-8b")
    room = {
        name: float(capacity.room_bytes(arch, scalar(1), load_tier0(server=name)))
        for name in ("vllm-0.15", "sglang-0.5")
    }
    assert room["sglang-0.5"] == pytest.approx(0.83 * 80 * GIB)
    kept = replace(load_tier0(), {"server.reserved_gb": 2})
    assert float(capacity.room_bytes(arch, scalar(1), kept)) == pytest.approx(room["vllm-0.15"] - 2e9)


def test_windows_keep_blocks_of_a_window_and_one_more(tmp_path):
    """vLLM's SlidingWindowSpec, for one new token: (cdiv(window, 16) + 1) pages; half of the layers slide."""
    arch = load_architecture("gpt-oss-20b")
    none, per_token = float(capacity.gpu_bytes(arch, scalar(1), 0.0)), 12 * 2 * 8 * 64 * 2
    for tokens, window in (64, 64), (144, 144), (1600, 128 + 16):
        held = float(capacity.gpu_bytes(arch, scalar(1), float(tokens), 1.0, 16.0)) - none
        assert held == per_token * (tokens + window)
    layers = arch.layers
    sizes = np.where(np.asarray(layers.sliding_window) > 0, 100.0, 0.0)
    chunked = dataclasses.replace(
        arch, layers=dataclasses.replace(layers, sliding_window=0 * sizes, attention_chunk_size=sizes)
    )
    held = float(capacity.gpu_bytes(chunked, scalar(1), 1600.0, 1.0, 16.0)) - none
    assert held == per_token * (1600 + 112)


def test_more_gpus_hold_more_and_a_sweep_may_trace_it():
    arch, tier0 = load_architecture("gpt-oss-120b"), load_tier0()

    def serves(tp, tokens):
        return capacity.can_serve(arch, tp, tokens, scalar(8), tier0)

    found = jax.jit(jax.vmap(serves))(np.array([1.0, 1.0, 2.0]), np.array([1e4, 1e6, 1e6]))
    assert found.tolist() == [True, False, True]
    fits = analyse(arch, {"h100-sxm": tier0}, NO_RANGES, [1, 2, 4, 8, 3], 131072)
    held = [fit.memory.requests for fit in fits[:-1]]
    assert held == sorted(held)
    assert (fits[-1].memory, fits[-1].reason) == (None, "64 attention heads cannot be divided by 3")


def test_requests_are_as_many_as_fit_whole():
    arch, tier0 = load_architecture("llama-3.1-70b"), load_tier0("h200-sxm")
    short, held = (analyse(arch, {"h200-sxm": tier0}, NO_RANGES, [tp], 1000)[0].memory for tp in (1, 2))
    assert (short.requests, short.binds) == (0, "memory")
    # One request of 1000 tokens takes 63 blocks of 16 tokens.
    assert short.missing == pytest.approx(141_104_775_168 + 63 * 16 * 327_680 - (short.usable - short.activations))
    assert held.in_memory == (held.cache // (16 * 163_840)) // 63
    tight = replace(tier0, {"server.max_num_seqs": 100})
    assert analyse(arch, {"h200-sxm": tight}, NO_RANGES, [2], 1000)[0].memory.binds == "slots"


def test_the_ends_are_those_of_less_and_more_room():
    """Half a GB more or less of the GPU's memory is 0.45 GB of KV cache at a share of 0.9, and nothing else."""
    arch, tier0 = load_architecture("llama-3.1-8b"), load_tier0("h100-sxm")
    whole = float(tier0.hardware.hbm_bytes) / 1e9
    ranges = {"hardware.hbm_gb": Ranged(whole, whole - 0.5, whole + 0.5)}
    (fit,) = analyse(arch, {"h100-sxm": tier0}, {"h100-sxm": ranges}, [1], 1000)
    for end, of in ((whole - 0.5, fit.low), (whole + 0.5, fit.high)):
        there = replace(tier0, {"hardware.hbm_gb": end})
        (other,) = analyse(arch, {"h100-sxm": there}, NO_RANGES, [1], 1000)
        assert of.cache == pytest.approx(other.memory.cache, abs=0.01e9)
        assert of.kv_tokens == pytest.approx(other.memory.kv_tokens, rel=1e-3)
        assert of.weights == fit.memory.weights
    assert fit.bounds.ranged == {"hardware.hbm_gb"}
