"""The figure of ``predict``."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes


def plot_breakdown(breakdowns: dict[str, list[dict[str, Any]]], *, ax: Axes) -> Axes:
    """Stacked bars of milliseconds per part, one bar per latency."""
    parts = list(dict.fromkeys(row["part"] for rows in breakdowns.values() for row in rows))
    colours = colormaps["tab20"](np.arange(len(parts)) % 20)
    left = np.zeros(len(breakdowns))
    for part, colour in zip(parts, colours, strict=True):
        ms = np.array([sum(row["ms"] for row in rows if row["part"] == part) for rows in breakdowns.values()])
        ax.barh(list(breakdowns), ms, left=left, color=colour, label=part.replace("_", " "))
        left += ms
    ax.set(xlabel="time [ms]", title="What a request's latency is made of")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)
    return ax
