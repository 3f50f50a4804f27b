"""Figures: each takes data and axes and returns the axes; only :mod:`jaxroof.report` saves files."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes


def plot_search(curve: pd.DataFrame, optimum_us: float, *, ax: Axes) -> Axes:
    """Train loss against the searched value, with its optimum."""
    ordered = curve.sort_values("value_us")
    ax.plot(ordered["value_us"], ordered["train_tpot_mape_pct"], color="0.6", zorder=1)
    for name, marker in (("coarse", "o"), ("fine", "D")):
        rows = curve[curve["pass"] == name]
        ax.scatter(rows["value_us"], rows["train_tpot_mape_pct"], s=22, marker=marker, label=f"{name} grid")
    if "published_pct" in curve:
        ax.scatter(curve["value_us"], curve["published_pct"], s=36, marker="x", color="0.2", label="published")
    ax.axvline(optimum_us, color="0.3", linestyle="--", linewidth=1, label=f"optimum {optimum_us:g} µs")
    ax.set(xlabel="overhead per layer [µs]", ylabel="train TPOT MAPE [%]", title="Grid search on the train split")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return ax


def plot_signed_errors(predictions: pd.DataFrame, *, ax: Axes) -> Axes:
    """Signed TPOT error of every experiment, one bar per configuration."""
    wide = predictions.pivot(index="experiment", columns="configuration", values="tpot_signed_pct")
    wide = wide.loc[predictions["experiment"].unique(), predictions["configuration"].unique()]
    rows, height = np.arange(len(wide)), 0.8 / wide.shape[1]
    for i, name in enumerate(wide.columns):
        ax.barh(rows + (i - (wide.shape[1] - 1) / 2) * height, wide[name], height, label=name)
    splits = predictions.drop_duplicates("experiment")["split"]
    ax.set_yticks(rows, [f"{name} ({split})" for name, split in zip(wide.index, splits, strict=True)], fontsize=8)
    ax.invert_yaxis()
    ax.axvline(0, color="0.2", linewidth=0.8)
    ax.set(xlabel="signed TPOT error, predicted / measured − 1 [%]", title="TPOT error per experiment")
    ax.legend(frameon=False)
    return ax
