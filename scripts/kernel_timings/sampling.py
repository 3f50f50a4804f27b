"""From logits to tokens, as vLLM 0.11 to 0.15 does it without FlashInfer: cuts, draws and penalties.

What is done is that of vLLM's v1/sample/ops/topk_topp_sampler.py (top-p sorts all logits, top-k alone does not, the
draw divides by exponential noise), v1/sample/logits_processor/builtin.py (min-p), v1/sample/sampler.py (cast,
temperature), model_executor/layers/utils.py (penalties) and v1/sample/ops/penalties.py (tables of past tokens).
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernel_timings.case import Case, Cases

NEVER = float("-inf")
TOP_P, TOP_K, MIN_P, TEMPERATURE, PENALTY = 0.95, 20, 0.05, 0.8, 1.1
PLAIN = f"torch {torch.__version__}"


def top_p(logits: Tensor, p: Tensor, k: Tensor | None = None) -> Tensor:
    """Logits outside of the ``k`` largest, or of the smallest set of probability ``p``, at −inf: sorts all of them."""
    ordered, places = logits.sort(dim=-1)
    if k is not None:
        least = ordered.gather(1, (ordered.shape[1] - k)[:, None])
        ordered.masked_fill_(ordered < least, NEVER)
    share = ordered.softmax(dim=-1)
    torch.cumsum(share, dim=-1, out=share)
    outside = share <= 1 - p[:, None]
    outside[:, -1] = False  # the likeliest token stays
    ordered.masked_fill_(outside, NEVER)
    return ordered.scatter(dim=-1, index=places, src=ordered)


def top_k(logits: Tensor, k: Tensor, largest: int) -> Tensor:
    """Logits below the ``k``-th at −inf, without a sort. vLLM asks the GPU for ``largest``, which no graph can."""
    free = k == logits.shape[1]
    position = k.masked_fill(free, 1)[:, None] - 1
    least = logits.topk(largest, dim=1).values.gather(1, position)
    least.masked_fill_(free[:, None], NEVER)
    return logits.masked_fill_(logits < least, NEVER)


def min_p(logits: Tensor, p: Tensor) -> Tensor:
    """Logits of less than ``p`` of the largest probability at −inf."""
    share = logits.softmax(dim=-1)
    return logits.masked_fill_(share < share.amax(dim=-1, keepdim=True).mul_(p), NEVER)


def greedy(logits: Tensor) -> Tensor:
    """The likeliest tokens of 16-bit logits."""
    return logits.to(torch.float32).argmax(dim=-1)


def draw(logits: Tensor, temperature: Tensor) -> Tensor:
    """Tokens drawn from 16-bit logits."""
    share = logits.to(torch.float32).div_(temperature[:, None]).softmax(dim=-1, dtype=torch.float32)
    return share.div_(torch.empty_like(share).exponential_()).argmax(dim=-1)


def counted(tokens: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """How often each token occurs [rows, vocabulary], and whether; ``vocabulary`` itself is padding."""
    counts = torch.zeros((len(tokens), vocabulary + 1), dtype=torch.int64, device=tokens.device)
    counts.scatter_add_(1, tokens, torch.ones_like(tokens))
    counts = counts[:, :vocabulary]
    return counts, counts > 0


def repeated(logits: Tensor, prompt_seen: Tensor, output_seen: Tensor, penalty: Tensor) -> None:
    """The repetition penalty in torch's own kernels."""
    seen, factor = prompt_seen | output_seen, penalty[:, None]
    logits.copy_(torch.where(seen, torch.where(logits > 0, logits / factor, logits * factor), logits))


def penalised(repetition: Callable[..., None], logits: Tensor, prompt: Tensor, output: Tensor, by: Tensor) -> Tensor:
    """Logits with all three penalties, in place; how far they drift when repeated changes no time."""
    prompt_seen = counted(prompt, logits.shape[1])[1]
    counts, output_seen = counted(output, logits.shape[1])
    repetition(logits, prompt_seen, output_seen, by)
    logits -= by[:, None] * counts
    logits -= by[:, None] * output_seen
    return logits


def tables(past: list[list[int]], vocabulary: int, device: torch.device) -> Tensor:
    """The past tokens as a padded matrix on the GPU, which vLLM makes anew in each step."""
    padded = np.full((len(past), max(map(len, past))), vocabulary, dtype=np.int64)
    for row, tokens in enumerate(past):
        padded[row, : len(tokens)] = tokens
    matrix = torch.from_numpy(padded)
    return (matrix.pin_memory() if device.type == "cuda" else matrix).to(device, non_blocking=True)


def repetition_kernel(device: torch.device) -> tuple[str, Callable[..., None]]:
    """vLLM's own fused kernel where it is installed."""
    if device.type == "cuda":
        try:
            import vllm
            from vllm._custom_ops import apply_repetition_penalties

            return f"{PLAIN}, vllm {vllm.__version__}", apply_repetition_penalties
        except (ImportError, OSError):  # built for another torch
            pass
    return PLAIN, repeated


def logits_of(rows: int, vocabulary: int, dtype: torch.dtype, device: torch.device, copy: int) -> Tensor:
    """Random logits with the spread of a language model's."""
    generator = torch.Generator(device).manual_seed(copy)
    return (4 * torch.randn((rows, vocabulary), generator=generator, device=device)).to(dtype)


def sort_cases(device: torch.device, tiny: bool) -> Cases:
    """The sort alone, and the cuts of float32 logits; torch sorts otherwise from 128 rows on."""
    for rows in (2, 130) if tiny else (1, 2, 4, 8, 16, 32, 64, 96, 127, 128, 192, 256, 512):
        ks, ps = torch.full((rows,), TOP_K, device=device), torch.full((rows,), TOP_P, device=device)
        cuts: dict[str, Callable[[Tensor], Any]] = {
            "sort": partial(torch.sort, dim=-1),
            "top_p": partial(top_p, p=ps),
            "top_k_top_p": partial(top_p, p=ps, k=ks),
            "top_k": partial(top_k, k=ks, largest=TOP_K),
        }
        for vocabulary in (64,) if tiny else (32768, 128256, 151936):
            moved = {"sort": 16, "top_p": 8, "top_k_top_p": 8, "top_k": 8}  # a sort writes places of 8 bytes too
            yield from logit_cases(cuts, moved, rows, vocabulary, torch.float32, device)


def draw_cases(device: torch.device, tiny: bool) -> Cases:
    """Tokens without a cut, and min-p."""
    for rows in (2,) if tiny else (1, 8, 32, 64, 128, 256, 512):
        temperature, ps = torch.full((rows,), TEMPERATURE, device=device), torch.full((rows, 1), MIN_P, device=device)
        draws: dict[str, Callable[[Tensor], Any]] = {"greedy": greedy, "draw": partial(draw, temperature=temperature)}
        for vocabulary in (64,) if tiny else (32768, 128256, 151936):
            yield from logit_cases(draws, {"greedy": 2, "draw": 2}, rows, vocabulary, torch.bfloat16, device)
            cut: dict[str, Callable[[Tensor], Any]] = {"min_p": partial(min_p, p=ps)}
            yield from logit_cases(cut, {"min_p": 8}, rows, vocabulary, torch.float32, device)


def logit_cases(
    calls: dict[str, Callable[[Tensor], Any]],
    moved: dict[str, int],
    rows: int,
    vocabulary: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Cases:
    """Each of ``calls`` on logits, with the bytes per logit that it must move."""
    sizes = {"rows": rows, "vocabulary": vocabulary, "dtype": str(dtype).removeprefix("torch.")}
    for name, call in calls.items():

        def inputs(copy: int) -> tuple[Tensor]:
            return (logits_of(rows, vocabulary, dtype, device, copy),)

        yield Case(name, PLAIN, sizes, moved[name] * rows * vocabulary, 0.0, inputs, call)


def penalty_cases(device: torch.device, tiny: bool) -> Cases:
    """Penalties on the GPU, and the tables that the host makes for them; half of the past tokens are the prompt's."""
    implementation, repetition = repetition_kernel(device)
    for rows in (2,) if tiny else (1, 8, 32, 64, 128, 256, 512):
        for past in (16,) if tiny else (512, 4096):
            for vocabulary in (64,) if tiny else (32768, 128256, 151936):
                sizes = {"rows": rows, "vocabulary": vocabulary, "dtype": "float32", "past_tokens": past}
                inputs = partial(penalty_inputs, rows, vocabulary, past // 2, device)
                moved = 8.0 * rows * (vocabulary + past)
                yield Case("penalties", implementation, sizes, moved, 0.0, inputs, partial(penalised, repetition))
            sizes = {"rows": rows, "dtype": "int64", "past_tokens": past}
            inputs = partial(table_inputs, rows, past, device)
            yield Case("penalty_tables", PLAIN, sizes, 8.0 * rows * past, 0.0, inputs, tables, host=True)


def penalty_inputs(rows: int, vocabulary: int, tokens: int, device: torch.device, copy: int) -> tuple[Tensor, ...]:
    """Logits, tokens of prompts and of outputs, and the penalty."""
    generator = torch.Generator(device).manual_seed(copy)
    shape = (2, rows, tokens)
    prompt, output = torch.randint(vocabulary, shape, generator=generator, device=device)
    logits = logits_of(rows, vocabulary, torch.float32, device, copy)
    return logits, prompt, output, torch.full((rows,), PENALTY, device=device)


def table_inputs(rows: int, past: int, device: torch.device, copy: int) -> tuple[Any, ...]:
    """Past tokens as the host has them: lists of one length, of a vocabulary of 32 768."""
    generator = random.Random(copy)
    return [generator.choices(range(32768), k=past) for _ in range(rows)], 32768, device
