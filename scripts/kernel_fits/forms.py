"""The form of each kernel on one GPU, fitted to its table: GEMM, attention, mixture of experts."""

import numpy as np

from kernel_fits.least import PER_US, Fit, Fits, Sheet, Table, least, measured

GEMM_ROWS = ((1, 1), (2, 64), (65, 191), (192, 511), (512, 1023), (1024, 16384))
MOE_ROWS = ((1, 1), (2, 64), (65, 512), (513, 2048), (2049, 65536))
# Two tiles of a decode kernel: below, a tile is mostly padding, and queries and outputs weigh as much as the cache.
SHORTEST_CONTEXT = 256
# A cache of this share of the L2 costs little beside the floor, whether it is read from the L2 or not.
TINY = 1 / 64


def layer_gemms(table: Table) -> Table:
    """Products of the sizes of LLM layers, in bf16: n and k from 512, m up to 16384."""
    return table[(table.gemm_dtype == "bfloat16") & (table[["n", "k"]].min(axis=1) >= 512) & (table.m <= 16384)]


def gemm(table: Table, sheet: Sheet) -> Fits:
    """floor + √(memory² + compute²), bytes 2·(mk + kn + mn), FLOPs 2mkn, by number of rows m.

    Of :func:`layer_gemms`. Floor and η of 2 to 64 rows and μ from 256 rows are fitted
    in turn, each in the joined form.
    """
    rows = layer_gemms(table)
    m, n, k = rows[["m", "n", "k"]].to_numpy(float).T
    time_us, memory = measured(rows), 2 * (m * k + k * n + m * n) / (sheet["hbm_tb_per_s"] * PER_US)
    compute, one, few, many = 2 * m * n * k / (sheet["peak_tflops"] * PER_US), m == 1, (m >= 2) & (m <= 64), m >= 256

    def time(at: np.ndarray, floor: float, eta: float, mu: float) -> np.ndarray:
        return floor + np.hypot(memory[at] / eta, compute[at] / mu)

    def rate(floor: float, eta: float) -> Fit:
        return least(lambda mu: time(many, floor, eta, mu), time_us[many], {"mfu": (0.7, 0.4)}, "m ≥ 256")

    def slope(at: np.ndarray, mu: float, prefix: str, label: str) -> Fit:
        starts = {f"{prefix}floor_us": (5.0, 2.0), f"{prefix}hbm_efficiency": (0.8, 0.6)}
        return least(lambda floor, eta: time(at, floor, eta, mu), time_us[at], starts, label)

    low, high = slope(few, np.inf, "", "2 ≤ m ≤ 64"), rate(4.0, 0.8)
    for _ in range(3):
        high = rate(*low.constants.values())
        low = slope(few, high.constants["mfu"], "", "2 ≤ m ≤ 64")
    single = slope(one, high.constants["mfu"], "gemv_", "m = 1")
    mu, of_few, of_one = high.constants["mfu"], low.constants.values(), single.constants.values()
    ratio = np.where(one, time(one | True, *of_one, mu), time(one | True, *of_few, mu)) / time_us
    regimes = {_between("m", a, b): ratio[(m >= a) & (m <= b)] for a, b in GEMM_ROWS}
    return Fits([("kernels.gemm", fit) for fit in (low, high, single)], regimes)


def unwindowed(table: Table) -> Table:
    """Rows of attention without a window (some tables have no such column), with a bf16 cache."""
    return table[(table.kv_cache_dtype == "bfloat16") & (table.get("window_size", 0) == 0)]


def full_attention(table: Table) -> Table:
    """Those of :func:`unwindowed` of head dimension 128."""
    return unwindowed(table[table.head_dim == 128])


def decode_attention(table: Table, sheet: Sheet) -> Fits:
    """The smaller of two lines floor + KV bytes / (BW·η), of small and of large caches.

    The benchmark repeats a call, so that caches below the L2's size are read from it, which no server does: the small
    line is fitted to tiny caches and to those of one to two times the L2, the large one to larger ones.
    """
    rows = full_attention(table)
    rows = rows[rows.step + 1 >= SHORTEST_CONTEXT]
    batch, heads, dim, step = rows[["batch_size", "num_key_value_heads", "head_dim", "step"]].to_numpy(float).T
    cache, time_us = 4 * batch * heads * dim * (step + 1), measured(rows)
    memory, warm = cache / (sheet["hbm_tb_per_s"] * PER_US), cache / (sheet["l2_mib"] * 2**20)

    def line(at: np.ndarray, prefix: str, label: str) -> Fit:
        starts = {f"{prefix}floor_us": (10.0, 30.0), f"{prefix}hbm_efficiency": (0.8, 0.5)}
        return least(lambda floor, eta: floor + memory[at] / eta, time_us[at], starts, label)

    small = line((warm < TINY) | ((warm >= 1) & (warm < 2)), "", f"caches of ≤ L2/{1 / TINY:g}, or L2 to 2·L2")
    large = line(warm >= 2, "large_", "caches of ≥ 2·L2")
    lines = [floor + memory / eta for floor, eta in (fit.constants.values() for fit in (small, large))]
    edges = {"cache < L2/64": (0, TINY), "L2/64 to L2 (L2-warm, not fitted)": (TINY, 1)}
    edges |= {"L2 to 2 L2": (1, 2), "2 to 8 L2": (2, 8), "8 L2 and more": (8, np.inf)}
    ratio = np.minimum(*lines) / time_us
    regimes = {name: ratio[(warm >= a) & (warm < b)] for name, (a, b) in edges.items()}
    return Fits([("kernels.decode_attention", fit) for fit in (small, large)], regimes)


def prefill_attention(table: Table, sheet: Sheet) -> Fits:
    """floor + 2·batch·h·s²·d / (P·μ) · (1 + half_length / s)."""
    rows = full_attention(table)
    batch, heads, dim, s = rows[["batch_size", "num_heads", "head_dim", "isl"]].to_numpy(float).T
    compute = 2 * batch * heads * dim * s**2 / (sheet["peak_tflops"] * PER_US)
    starts = {"floor_us": (10.0, 20.0), "mfu": (0.6, 0.4), "half_length_tokens": (1000.0, 300.0)}
    fit = least(lambda floor, mu, half: floor + compute / mu * (1 + half / s), measured(rows), starts, "all rows")
    regimes = {_between("s", a, b): fit.ratio[(s >= a) & (s <= b)] for a, b in ((1, 255), (256, 2047), (2048, 1 << 20))}
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

    fit = least(time, measured(rows), starts, f"{mildest} routing")
    regimes = {_between("m", a, b): fit.ratio[(m >= a) & (m <= b)] for a, b in MOE_ROWS}
    regimes |= {f"E = {count:g}": fit.ratio[experts == count] for count in np.unique(experts)}
    return Fits([("kernels.moe", fit)], regimes)


def _between(name: str, low: int, high: int) -> str:
    return f"{name} {low}" if low == high else f"{name} {low} to {high}"
