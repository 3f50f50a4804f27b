"""Figures of ``jaxroof splits``: each takes data and axes and returns the axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxroof.report.labels import ACRONYMS, words
from jaxroof.splits.search import Outcomes
from jaxroof.units import PERCENT


def plot_optima(outcomes: Outcomes, published: Outcomes, step_us: float, what: str = "splits", *, ax: Axes) -> Axes:
    """How many splits or seeds have their optimum at each grid value, the published split's at exact lengths marked."""
    values, counts = np.unique(outcomes.optimum_us, return_counts=True)
    ax.bar_label(ax.bar(values, counts, width=0.8 * step_us), padding=3)
    at = float(published.optimum_us[0])
    ax.plot(at, 0, "^", color="C1", markersize=10, clip_on=False, label=f"published split: {at:.3g} µs")
    ax.legend()
    ax.set(xlabel="optimum, overhead per layer [µs]", ylabel=f"{what} [count]", title="Where the optimum lies")
    return ax


def plot_mapes(outcomes: Outcomes, published: Outcomes, *, ax: Axes) -> Axes:
    """Histograms of train and test TPOT MAPE at each split's optimum."""
    both = np.concatenate([outcomes.train, outcomes.test]) / PERCENT
    bins = np.linspace(both.min(), both.max(), 41)
    for i, name in enumerate(("train", "test")):
        ax.hist(getattr(outcomes, name) / PERCENT, bins=bins.tolist(), alpha=0.6, color=f"C{i}", label=name)
        _mark(ax, float(getattr(published, name)[0]) / PERCENT, f"published split, {name}", "%", f"C{i}")
    ax.set(xlabel="TPOT MAPE at the split's optimum [%]", ylabel="splits [count]", title="Train and test error")
    return ax


def plot_gaps(outcomes: Outcomes, published: Outcomes, threshold_pp: float, *, ax: Axes) -> Axes:
    """Histogram of test less train TPOT MAPE, the published split and HG1's first criterion marked."""
    ax.hist(outcomes.gap / PERCENT, bins=40)
    label = f"|gap| ≤ {threshold_pp:g} pp, HG1's first criterion"
    ax.axvspan(-threshold_pp, threshold_pp, color="0.85", zorder=0, label=label)
    _mark(ax, float(published.gap[0]) / PERCENT, "published split", "pp")
    _mark(ax, float(outcomes.gap.mean()) / PERCENT, "mean of all splits", "pp", "C1")
    ax.set(xlabel="test − train TPOT MAPE [pp]", ylabel="splits [count]", title="Generalisation gap")
    return ax


def plot_curves(values_us: Sequence[float], groups: Sequence[dict[str, Any]], *, ax: Axes) -> Axes:
    """TPOT MAPE of each group against the overhead, its optimum marked."""
    for i, group in enumerate(groups):
        name = ACRONYMS.get(group["label"], group["label"])
        label = f"{name} ({group['experiments']}), optimum {group['optimum_us']:g} µs"
        ax.plot(values_us, group["curve_pct"], color=f"C{i}", label=label)
        ax.scatter(group["optimum_us"], group["tpot_mape_pct"], color=f"C{i}", zorder=3)
    ax.set(xlabel="overhead per layer [µs]", ylabel="TPOT MAPE [%]", title="Loss of each group alone (experiments)")
    right = max(group["optimum_us"] for group in groups) + 100
    shown = [loss for group in groups for us, loss in zip(values_us, group["curve_pct"], strict=True) if us <= right]
    ax.set(xlim=(0, right), ylim=(0, min(1.3 * max(shown), 100)))
    ax.legend(title=words(groups[0]["kind"]))
    return ax


def _mark(ax: Axes, at: float, name: str, unit: str, color: str = "0.2") -> None:
    ax.axvline(at, color=color, linestyle="--", label=f"{name}: {at:.3g} {unit}")
    ax.legend()
