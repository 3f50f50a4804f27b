"""MFU of measured kernels, FLOPs / (time · peak), in the layout that ``--mfu-tables`` reads.

FLOPs are those that the ``roofline`` step time counts: at a row of a table it takes the time that was measured.
"""

from collections.abc import Iterator
from typing import NamedTuple

from kernel_fits.least import PER_US, Table, measured
from kernel_fits.regimes import layer_gemms, unwindowed

GPUS = (1, 2, 4, 8)  # of a tensor-parallel degree
HEADS = ["num_heads", "num_key_value_heads", "head_dim"]
DECODE = ["dtype", "kv_dtype", "batch_size", "kv_len"]


class Shape(NamedTuple):
    """Query heads, KV heads and width of one: of a model, or of what one GPU has of it."""

    heads: int
    kv_heads: int
    dim: int

    def of_one(self, gpus: int) -> "Shape | None":
        """What each GPU has, KV heads replicated where there are fewer than GPUs."""
        divided = self.heads % gpus == 0 and (self.kv_heads % gpus == 0 or gpus % self.kv_heads == 0)
        return Shape(self.heads // gpus, max(1, self.kv_heads // gpus), self.dim) if divided else None


def gemm_csv(table: Table, peak_tflops: float) -> str:
    """``m,k,n,latency_us,mfu`` of the products of LLM layers; FLOPs 2·m·k·n."""
    rows = layer_gemms(table)
    flops = 2.0 * rows.m * rows.k * rows.n
    return _csv(_rows(rows, flops, peak_tflops, ["m", "k", "n"]))


def prefill_csvs(table: Table, peak_tflops: float, causal_divisor: float) -> dict[Shape, str]:
    """``dtype,seq_len,latency_us,mfu`` of one prompt, by shape; FLOPs 4·h·d·s² / ``causal_divisor``."""
    rows = unwindowed(table[table.batch_size == 1])
    rows = rows.rename(columns={"isl": "seq_len"}).assign(dtype="bf16")
    flops = 4.0 * rows.num_heads * rows.head_dim * rows.seq_len.astype(float) ** 2 / causal_divisor
    tables = rows.assign(flops=flops).groupby(HEADS)
    keys = ["dtype", "seq_len"]
    return {Shape(*shape): _csv(_rows(each, each.flops, peak_tflops, keys)) for shape, each in tables}


def decode_csvs(table: Table, peak_tflops: float, shapes: list[Shape]) -> dict[tuple[Shape, int], str]:
    """``dtype,kv_dtype,batch_size,kv_len,latency_us,mfu`` by shape of a model and number of GPUs.

    FLOPs are one GPU's, 4·batch·h·d·kv_len of its heads. Large batches were not measured at the longest contexts: there
    the MFU is that of the longest one, and the row has no latency.
    """
    rows = unwindowed(table)
    rows = rows.assign(kv_len=rows.step + 1, dtype="bf16", kv_dtype="bf16")
    by_shape = {Shape(*shape): each for shape, each in rows.groupby(HEADS)}
    found = {}
    for shape in shapes:
        for gpus in GPUS:
            own = shape.of_one(gpus)
            if own and (each := _measured_as(own, by_shape)) is not None:
                flops = 4.0 * each.batch_size * own.heads * own.dim * each.kv_len
                found[shape, gpus] = _full_grid(_rows(each, flops, peak_tflops, DECODE))
    return found


def _measured_as(shape: Shape, by_shape: dict[Shape, Table]) -> Table | None:
    """The rows of ``shape``, else of a share of its heads at as many times its batch.

    Each pair of a request and a KV head is a tile of its own, so 4 requests with 8 KV heads are as much work as one
    with 32. Where both were measured (SGLang's FlashAttention-3), times differ by 3 % on the H100.
    """
    for factor in _divisors(shape.kv_heads):
        rows = by_shape.get(Shape(shape.heads // factor, shape.kv_heads // factor, shape.dim))
        shared = None if rows is None else rows[rows.batch_size % factor == 0]
        if shared is not None and len(shared):
            return shared.assign(batch_size=shared.batch_size // factor)
    return None


def _divisors(count: int) -> Iterator[int]:
    """From 1 up."""
    return (factor for factor in range(1, count + 1) if count % factor == 0)


def _full_grid(rows: Table) -> str:
    """CSV of every batch at every length; only batches that were measured at the shortest one."""
    dtypes, keys = DECODE[:2], DECODE[2:]
    carried = rows.pivot(index=keys[0], columns=keys[1], values="mfu").ffill(axis=1).dropna()
    grid = rows[dtypes].iloc[:1].merge(carried.stack().rename("mfu").reset_index(), how="cross")
    return _csv(grid.merge(rows[[*keys, "latency_us"]], on=keys, how="left")[[*DECODE, "latency_us", "mfu"]])


def _rows(rows: Table, flops: Table, peak_tflops: float, keys: list[str]) -> Table:
    """The fastest kernel at each of ``keys``, with its MFU."""
    latency_us = measured(rows)
    rows = rows[keys].assign(latency_us=latency_us, mfu=flops / (latency_us * peak_tflops * PER_US))
    return rows.sort_values([*keys, "latency_us"]).drop_duplicates(keys)


def _csv(rows: Table) -> str:
    return str(rows.to_csv(index=False, float_format="%.6g"))
