"""Figures as PNG files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Figure = Callable[[Path], None]


def save_figure(
    path: Path, heading: str, plot: Callable[..., Any], *data: Any, size: tuple[float, float] = (9, 6)
) -> None:
    """One figure of ``size`` [inches] as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    plot(*data, ax=figure.subplots())
    figure.suptitle(heading)
    figure.savefig(path, dpi=120)


def figure(heading: str, plot: Callable[..., Any], *data: Any, size: tuple[float, float] = (9, 6)) -> Figure:
    """A figure that is drawn once the path of its PNG is given."""
    return lambda path: save_figure(path, heading, plot, *data, size=size)
