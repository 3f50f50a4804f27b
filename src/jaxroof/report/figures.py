"""Figures as PNG files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

FigureFile = Callable[[Path], None]


def figure(heading: str, plot: Callable[..., Any], *data: Any, size: tuple[float, float] = (9, 6)) -> FigureFile:
    """A figure of ``size`` [inches] that is drawn once the path of its PNG is given."""

    def save(path: Path) -> None:
        from matplotlib.figure import Figure  # slow to load

        drawn = Figure(figsize=size, layout="constrained")
        plot(*data, ax=drawn.subplots())
        drawn.suptitle(heading)
        drawn.savefig(path, dpi=120)

    return save
