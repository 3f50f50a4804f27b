"""Figures as PNG files."""

from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

# Characters of a heading in the style's size that an inch holds; matplotlib's own wrapping reads "$" as a formula.
PER_INCH = 10
FigureFile = Callable[[Path], None]


def figure(heading: str, plot: Callable[..., Any], *data: Any, size: tuple[float, float] = (9, 6)) -> FigureFile:
    """A figure of ``size`` [inches] that is drawn once the path of its PNG is given."""

    def save(path: Path) -> None:
        from matplotlib import style  # slow to load
        from matplotlib.figure import Figure

        with style.context("jaxroof.report.jaxroof", after_reset=True):  # alike whatever the user's own settings
            drawn = Figure(figsize=size, layout="constrained")
            plot(*data, ax=drawn.subplots())
            drawn.suptitle("\n".join(fill(line, int(PER_INCH * size[0])) for line in heading.splitlines()))
            drawn.savefig(path)

    return save
