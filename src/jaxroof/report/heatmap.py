"""A matrix of numbers between two signs as colours."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jaxroof.report.labels import LEAST


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
