"""Figures of a sweep: each takes data and axes and returns the axes."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from jaxroof.report.labels import words

# A front of more points has numbers at its first ones only.
NUMBERED = 25
# An axis has ticks at no more values, and a curve a marker at no more of its own.
TICKS, MARKED = 10, 50


def plot_marginal(table: pd.DataFrame, by: str, *, ax: Axes) -> Axes:
    """The least metric at each value of an axis, the others at their best."""
    key = str(table.columns[0])
    numeric = pd.api.types.is_numeric_dtype(table[key])
    if numeric:
        ax.plot(table[key], table[by], marker="o" if len(table) <= MARKED else "")
        _spread(table[key], ax)
    else:
        ax.bar_label(ax.bar(table[key], table[by]), fmt="{:.4g}")
        ax.tick_params(axis="x", rotation=30 if len(table) > 4 else 0)
    ax.set(xlabel=words(key), ylabel=f"{words(by)}, the rest at its best", title=f"Least {words(by)} at each value")
    return ax


def plot_pareto(front: pd.DataFrame, objectives: Sequence[str], *, ax: Axes) -> Axes:
    """The front in its first two objectives, the third as colour."""
    x, y, *more = objectives
    if more:
        dots = ax.scatter(front[x], front[y], c=front[more[0]])
        ax.figure.colorbar(dots, ax=ax, label=words(more[0]))
    else:
        ax.plot(front[x], front[y], marker="o", drawstyle="steps-post")
    for _, row in front.head(NUMBERED).iterrows():
        ax.annotate(f"{row['point']}", (row[x], row[y]), xytext=(5, 5), textcoords="offset points", fontsize="small")
    title = f"Pareto front: {len(front)} points that no other is better than, by number"
    ax.set(xlabel=words(x), ylabel=words(y), title=title)
    return ax


def _spread(values: pd.Series, ax: Axes) -> None:
    """A logarithmic axis for values that lie far apart, and a tick at each of a few."""
    if values.min() > 0 and values.max() / values.min() > 50:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
    if len(values) <= TICKS:
        ax.set_xticks(values.tolist())
        ax.minorticks_off()
