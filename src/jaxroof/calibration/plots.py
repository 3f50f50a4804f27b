"""Figures of ``jaxroof calibrate``: each takes data and axes and returns the axes."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from jaxroof.report.labels import words
from jaxroof.report.plots import plot_heatmap


def plot_correlation(identifiability: dict[str, Any], *, ax: Axes) -> Axes:
    """Correlation of the estimates of the free constants; empty where one is not identified."""
    names = [*map(words, identifiability["constants"])]
    table = pd.DataFrame(identifiability["correlation"], names, names, dtype=float)
    ax.set_title("Correlation of the estimates (– not identified)")
    return plot_heatmap(table, 1, "correlation of log-constants [1]", ax=ax)
