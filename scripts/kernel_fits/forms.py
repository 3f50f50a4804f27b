"""The form of each kernel on one GPU, fitted to its table: GEMM, attention, mixture of experts."""

import numpy as np

from kernel_fits.least import PER_US, Fit, Fits, Sheet, Table, least, measured
from kernel_fits.regimes import (
    GEMM_ROWS,
    MOE_ROWS,
    PREFILL_LENGTHS,
    SHORTEST_CONTEXT,
    TINY,
    by_size,
    cache_regimes,
    full_attention,
    layer_gemms,
    shapes,
)

SHAPE = ["num_heads", "num_key_value_heads"]


def gemm(table: Table, sheet: Sheet) -> Fits:
    """floor + √(memory² + compute²), bytes 2·(mk + kn + mn), FLOPs 2mkn, by number of rows m.

    Floor and η of 2 to 64 rows and μ from 256 rows are fitted
    in turn, each in the joined form.
    """
    rows = layer_gemms(table)
    m, n, k = rows[["m", "n", "k"]].to_numpy(float).T
    time_us, memory = measured(rows), 2 * (m * k + k * n + m * n) / (sheet["hbm_tb_per_s"] * PER_US)
    shape = shapes(rows, "n", "k")
    compute, one, few, many = 2 * m * n * k / (sheet["peak_tflops"] * PER_US), m == 1, (m >= 2) & (m <= 64), m >= 256

    def time(at: np.ndarray, floor: float, eta: float, mu: float) -> np.ndarray:
        return floor + np.hypot(memory[at] / eta, compute[at] / mu)

    def rate(floor: float, eta: float) -> Fit:
        return least(lambda mu: time(many, floor, eta, mu), time_us[many], {"mfu": (0.7, 0.4)}, "m ≥ 256", shape[many])

    def slope(at: np.ndarray, mu: float, prefix: str, label: str) -> Fit:
        starts = {f"{prefix}floor_us": (5.0, 2.0), f"{prefix}hbm_efficiency": (0.8, 0.6)}
        return least(lambda floor, eta: time(at, floor, eta, mu), time_us[at], starts, label, shape[at])

    low, high = slope(few, np.inf, "", "2 ≤ m ≤ 64"), rate(4.0, 0.8)
    for _ in range(3):
        high = rate(*low.constants.values())
        low = slope(few, high.constants["mfu"], "", "2 ≤ m ≤ 64")
    single = slope(one, high.constants["mfu"], "gemv_", "m = 1")
    mu, of_few, of_one = high.constants["mfu"], low.constants.values(), single.constants.values()
    ratio = np.where(one, time(one | True, *of_one, mu), time(one | True, *of_few, mu)) / time_us
    regimes = {name: ratio[at] for name, at in by_size("m", m, GEMM_ROWS).items()}
    return Fits([("kernels.gemm", fit) for fit in (low, high, single)], regimes)


def decode_attention(table: Table, sheet: Sheet) -> Fits:
    """The smaller of two lines floor + KV bytes / (BW·η), of small and of large caches.

    The benchmark repeats a call, so that caches below the L2's size are read from it, which no server does: the small
    line is fitted to tiny caches and to those of one to two times the L2, the large one to larger ones.
    """
    rows = full_attention(table)
    rows = rows[rows.step + 1 >= SHORTEST_CONTEXT]
    batch, heads, dim, step = rows[["batch_size", "num_key_value_heads", "head_dim", "step"]].to_numpy(float).T
    cache, time_us = 4 * batch * heads * dim * (step + 1), measured(rows)
    shape = shapes(rows, *SHAPE)
    memory, warm = cache / (sheet["hbm_tb_per_s"] * PER_US), cache / (sheet["l2_mib"] * 2**20)

    def line(at: np.ndarray, prefix: str, label: str) -> Fit:
        starts = {f"{prefix}floor_us": (10.0, 30.0), f"{prefix}hbm_efficiency": (0.8, 0.5)}
        return least(lambda floor, eta: floor + memory[at] / eta, time_us[at], starts, label, shape[at])

    small = line((warm < TINY) | ((warm >= 1) & (warm < 2)), "", f"caches of ≤ L2/{1 / TINY:g}, or L2 to 2·L2")
    large = line(warm >= 2, "large_", "caches of ≥ 2·L2")
    lines = [floor + memory / eta for floor, eta in (fit.constants.values() for fit in (small, large))]
    ratio = np.minimum(*lines) / time_us
    regimes = {name: ratio[at] for name, at in cache_regimes(warm).items()}
    return Fits([("kernels.decode_attention", fit) for fit in (small, large)], regimes)


def prefill_attention(table: Table, sheet: Sheet) -> Fits:
    """floor + 2·batch·h·s²·d / (P·μ) · (1 + half_length / s)."""
    rows = full_attention(table)
    batch, heads, dim, s = rows[["batch_size", "num_heads", "head_dim", "isl"]].to_numpy(float).T
    compute = 2 * batch * heads * dim * s**2 / (sheet["peak_tflops"] * PER_US)
    starts = {"floor_us": (10.0, 20.0), "mfu": (0.6, 0.4), "half_length_tokens": (1000.0, 300.0)}

    def time(floor: float, mu: float, half: float) -> np.ndarray:
        return floor + compute / mu * (1 + half / s)

    fit = least(time, measured(rows), starts, "all rows", shapes(rows, *SHAPE))
    regimes = {name: fit.ratio[at] for name, at in by_size("s", s, PREFILL_LENGTHS).items()}
    return Fits([("kernels.prefill_attention", fit)], regimes)


def moe(table: Table, sheet: Sheet) -> Fits:
    """floor + per_expert·touched + max(bytes / (BW·η), FLOPs / (P·μ)); no expert parallelism, the mildest skew.

    Bytes 2·(touched·3HI + m·k·(2H + 3I)), FLOPs 6·m·k·HI; touched min(E, m·k) experts where the routing is balanced,
    else E·(1 − (1 − k/E)^m).
    """
    rows = table[(table.moe_dtype == "bfloat16") & (table.moe_ep_size == 1)]
    mildest = min(rows.distribution, default="")  # "balanced" < "power_law_1.01" < "..._1.2"
    rows = rows[rows.distribution == mildest]
    names = ["num_tokens", "hidden_size", "inter_size", "moe_tp_size", "topk", "num_experts"]
    m, hidden, whole, tp, k, experts = rows[names].to_numpy(float).T
    inter, balanced = whole / tp, mildest == "balanced"
    touched = np.minimum(experts, m * k) if balanced else experts * (1 - (1 - k / experts) ** m)
    moved = 2 * (touched * 3 * hidden * inter + m * k * (2 * hidden + 3 * inter))
    memory, compute = (
        moved / (sheet["hbm_tb_per_s"] * PER_US),
        6 * m * k * hidden * inter / sheet["peak_tflops"] / PER_US,
    )
    starts = {"floor_us": (30.0, 10.0), "per_expert_us": (0.2, 0.05), "hbm_efficiency": (0.85, 0.7), "mfu": (0.45, 0.3)}

    def time(floor: float, each: float, eta: float, mu: float) -> np.ndarray:
        return floor + each * touched + np.maximum(memory / eta, compute / mu)

    fit = least(time, measured(rows), starts, f"{mildest} routing", shapes(rows, *names[1:]))
    regimes = {name: fit.ratio[at] for name, at in by_size("m", m, MOE_ROWS).items()}
    regimes |= {f"E = {count:g}": fit.ratio[experts == count] for count in np.unique(experts)}
    return Fits([("kernels.moe", fit)], regimes)
