"""Figures: each takes data and axes and returns the axes; only :mod:`jaxroof.report.figures` saves files."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jaxroof.report.labels import experiments, words
from jaxroof.report.plots import name_rows

# A search is drawn up to so many times its least loss: the ends of its range would squeeze the optimum.
NEAR = 3


def plot_search(curve: pd.DataFrame, optimum_us: float, *, ax: Axes) -> Axes:
    """Train loss against the searched value near its optimum."""
    curve = curve[curve["train_tpot_mape_pct"] <= NEAR * curve["train_tpot_mape_pct"].min()]
    ordered = curve.sort_values("value_us")
    ax.plot(ordered["value_us"], ordered["train_tpot_mape_pct"], color="0.6", zorder=1)
    for name, marker in (("coarse", "o"), ("fine", "D")):
        rows = curve[curve["pass"] == name]
        ax.scatter(rows["value_us"], rows["train_tpot_mape_pct"], s=22, marker=marker, label=f"{name} grid")
    if "published_pct" in curve:
        ax.scatter(curve["value_us"], curve["published_pct"], marker="x", color="0.2", label="published")
    least = f"optimum {optimum_us:g} µs, {curve['train_tpot_mape_pct'].min():.1f} %"
    ax.axvline(optimum_us, color="0.3", linestyle="--", linewidth=1, label=least)
    ax.set(xlabel="overhead per layer [µs]", ylabel="train TPOT MAPE [%]", ylim=(0, None))
    ax.set_title(f"Grid search on the train split, losses up to {NEAR} times the least")
    ax.legend()
    return ax


def plot_marginals(marginals: pd.DataFrame, *, ax: Axes) -> Axes:
    """Least train loss at each value of each free constant, the value as a share of its range."""
    for name, rows in marginals.groupby("constant", sort=False):
        top = rows["value_us"].max()
        ax.plot(rows["value_us"] / top, rows["train_mape_pct"], label=f"{words(str(name))}, 0 to {top:g} µs")
    ax.set(xlabel="value, share of its range", ylabel="train MAPE, others at their best [%]", ylim=(0, None))
    ax.set_title("Product grid on the train split")
    ax.legend()
    return ax


def plot_ranking(ranking: pd.DataFrame, *, ax: Axes) -> Axes:
    """Train and test MAPE of every formula, searched or with the seed's constants, and of the baselines."""
    rows = np.arange(len(ranking))
    suffix = {"optimum": "", "seed": " (seed's constants)"}
    names = zip(ranking["idea"], ranking["configuration"], strict=True)
    labels = [c if idea == "–" else f"{words(idea)}{suffix.get(c, f' ({c})')}" for idea, c in names]
    ax.barh(rows - 0.2, ranking["train"], 0.38, label="train")
    ax.barh(rows + 0.2, ranking["test"], 0.38, label="test")
    ends = ranking[["train", "test"]].to_numpy()
    name_rows(labels, ends.max(axis=1), [f"{train:.1f} / {test:.1f}" for train, test in ends], ax=ax)
    ax.margins(x=0.18)
    ax.set(xlabel="TPOT MAPE, train / test [%]", title="Formulas, constants searched on train, best on test first")
    ax.legend()
    return ax


def plot_signed_errors(predictions: pd.DataFrame, *, ax: Axes) -> Axes:
    """Signed TPOT error of every experiment, one bar per configuration."""
    wide = predictions.pivot(index="experiment", columns="configuration", values="tpot_signed_pct")
    wide = wide.loc[predictions["experiment"].unique(), predictions["configuration"].unique()]
    rows, height = np.arange(len(wide)), 0.8 / wide.shape[1]
    for i, name in enumerate(wide.columns):
        ax.barh(rows + (i - (wide.shape[1] - 1) / 2) * height, wide[name], height, label=words(name))
    splits = predictions.drop_duplicates("experiment")["split"]
    name_rows([f"{name} ({split})" for name, split in zip(experiments(wide.index), splits, strict=True)], ax=ax)
    ax.axvline(0, color="0.2", linewidth=0.8)
    ax.set(xlabel="signed TPOT error, predicted / measured − 1 [%]", title="TPOT error per experiment")
    ax.legend()
    return ax


def plot_waterfall(waterfall: pd.DataFrame, *, ax: Axes) -> Axes:
    """TPOT MAPE, and the mean signed error, as the terms are switched on one at a time."""
    rows = np.arange(len(waterfall))
    ax.barh(rows, waterfall["tpot_mape_pct"], height=0.6, label="TPOT MAPE")
    ax.scatter(waterfall["tpot_signed_pct"], rows, marker="D", color="0.2", zorder=3, label="mean signed error")
    said = [f"{mape:.1f} %" for mape in waterfall["tpot_mape_pct"]]
    name_rows(waterfall["term"].tolist(), waterfall["tpot_mape_pct"], said, ax=ax)
    ax.margins(x=0.14)
    ax.axvline(0, color="0.2", linewidth=0.8)
    ax.set(xlabel="error with this and all terms above [%]", title="TPOT error, terms switched on one at a time")
    ax.legend(loc="lower right")
    return ax
