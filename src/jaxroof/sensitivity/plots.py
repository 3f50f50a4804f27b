"""Figures of ``jaxroof sensitivity``: each takes data and axes and returns the axes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jaxroof.sensitivity.identifiability import SINGULAR

TORNADO_ROWS = 15


def plot_tornado(swings: pd.DataFrame, mape_pct: float, metric: str, *, ax: Axes) -> Axes:
    """MAPE with each constant 10 % lower and higher, the widest on top; the line is the present MAPE."""
    ends = swings[["lower_mape_pct", "higher_mape_pct"]]
    widest = abs(ends - mape_pct).max(axis=1).sort_values(ascending=False, kind="stable").index[:TORNADO_ROWS]
    rows = np.arange(len(widest))
    for side, height, color in (("lower", 0.8, "C0"), ("higher", 0.45, "C1")):
        change = swings.loc[widest, f"{side}_mape_pct"] - mape_pct
        ax.barh(rows, change, left=mape_pct, height=height, color=color, label=f"10 % {side}")
    ax.set_yticks(rows, swings.loc[widest, "constant"].tolist(), fontsize=9)
    ax.invert_yaxis()
    ax.axvline(mape_pct, color="0.2", linewidth=1, label=f"as it stands: {mape_pct:.2f} %")
    ax.set(xlabel=f"{metric} MAPE of all experiments [%]", title="One constant 10 % lower or higher, within its range")
    ax.legend(frameon=False)
    return ax


def plot_slopes(slopes: pd.DataFrame, metric: str, *, ax: Axes) -> Axes:
    """Heat map experiments × constants of d log(latency) / d log θ; a dot if it rounds to 0, nothing if it is 0."""
    values = slopes.to_numpy(dtype=float)
    reach = float(np.nanmax(abs(values), initial=1e-12))
    image = ax.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if value != 0:
            color = "white" if abs(value) > 0.6 * reach else "black"
            text = "–" if np.isnan(value) else "·" if abs(value) < 0.005 else f"{value:.2f}".replace("-", "−")
            ax.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    ax.set_xticks(range(slopes.shape[1]), slopes.columns.tolist(), rotation=45, ha="right", fontsize=8)
    ax.set_yticks(range(slopes.shape[0]), slopes.index.tolist(), fontsize=8)
    ax.set_title("Latency [%] that 1 % more of a constant adds")
    assert ax.figure is not None
    ax.figure.colorbar(image, ax=ax, label=f"d log {metric} / d log constant [% per %]")
    return ax


def plot_eigenvalues(eigenvalues: Sequence[float], *, ax: Axes) -> Axes:
    """Stiffness of every direction in the space of constants, the stiffest first."""
    relative = np.asarray(eigenvalues) / max(eigenvalues)
    seen = relative > SINGULAR
    rank = np.arange(1, len(relative) + 1)
    ax.semilogy(rank[seen], relative[seen], "o", label=f"seen: {seen.sum()}")
    if (~seen).any():
        floor = np.full((~seen).sum(), SINGULAR)
        ax.semilogy(rank[~seen], floor, "v", color="C3", label=f"seen by no experiment: {(~seen).sum()}")
    ax.axhline(SINGULAR, color="0.6", linestyle="--", linewidth=1)
    title = "Stiffness of log TTFT and log TPOT in the log-constants (Gauss-Newton)"
    ax.set(xlabel="direction, stiffest first", ylabel="eigenvalue, share of the largest", title=title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax
