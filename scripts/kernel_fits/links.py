"""All-reduce: vLLM's custom kernel in one pass or two, and what it falls back to."""

from collections.abc import Iterator

import numpy as np

from kernel_fits.least import GB_PER_US, Fit, Fits, Sheet, Table, least, measured
from kernel_fits.regimes import shapes

LARGEST = 256 * 2**20  # [bytes] of a step's largest all-reduce


def link(table: Table, sheet: Sheet) -> Fits:
    """In a CUDA graph, per number of GPUs; sizes are bf16 elements.

    Below the custom kernel's limit min(one-shot, two-shot), one-shot alone for two GPUs; from there on NCCL (with
    symmetric memory where the engine has it). Each is latency + bytes / bandwidth.
    """
    graph = table[(table.allreduce_dtype == "bfloat16") & table.kernel_source.str.endswith("_graph")]
    if graph.empty:
        raise ValueError("no rows of a CUDA graph")
    fits, regimes = [], {}
    for gpus, rows in graph[graph.num_gpus.isin((2, 4, 8))].groupby("num_gpus"):
        limit = sheet[f"custom_limit_mib_tp{gpus}"] * 2**20
        beyond = rows[(_bytes(rows) >= limit) & (_bytes(rows) <= LARGEST)]
        within = rows[_bytes(rows) < limit]
        found = [] if within.empty else list(_custom(within, gpus))
        if not beyond.empty:
            found.append(("link.nccl", _line(beyond, gpus, "from the custom kernel's limit on", (10.0, 250.0))))
        fits += found
        # One pass and two are fitted together: the same rows.
        regimes |= {
            f"T = {gpus}, {'NCCL' if section == 'link.nccl' else 'custom'}": fit.ratio for section, fit in found
        }
    return Fits(fits, regimes)


def _custom(rows: Table, gpus: int) -> Iterator[tuple[str, Fit]]:
    if gpus == 2:
        yield "link.one_shot", _line(rows, gpus, "below the custom kernel's limit", (5.0, 100.0))
        return
    size, label = _size(rows), f"T = {gpus}, below the custom kernel's limit, min(one-shot, two-shot)"
    starts = {"one": (4.0, 5.0), "one_rate": (60.0, 20.0), "two": (8.0, 12.0), "two_rate": (180.0, 80.0)}

    def time(one: float, one_rate: float, two: float, two_rate: float) -> np.ndarray:
        return np.minimum(one + size / one_rate, two + size / two_rate)

    both = least(time, measured(rows), starts, label, shapes(rows, "message_size"))
    pairs = (("one", "one_rate"), ("two", "two_rate"))
    # Named by what they are: one pass starts sooner and ends later.
    for kind, pair in zip(("one_shot", "two_shot"), sorted(pairs, key=lambda p: both.constants[p[0]]), strict=True):
        keys = dict(zip(pair, (f"latency_tp{gpus}_us", f"gb_per_s_tp{gpus}"), strict=True))
        constants, ranges = ({keys[k]: of[k] for k in pair if k in of} for of in (both.constants, both.ranges))
        yield f"link.{kind}", both._replace(constants=constants, ranges=ranges)


def _line(rows: Table, gpus: int, label: str, start: tuple[float, float]) -> Fit:
    size = _size(rows)
    starts = {f"latency_tp{gpus}_us": (start[0], 3 * start[0]), f"gb_per_s_tp{gpus}": (start[1], start[1] / 10)}
    shape, label = shapes(rows, "message_size"), f"T = {gpus}, {label}"
    return least(lambda latency, rate: latency + size / rate, measured(rows), starts, label, shape)


def _bytes(rows: Table) -> Table:
    return 2 * rows.message_size


def _size(rows: Table) -> np.ndarray:
    return _bytes(rows).to_numpy(float) / GB_PER_US
