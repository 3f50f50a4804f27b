"""Figures of a sweep: each takes data and axes and returns the axes."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

UNITS = {"ms": "ms", "pct": "%", "us": "µs", "gb": "GB", "tflops": "TFLOP/s", "tokens": "tokens"}
ACRONYMS = ("ttft", "itl", "e2e", "tpot", "mape")


def plot_marginal(table: pd.DataFrame, by: str, *, ax: Axes) -> Axes:
    """The least metric at each value of an axis, the others at their best."""
    key = str(table.columns[0])
    numeric = pd.api.types.is_numeric_dtype(table[key])
    ax.plot(table[key], table[by], marker="o", markersize=3, linestyle="-" if numeric else "")
    values = table[key] if numeric else pd.Series([0.0])
    if values.min() > 0 and values.max() / values.min() > 50:
        ax.set_xscale("log")
    ax.set(xlabel=label(key), ylabel=f"{label(by)}, the rest at its best", title=f"Least {label(by)} at each value")
    if not numeric:
        ax.tick_params(axis="x", rotation=30)
    return ax


def plot_pareto(front: pd.DataFrame, objectives: Sequence[str], *, ax: Axes) -> Axes:
    """The front in its first two objectives, the third as colour."""
    x, y, *more = objectives
    if more:
        dots = ax.scatter(front[x], front[y], s=22, c=front[more[0]])
        ax.figure.colorbar(dots, ax=ax, label=label(more[0]))
    else:
        ax.plot(front[x], front[y], marker="o", markersize=3)
    ax.set(xlabel=label(x), ylabel=label(y), title=f"Pareto front: {len(front)} points that no other is better than")
    return ax


def label(name: str) -> str:
    """``ttft_ms`` → ``TTFT [ms]``; a key without a unit as it is."""
    words, _, unit = name.rpartition("_")
    if "." in name and not any(words.endswith(f".{a}") for a in ACRONYMS):
        return f"{words} [{UNITS[unit]}]" if unit in UNITS else name
    text = " ".join(w.upper() if w in ACRONYMS else w for w in words.split("_"))
    return f"{text} [{UNITS[unit]}]" if unit in UNITS else name
