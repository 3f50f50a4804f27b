"""The progress bar of a sweep, on stderr."""

import sys
import time
from collections.abc import Iterator, Sequence

from jaxroof.sweeps.stream import Program


def rated(indices: Sequence[int], program: Program) -> Iterator[int]:
    """The chunks of a sweep; on a terminal a bar with the rate and what is left."""
    if not sys.stderr.isatty():
        yield from indices
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("sweep"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, done, began = bar.add_task("sweep", total=len(indices), rate=""), 0, time.monotonic()
        for index in indices:
            yield index
            done += program.count(index)
            bar.update(task, advance=1, rate=speed(program, done, time.monotonic() - began))


def speed(program: Program, points: int, seconds: float) -> str:
    """Points and requests' latencies per second, in words."""
    rate = points / max(seconds, 1e-9)
    return f"{rate:.3g} points/s, {rate * program.plan.objective.evaluations:.3g} evaluations/s"
