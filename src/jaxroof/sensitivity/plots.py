"""Figures of ``jaxroof sensitivity``: each takes data and axes and returns the axes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jaxroof.report.labels import LEAST, experiments, words
from jaxroof.report.plots import name_rows, plot_heatmap
from jaxroof.sensitivity.identifiability import SINGULAR

TORNADO_ROWS = 15


def plot_tornado(swings: pd.DataFrame, mape_pct: float, metric: str, *, ax: Axes) -> Axes:
    """MAPE with each constant 10 % lower and higher, the widest on top; the line is the present MAPE."""
    ends = swings[["lower_mape_pct", "higher_mape_pct"]]
    widest = abs(ends - mape_pct).max(axis=1).sort_values(ascending=False, kind="stable").index[:TORNADO_ROWS]
    rows = np.arange(len(widest))
    for side, height in (("lower", 0.8), ("higher", 0.45)):
        change = swings.loc[widest, f"{side}_mape_pct"] - mape_pct
        ax.barh(rows, change, left=mape_pct, height=height, label=f"10 % {side}")
    said = [f"{lower:.2f} / {higher:.2f}" for lower, higher in ends.loc[widest].to_numpy()]
    name_rows([*map(words, swings.loc[widest, "constant"])], ends.loc[widest].max(axis=1), said, ax=ax)
    ax.margins(x=0.25)
    ax.axvline(mape_pct, color="0.2", linewidth=1, label=f"as it stands: {mape_pct:.2f} %")
    ax.set_xlabel(f"{metric} MAPE of all experiments, lower / higher [%]")
    ax.set_title("One constant 10 % lower or higher, within its range")
    ax.legend()
    return ax


def plot_slopes(slopes: pd.DataFrame, metric: str, *, ax: Axes) -> Axes:
    """Heat map experiments × constants of d log(latency) / d log θ; a dot if it rounds to 0, nothing if it is 0."""
    table = slopes.set_axis(experiments(slopes.index)).rename(columns=words)
    ax.set_title(f"Latency [%] that 1 % more of a constant adds (at least {LEAST} anywhere)")
    reach = float(np.nanmax(abs(slopes), initial=1e-12))
    return plot_heatmap(table, reach, f"d log {metric} / d log constant [% per %]", ax=ax)


def plot_eigenvalues(eigenvalues: Sequence[float], *, ax: Axes) -> Axes:
    """Stiffness of every direction in the space of constants, the stiffest first."""
    relative = np.asarray(eigenvalues) / max(eigenvalues)
    seen = relative > SINGULAR
    rank = np.arange(1, len(relative) + 1)
    ax.semilogy(rank[seen], relative[seen], "o", label=f"seen: {seen.sum()}")
    if (~seen).any():
        floor = np.full((~seen).sum(), SINGULAR)
        ax.semilogy(rank[~seen], floor, "v", label=f"seen by no experiment: {(~seen).sum()}")
    ax.axhline(SINGULAR, color="0.6", linestyle="--", linewidth=1)
    title = "Stiffness of log TTFT and log TPOT in the log-constants (Gauss-Newton)"
    ax.set(xlabel="direction, stiffest first", ylabel="eigenvalue, share of the largest", title=title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend()
    return ax
