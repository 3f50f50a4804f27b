"""What several figures share: names and numbers of horizontal bars, and a matrix of numbers as colours."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jaxroof.report.labels import LEAST


def name_rows(names: Sequence[str], ends: Iterable[float] = (), said: Iterable[str] = (), *, ax: Axes) -> None:
    """Names of horizontal bars, the first on top, and what is ``said`` at the ``ends`` of each, no line through it."""
    for place, (end, text) in enumerate(zip(ends, said, strict=True)):
        ax.annotate(f" {text}", (end, place), va="center", fontsize="small")
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")


def plot_heatmap(table: pd.DataFrame, reach: float, label: str, *, ax: Axes) -> Axes:
    """``table``, with names as they are to be read, in colours from −``reach`` to ``reach``; "–" where unknown.

    A dot stands for less than 0.005, nothing for 0.
    """
    image = ax.imshow(table, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        if value != 0:
            colour = "white" if abs(value) > 0.6 * reach else "black"
            ax.text(column, row, _text(value), ha="center", va="center", fontsize="small", color=colour)
    ax.set_xticks(range(table.shape[1]), table.columns.tolist(), rotation=45, ha="right")
    ax.set_yticks(range(table.shape[0]), table.index.tolist())
    ax.grid(visible=False)
    assert ax.figure is not None
    ax.figure.colorbar(image, ax=ax, label=label)
    return ax


def _text(value: Any) -> str:
    return "–" if np.isnan(value) else "·" if abs(value) < LEAST else f"{value:.2f}".replace("-", "−")
