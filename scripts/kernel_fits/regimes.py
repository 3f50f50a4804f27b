"""The rows of a table that a fit takes, and the regimes that it is held against."""

import numpy as np

from kernel_fits.least import Rows, Table

GEMM_ROWS = ((1, 1), (2, 64), (65, 191), (192, 511), (512, 1023), (1024, 16384))
MOE_ROWS = ((1, 1), (2, 64), (65, 512), (513, 2048), (2049, 65536))
PREFILL_LENGTHS = ((1, 255), (256, 2047), (2048, 1 << 20))
# Two tiles of a decode kernel: below, a tile is mostly padding, and queries and outputs weigh as much as the cache.
SHORTEST_CONTEXT = 256
# A cache of this share of the L2 costs little beside the floor, whether it is read from the L2 or not.
TINY = 1 / 64


def of_layers(table: Table) -> Rows:
    """Products of the sizes of LLM layers: n and k from 512, m up to 16384."""
    return (table[["n", "k"]].min(axis=1) >= 512) & (table.m <= 16384)


def layer_gemms(table: Table) -> Table:
    """Those products in bf16."""
    return table[(table.gemm_dtype == "bfloat16") & of_layers(table)]


def unwindowed(table: Table, cache: str = "bfloat16") -> Table:
    """Rows of attention without a window, with 16-bit queries; some tables lack a column of these."""
    queries = table.get("attn_dtype", "bfloat16") == "bfloat16"
    return table[(table.kv_cache_dtype == cache) & queries & (table.get("window_size", 0) == 0)]


def full_attention(table: Table, cache: str = "bfloat16") -> Table:
    """Those of head dimension 128."""
    return unwindowed(table[table.head_dim == 128], cache)


def cache_regimes(warm: np.ndarray) -> dict[str, Rows]:
    """Caches by their size over that of the L2."""
    edges = {"cache < L2/64": (0, TINY), "L2/64 to L2 (L2-warm, not fitted)": (TINY, 1)}
    edges |= {"L2 to 2 L2": (1, 2), "2 to 8 L2": (2, 8), "8 L2 and more": (8, np.inf)}
    return {name: (warm >= a) & (warm < b) for name, (a, b) in edges.items()}


def by_size(name: str, sizes: np.ndarray, edges: tuple[tuple[int, int], ...]) -> dict[str, Rows]:
    """Rows whose ``sizes`` lie between each pair of ``edges``, both included."""
    labels = {(a, b): f"{name} {a}" if a == b else f"{name} {a} to {b}" for a, b in edges}
    return {label: (sizes >= a) & (sizes <= b) for (a, b), label in labels.items()}


def shapes(rows: Table, *names: str) -> np.ndarray:
    """A number for the model's sizes of each row, by those columns of them that the table has."""
    return rows.groupby([name for name in names if name in rows]).ngroup().to_numpy()
