"""Decode attention, one new token per request: equal contexts, and lognormal ones of the same mean."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module, metadata
from typing import Any

import torch

from kernel_timings.case import Case, Cases

HEAD_DIM, QUERIES = 128, 4  # query heads per KV head
SEEDS = (0, 1, 2)  # draws of contexts that differ

Attend = Callable[..., Any]  # of query, keys, values, contexts, page table or offsets, and the longest context


def attention_cases(device: torch.device, tiny: bool) -> Cases:
    """Powers of two fill 132 multiprocessors almost perfectly; 17 and 100 requests do not."""
    implementation, page, attend = kernel(device)
    for batch in (3,) if tiny else (1, 4, 16, 17, 64, 100, 256):
        for kv_heads in (2,) if tiny else (1, 2, 8):
            for mean in (16,) if tiny else (512, 2048, 8192):
                for cv, seed in ((0.0, 0), *((1.0, seed) for seed in SEEDS if batch > 1)):
                    contexts = drawn(batch, mean, cv, seed)
                    tokens, width = sum(contexts), kv_heads * HEAD_DIM
                    sizes = {"dtype": "bfloat16", "batch": batch, "heads": QUERIES * kv_heads, "kv_heads": kv_heads}
                    sizes |= {"head_dim": HEAD_DIM, "mean_context": round(tokens / batch, 1), "cv": cv, "seed": seed}
                    sizes["drawn_cv"] = round(spread(contexts), 3)
                    moved, flops = 4.0 * width * (tokens + QUERIES * batch), 4.0 * QUERIES * width * tokens
                    make = partial(inputs, contexts, kv_heads, page, device)
                    yield Case("decode_attention", implementation, sizes, moved, flops, make, attend)


def drawn(batch: int, mean: int, cv: float, seed: int) -> list[int]:
    """Lognormal contexts, scaled so that their own mean is ``mean`` [tokens]; all at least one."""
    sigma = math.sqrt(math.log(1 + cv * cv))
    normal = torch.randn(batch, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    lengths = (sigma * normal).exp()
    return [max(1, round(length)) for length in (lengths * mean / lengths.mean()).tolist()]


def spread(contexts: Sequence[int]) -> float:
    """Their coefficient of variation."""
    mean = sum(contexts) / len(contexts)
    return math.sqrt(sum((each - mean) ** 2 for each in contexts) / len(contexts)) / mean


def kernel(device: torch.device) -> tuple[str, int | None, Attend]:
    """The first of vLLM's FlashAttention, FlashAttention-3, FlashAttention-2 and torch's: name, tokens per page, call.

    FlashAttention-3 schedules its tiles in each call, which vLLM does once per step. torch's own has no pages.
    """
    if device.type == "cpu":
        return f"torch {torch.__version__} scaled_dot_product_attention, padded", None, padded
    for module, function, package, page, call in (
        ("vllm.vllm_flash_attn", "flash_attn_varlen_func", "vllm", 16, vllm_attend),
        ("flash_attn_interface", "flash_attn_with_kvcache", "flash_attn_3", 16, flash_3_attend),
        ("flash_attn", "flash_attn_with_kvcache", "flash_attn", 256, flash_2_attend),
    ):
        try:
            found = getattr(import_module(module), function)
        except (ImportError, AttributeError):
            continue
        used = {"fa_version": vllm_version(device)} if package == "vllm" else {}
        said = " ".join([module, version(package), *(f"{key}={value}" for key, value in used.items())])
        return said, page, partial(call, partial(found, **used))
    return f"torch {torch.__version__} _flash_attention_forward", None, torch_attend


def vllm_version(device: torch.device) -> int:
    """FlashAttention's version that vLLM takes: 3 on sm90 where it was built, else 2 (its fa_utils.py)."""
    supported = import_module("vllm.vllm_flash_attn.flash_attn_interface").is_fa_version_supported
    return 3 if torch.cuda.get_device_capability(device)[0] == 9 and supported(3) else 2


def version(package: str) -> str:
    """That of an installed package, "?" where it was built in place."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"


def inputs(
    contexts: Sequence[int], kv_heads: int, page: int | None, device: torch.device, copy: int
) -> tuple[Any, ...]:
    """Query, keys and values in pages that lie in random order, or one request after the other; contexts; where."""
    generator = torch.Generator(device).manual_seed(copy)
    pages = [math.ceil(each / page) for each in contexts] if page else []
    cache = (sum(pages), page, kv_heads, HEAD_DIM) if page else (sum(contexts), kv_heads, HEAD_DIM)
    shapes = ((len(contexts), QUERIES * kv_heads, HEAD_DIM), cache, cache)
    numbers = (torch.randn(shape, generator=generator, device=device, dtype=torch.bfloat16) for shape in shapes)
    used = torch.tensor(contexts, dtype=torch.int32, device=device)
    offsets = torch.tensor([0, *contexts], device=device).cumsum(0).to(torch.int32)
    one_each = torch.arange(len(contexts) + 1, dtype=torch.int32, device=device)
    where = page_table(pages, generator, device) if page else offsets
    return (*numbers, used, where, one_each, max(contexts))


def page_table(pages: Sequence[int], generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Each request's pages [request, page], padded with page 0."""
    order = torch.randperm(sum(pages), generator=generator, device=device).to(torch.int32)
    return torch.nn.utils.rnn.pad_sequence(order.split(list(pages)), batch_first=True).contiguous()


def vllm_attend(function: Attend, q: Any, k: Any, v: Any, used: Any, table: Any, one_each: Any, longest: int) -> Any:
    """As vLLM 0.11 to 0.15 calls it, v1/attention/backends/flash_attn.py."""
    return function(
        q=q, k=k, v=v, max_seqlen_q=1, cu_seqlens_q=one_each, max_seqlen_k=longest, seqused_k=used, block_table=table,
        softmax_scale=HEAD_DIM**-0.5, causal=True,
    )  # fmt: skip


def flash_3_attend(function: Attend, q: Any, k: Any, v: Any, used: Any, table: Any, *_: Any) -> Any:
    """FlashAttention-3's cache interface."""
    return function(q[:, None], k, v, cache_seqlens=used, page_table=table, causal=True)


def flash_2_attend(function: Attend, q: Any, k: Any, v: Any, used: Any, table: Any, *_: Any) -> Any:
    """FlashAttention-2's, whose pages are of 256 tokens."""
    return function(q[:, None], k, v, cache_seqlens=used, block_table=table, causal=True)


def torch_attend(q: Any, k: Any, v: Any, used: Any, offsets: Any, one_each: Any, longest: int) -> Any:
    """What torch.nn.attention.varlen and nested tensors call; the public names differ from version to version."""
    return torch.ops.aten._flash_attention_forward(q, k, v, one_each, offsets, 1, longest, 0.0, False, False)


def padded(q: Any, k: Any, v: Any, used: Any, offsets: Any, one_each: Any, longest: int) -> Any:
    """The same result on a CPU, in a padded batch: a reference, whose time says nothing of decode attention."""
    caches = (torch.nn.utils.rnn.pad_sequence(each.split(used.tolist()), batch_first=True) for each in (k, v))
    keys, values = (each.transpose(1, 2) for each in caches)
    mask = (torch.arange(longest, device=q.device) < used[:, None])[:, None, None]
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(q[:, :, None], keys, values, attn_mask=mask, enable_gqa=True)[:, :, 0]
