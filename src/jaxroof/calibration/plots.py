"""Figures of ``jaxroof calibrate``: each takes data and axes and returns the axes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes


def plot_correlation(identifiability: dict[str, Any], *, ax: Axes) -> Axes:
    """Correlation of the estimates of the free constants; empty where one is not identified."""
    names, values = identifiability["constants"], np.array(identifiability["correlation"], dtype=float)
    image = ax.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
    for (i, j), value in np.ndenumerate(values):
        text, colour = ("–" if np.isnan(value) else f"{value:.2f}"), "white" if abs(value) > 0.6 else "black"
        ax.text(j, i, text, ha="center", va="center", fontsize=9, color=colour)
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_title("Correlation of the estimates (– not identified)")
    ax.figure.colorbar(image, ax=ax, label="correlation of log-constants [1]")
    return ax
