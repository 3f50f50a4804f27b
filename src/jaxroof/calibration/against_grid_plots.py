"""Figures of gradient against grid: each takes a comparison and axes and returns the axes."""

import numpy as np
from matplotlib.axes import Axes

from jaxroof.calibration.against_grid import Comparison
from jaxroof.report.labels import words
from jaxroof.units import PERCENT

# How many of the starts are drawn.
DRAWN = 16


def plot_curve(c: Comparison, *, ax: Axes) -> Axes:
    """The loss of one constant, with the steps of some descents and both optima."""
    (free,) = c.free
    values = np.linspace(free.start, free.stop, 1001)
    ax.plot(values, c.profile([values]) / PERCENT, color="0.3", label="loss, exact")
    ax.plot(free.values(), c.profile([free.values()]) / PERCENT, ".", color="0.6", label="grid of the finest step")
    for i, (path, mape) in enumerate(zip(c.descent.path.values[:DRAWN, :, 0], c.descent.path.mape, strict=False)):
        label = f"descents, {DRAWN} of {len(c.descent.path.mape)} starts" if i == 0 else None
        ax.plot(path, mape / PERCENT, "-o", markersize=2.5, linewidth=0.7, color="C0", alpha=0.6, label=label)
    ax.axvline(c.grid_values[0], color="C1", linestyle="--", label=f"grid optimum {c.grid_values[0]:g} µs")
    ax.plot(c.descent.values, [c.descent_loss / PERCENT], "*", color="C2", markersize=14, label="descent optimum")
    ax.set(
        xlabel=f"overhead, {words(free.name)} [µs]",
        ylabel="train TPOT MAPE [%]",
        title=f"{words(c.study.name)}: the loss and the descents",
    )
    ax.legend()
    return ax


def plot_landscape(c: Comparison, *, ax: Axes) -> Axes:
    """The loss over the first two constants, the others at their best, with the paths of some descents."""
    first, second, *others = c.free
    axes = [first.values(), second.values()]
    loss = c.profile(axes) / PERCENT
    levels = np.linspace(loss.min(), np.percentile(loss, 70), 25)
    filled = ax.contourf(*axes, loss.T, levels=levels, extend="max", cmap="Blues")
    ax.figure.colorbar(filled, ax=ax, label="train TPOT MAPE [%]", format="%.1f", ticks=levels[::6])
    for i, path in enumerate(c.descent.path.values[:DRAWN]):
        label = f"descents, {DRAWN} of {len(c.descent.path.mape)} starts" if i == 0 else None
        ax.plot(path[:, 0], path[:, 1], "-o", markersize=2.5, linewidth=0.7, color="0.2", alpha=0.7, label=label)
    grid, descent = f"grid, best of {c.grid_points:,} points", "descent, best"
    ax.plot(*c.grid_values[:2], "o", color="C1", markersize=16, mfc="none", mew=2.5, label=grid, clip_on=False)
    ax.plot(*c.descent.values[:2], "*", color="C4", markersize=10, label=descent, clip_on=False)
    at_best = f", {' and '.join(words(f.name) for f in others)} at its best" if others else ""
    ax.set(xlabel=f"overhead, {words(first.name)} [µs]", ylabel=f"overhead, {words(second.name)} [µs]")
    ax.set(xlim=(first.start, first.stop), ylim=(second.start, second.stop))
    ax.set_title(f"{words(c.study.name)}: the loss{at_best}")
    ax.legend(loc="upper right", frameon=True)
    return ax
