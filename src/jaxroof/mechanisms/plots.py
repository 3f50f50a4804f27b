"""Figures of a study of mechanisms: each takes data and axes and returns the axes."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jaxroof.report.plots import plot_heatmap
from jaxroof.units import PERCENT

# The band that is drawn beside the line of equal times, and the change of an error [pp] that has the darkest colour.
BAND, REACH = 0.1, 10
MARKERS = "osD^v"


def plot_predictions(rows: pd.DataFrame, titles: Mapping[str, str], *, ax: Axes) -> Axes:
    """Predicted against measured ITL, with intervals and a band of ±10 %, on logarithmic axes."""
    ends = rows[["measured_ms", "itl_ms", "itl_low_ms", "itl_high_ms"]].to_numpy()
    line = np.array([ends.min() / 1.2, ends.max() * 1.2])
    ax.fill_between(line, line * (1 - BAND), line * (1 + BAND), color="0.9", zorder=0, label=f"±{BAND / PERCENT:.0f} %")
    ax.plot(line, line, color="0.5", linewidth=1, zorder=1)
    for i, (key, title) in enumerate(titles.items()):
        own = rows[rows["source"] == key]
        bars = [own["itl_ms"] - own["itl_low_ms"], own["itl_high_ms"] - own["itl_ms"]]
        ax.errorbar(
            own["measured_ms"], own["itl_ms"], yerr=np.maximum(bars, 0), fmt=MARKERS[i % len(MARKERS)], markersize=6,
            markerfacecolor="none", elinewidth=1.2, capsize=2, label=title,
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlim=line, ylim=line, aspect="equal")
    ticks = [x for x in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if line[0] <= x <= line[1]]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, [f"{x:g}" for x in ticks])
        axis.set_ticks([], minor=True)
    ax.set(xlabel="measured ITL [ms]", ylabel="predicted ITL, with its interval [ms]")
    ax.set_title("Predicted and measured time between tokens")
    ax.legend(loc="upper left")
    return ax


def plot_left_out(change: pd.DataFrame, *, ax: Axes) -> Axes:
    """By how much the error of each group rises without each mechanism; below 0 the mechanism does harm."""
    ax.set_title("Change of the ITL MAPE where a mechanism is left out")
    return plot_heatmap(change, REACH, "change of the MAPE [pp], red: it is needed", ax=ax)
