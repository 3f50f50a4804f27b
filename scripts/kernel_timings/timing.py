"""The time of one call: in a CUDA graph with cold caches, eagerly where a graph cannot be, or on the host."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from kernel_timings.case import Case

MOST_CALLS, GRAPH_S = 20, 2e-3  # a graph holds so many calls, or those of that time
WARM_UP = 3


@dataclass(frozen=True)
class Times:
    """Of one call [s], one per repeat; ``calls`` were in each."""

    seconds: list[float]
    in_graph: bool
    calls: int
    note: str = ""

    def quantiles_us(self) -> tuple[float, float, float]:
        """5 %, median and 95 %."""
        seconds = torch.tensor(self.seconds, dtype=torch.float64)
        low, middle, high = (1e6 * seconds.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64))).tolist()
        return low, middle, high


def timed(case: Case, device: torch.device, repeats: int) -> Times:
    """Times of a case. Raises RuntimeError where device or torch cannot run it."""
    if case.host or device.type == "cpu":
        return on_host(case, device, repeats)
    first = case.inputs(0)
    for _ in range(WARM_UP):
        case.call(*first)
    once = between_events(lambda: case.call(*first))
    calls = max(1, min(MOST_CALLS, round(GRAPH_S / once)))
    l2 = torch.cuda.get_device_properties(device).L2_cache_size
    # No call finds its inputs in the L2: by its next turn, twice the L2 of other inputs has been read.
    turns = min(calls, 1 + math.ceil(2 * l2 / case.bytes))
    copies = [first, *(case.inputs(copy) for copy in range(1, turns))]
    return on_gpu(case, copies, calls, torch.empty(2 * l2, dtype=torch.uint8, device=device), repeats)


def on_gpu(case: Case, copies: list[Any], calls: int, flush: torch.Tensor, repeats: int) -> Times:
    """``calls`` in one graph, replayed; before each replay the L2 is filled with something else."""

    def every() -> None:
        for call in range(calls):
            case.call(*copies[call % len(copies)])

    run, note = captured(every)
    seconds = []
    for _ in range(WARM_UP + repeats):
        flush.zero_()
        seconds.append(between_events(run) / calls)
    return Times(seconds[WARM_UP:], not note, calls, note)


def captured(every: Callable[[], None]) -> tuple[Callable[[], None], str]:
    """The replay of a graph of it, else the function itself and why."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            every()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as problem:
        torch.cuda.synchronize()
        return every, f"no graph: {in_a_line(problem)}"
    return graph.replay, ""


def between_events(run: Callable[[], Any]) -> float:
    """GPU time between events before and after [s]."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def on_host(case: Case, device: torch.device, repeats: int) -> Times:
    """Wall-clock time of each call, with what it leaves to the GPU."""
    given, seconds = case.inputs(0), []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        case.call(*given)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return Times(seconds[WARM_UP:], False, 1)


def in_a_line(problem: Exception) -> str:
    """A problem's first line."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:160]
