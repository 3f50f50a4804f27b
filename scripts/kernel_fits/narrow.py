"""The forms of kernels with narrow numbers: FP8 and FP4 products and experts, attention with an FP8 KV cache.

They are the 16-bit forms and what narrow numbers add to them: inputs are quantised in a pass of their own, tiles are
of a fixed height, and a tile of FP8 keys is longer than a short context. Each regime weighs the same in a fit, and its
bias as much as its scatter: the tables have most rows where servers are least.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from kernel_fits.least import PER_US, Fit, Fits, Rows, Sheet, Table, balanced, measured
from kernel_fits.regimes import (
    GEMM_ROWS,
    MOE_ROWS,
    PREFILL_LENGTHS,
    SHORTEST_CONTEXT,
    TINY,
    by_size,
    cache_regimes,
    full_attention,
    of_layers,
    shapes,
)

TALL = 256  # rows from which on a wave of tiles is as high as it gets


class Format(NamedTuple):
    """A dtype of the tables: bytes of a weight and of an input, and the data sheet's rate of its unit.

    ``apart``: tables of what quantises the inputs, which the rows of products include and an engine may fuse.
    """

    dtype: str
    table: str
    weight: float
    input: float
    rate: str
    apart: tuple[str, ...] = ()


FP8 = Format("fp8", "fp8", 1.0, 1.0, "fp8_tflops", ("scale_matrix_perf", "computescale_perf"))
FP8_BLOCK = Format("fp8_block", "fp8_block", 1.0 + 4 / 128**2, 1.0, "fp8_tflops")
FP4 = Format("nvfp4", "fp4", 0.5 + 1 / 16, 0.5 + 1 / 16, "fp4_tflops")
FORMATS = (FP8, FP8_BLOCK, FP4)


def gemm(table: Table, sheet: Sheet, of: Format, apart: Sequence[Table] = ()) -> Fits:
    """floor + pass·mk/BW + √(memory² + compute²), compute = 2k·(mn + wave + tall·min(m/256, 1)) / (P·μ).

    ``pass`` bytes are moved per input to quantise it, unless the rows of ``apart``, which do, are taken off first;
    ``wave`` and ``tall`` are outputs of half a wave of tiles.
    """
    rows = table[(table.gemm_dtype == of.dtype) & of_layers(table)]
    for i, quantising in enumerate(apart):
        rows = rows.merge(quantising[["m", "k", "latency"]], on=["m", "k"], suffixes=("", f"_{i}"))
        rows["latency"] -= rows[f"latency_{i}"]
    rows = rows[rows.latency > 0]
    m, n, k = rows[["m", "n", "k"]].to_numpy(float).T
    time_us, bandwidth = measured(rows), sheet["hbm_tb_per_s"] * PER_US
    memory = (k * n * of.weight + m * k * of.input + 2 * m * n) / bandwidth
    rate, one = sheet[of.rate] * PER_US, m == 1
    quantised, tall = m * k / bandwidth, np.minimum(m / TALL, 1)

    def time(at: Rows, floor: float, eta: float, mu: float, each: float, wave: float, more: float) -> np.ndarray:
        outputs = (m * n + wave + more * tall)[at]
        return floor + each * quantised[at] + np.hypot(memory[at] / eta, 2 * k[at] * outputs / (rate * mu))

    starts = {"floor_us": (6.0, 5.0), "hbm_efficiency": (0.8, 0.85), "mfu": (0.6, 0.5), "input_pass_bytes": (9.0, 3.0)}
    starts |= {"wave_outputs": (3e5, 9e5), "tall_wave_outputs": (5e5, 1e5)}
    several, shape = by_size("m", m[~one], GEMM_ROWS[1:]), shapes(rows, "n", "k")
    many = balanced(lambda *at: time(~one, *at), time_us[~one], starts, "m ≥ 2", several.values(), shape[~one])
    rest = list(many.constants.values())[2:]
    gemv = {"gemv_floor_us": (6.0, 12.0), "gemv_hbm_efficiency": (0.8, 0.6)}
    single = balanced(lambda *at: time(one, *at, *rest), time_us[one], gemv, "m = 1", [one[one]], shape[one])
    regimes = {"m 1": single.ratio} | {name: many.ratio[at] for name, at in several.items()}
    return Fits([(f"kernels.gemm_{of.table}", fit) for fit in (many, single)], regimes)


def moe(table: Table, sheet: Sheet, of: Format) -> Fits:
    """floor + per_expert·touched + pass·activations/BW + √(memory² + compute²), balanced routing, no ep.

    compute = 6·(m·k + tile_rows·touched)·HI / (P·μ), activations m·k·(2H + 3I).
    ``tile_rows``: with few tokens a tile of an expert is empty in part. Gated experts, and of the kernels the one that
    has most rows: others stand in for shapes that it does not take.
    """
    rows = table[(table.moe_dtype == of.dtype) & (table.moe_ep_size == 1) & (table.distribution == "balanced")]
    rows = rows[~rows.kernel_source.str.contains("nongated")]
    rows = rows[rows.kernel_source == max(rows.kernel_source.mode(), default="")]
    names = ["num_tokens", "hidden_size", "inter_size", "moe_tp_size", "topk", "num_experts"]
    m, hidden, whole, tp, k, experts = rows[names].to_numpy(float).T
    inter, touched, bandwidth = whole / tp, np.minimum(experts, m * k), sheet["hbm_tb_per_s"] * PER_US
    activations = m * k * (2 * hidden + 3 * inter)
    memory = (touched * 3 * hidden * inter * of.weight + 2 * activations) / bandwidth
    of_row = 6 * hidden * inter / (sheet[of.rate] * PER_US)

    def time(floor: float, each: float, eta: float, mu: float, moved: float, tile: float) -> np.ndarray:
        beside = floor + each * touched + moved * activations / bandwidth
        return beside + np.hypot(memory / eta, of_row * (m * k + tile * touched) / mu)

    starts = {"floor_us": (30.0, 18.0), "per_expert_us": (0.1, 0.3), "hbm_efficiency": (0.85, 0.9)}
    starts |= {"mfu": (0.4, 0.6), "input_pass_bytes": (4.0, 2.0), "tile_rows": (20.0, 60.0)}
    regimes = by_size("m", m, MOE_ROWS)
    fit = balanced(time, measured(rows), starts, "balanced routing", regimes.values(), shapes(rows, *names[1:]))
    fit.constants["smoothness"] = 1.0  # of the root
    return Fits([(f"kernels.moe_{of.table}", fit)], {name: fit.ratio[at] for name, at in regimes.items()})


def decode_attention(table: Table, sheet: Sheet) -> Fits:
    """The smaller of two lines floor + bytes·(1 + half_tile/c) / (BW·η): each request reads half a tile more.

    Rows as for a 16-bit cache; half a tile is fitted with the large line.
    """
    rows = full_attention(table, "fp8")
    rows = rows[rows.step + 1 >= SHORTEST_CONTEXT]
    batch, heads, dim, step = rows[["batch_size", "num_key_value_heads", "head_dim", "step"]].to_numpy(float).T
    context, time_us = step + 1, measured(rows)
    cache = 2 * batch * heads * dim * context
    memory, warm = cache / (sheet["hbm_tb_per_s"] * PER_US), cache / (sheet["l2_mib"] * 2**20)
    small, large = (warm < TINY) | ((warm >= 1) & (warm < 2)), warm >= 2
    shape = shapes(rows, "num_heads", "num_key_value_heads")

    def line(at: Rows, floor: float, eta: float, half: float) -> np.ndarray:
        return floor + memory[at] / eta * (1 + half / context[at])

    edges = cache_regimes(warm)
    over, below = ([at[rows] for at in edges.values()] for rows in (large, small))

    def few(half: float) -> Fit:
        starts, label = {"floor_us": (15.0, 10.0), "hbm_efficiency": (0.7, 0.8)}, "caches of ≤ L2/64, or L2 to 2·L2"
        return balanced(lambda *at: line(small, *at, half), time_us[small], starts, label, below, shape[small])

    # Caches so large hardly tell the floor: it is no lower than that of small ones.
    least_us = few(0.0).constants["floor_us"]
    starts = {"large_floor_us": (1.5 * least_us, least_us), "large_hbm_efficiency": (0.85, 0.7)}
    starts |= {"half_tile_tokens": (200.0, 30.0)}

    def beyond(floor: float, eta: float, half: float) -> np.ndarray:
        return line(large, max(floor, least_us), eta, half)

    many = balanced(beyond, time_us[large], starts, "caches of ≥ 2·L2", over, shape[large])
    many.constants["large_floor_us"] = max(many.constants["large_floor_us"], least_us)
    floor, eta, half = many.constants.values()
    single = few(half)
    ratio = np.minimum(line(memory > 0, *single.constants.values(), half), line(memory > 0, floor, eta, half)) / time_us
    regimes = {name: ratio[at] for name, at in edges.items()}
    return Fits([("kernels.decode_attention_fp8", fit) for fit in (single, many)], regimes)


def prefill_attention(table: Table, sheet: Sheet) -> Fits:
    """floor + 2·batch·h·s²·d / (P·μ) · (1 + half_length / s), P of 16 bits: keys are FP8, the product is not."""
    rows = full_attention(table, "fp8")
    batch, heads, dim, s = rows[["batch_size", "num_heads", "head_dim", "isl"]].to_numpy(float).T
    compute = 2 * batch * heads * dim * s**2 / (sheet["peak_tflops"] * PER_US)
    starts = {"floor_us": (10.0, 20.0), "mfu": (0.6, 0.4), "half_length_tokens": (1000.0, 300.0)}
    regimes, shape = by_size("s", s, PREFILL_LENGTHS), shapes(rows, "num_heads", "num_key_value_heads")

    def time(floor: float, mu: float, half: float) -> np.ndarray:
        return floor + compute / mu * (1 + half / s)

    fit = balanced(time, measured(rows), starts, "all rows", regimes.values(), shape)
    return Fits([("kernels.prefill_attention_fp8", fit)], {name: fit.ratio[at] for name, at in regimes.items()})


NARROW = {
    **{f"kernels.gemm_{of.table}": ("gemm", "gemm_perf", partial(gemm, of=of), of) for of in FORMATS},
    **{f"kernels.moe_{of.table}": ("moe", "moe_perf", partial(moe, of=of), of) for of in FORMATS},
    "kernels.decode_attention_fp8": ("attention", "generation_attention_perf", decode_attention, None),
    "kernels.prefill_attention_fp8": ("attention", "context_attention_perf", prefill_attention, None),
}
