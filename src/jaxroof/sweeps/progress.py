"""The progress bar of a sweep, on stderr."""

import sys
import time
from collections.abc import Iterator, Sequence

from jaxroof.sweeps.stream import Chunks, States


def rated(
    states: Iterator[States], indices: Sequence[int], chunks: Chunks, evaluations: int
) -> Iterator[tuple[int, States]]:
    """Chunks and what comes of them; on a terminal a bar with the rate and what is left."""
    each = zip(indices, states, strict=True)
    if not sys.stderr.isatty():
        yield from each
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("sweep"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, done, began = bar.add_task("sweep", total=len(indices), rate=""), 0, time.monotonic()
        for index, state in each:
            done += chunks.count(index)
            bar.update(task, advance=1, rate=speed(done, evaluations, time.monotonic() - began))
            yield index, state


def speed(points: int, evaluations: int, seconds: float) -> str:
    """Points and requests' latencies per second, in words; ``evaluations`` per point."""
    rate = points / max(seconds, 1e-9)
    return f"{rate:.3g} points/s, {rate * evaluations:.3g} evaluations/s"
