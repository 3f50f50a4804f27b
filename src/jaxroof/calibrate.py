"""Free constants fitted to measurements by gradient, from many starts and on many train sets at once.

Huber's loss of log(predicted / measured) leads into the basin; for the ``mape`` loss, Huber's loss of
predicted / measured − 1 with ever smaller thresholds then leads to the exact MAPE's minimum, kinks and all.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import qmc

from jaxroof.descent import Box, Path, Stages, descend, huber
from jaxroof.identifiability import LEAST_ABSOLUTE, Identifiability, identifiability
from jaxroof.leaves import replace
from jaxroof.params import Runs, Tier0
from jaxroof.quadrature import Vector
from jaxroof.spec import Mask
from jaxroof.sweep import latencies

# Errors below this weigh by their square, above by their size. Source: Huber, Robust estimation (1964).
HUBER = 0.1
# By loss: thresholds of the stages, and whether they are of the log-ratio.
STAGES = {
    "mape": Stages(np.array([HUBER, 1e-2, 1e-3, 1e-4, 1e-5]), np.array([1.0, 0.0, 0.0, 0.0, 0.0])),
    "huber": Stages(np.full(5, HUBER), np.ones(5)),
}
VARIANCE = {"mape": LEAST_ABSOLUTE, "huber": 1.0}
STARTS = 64
# A start at a bound begins this share of the box inside it; a constant that ends as near is tried at the bound.
MARGIN = 1e-3
# Where nothing bounds a constant above, starts lie within this factor of its own, or of FALLBACK if that is 0.
REACH = 10.0
FALLBACK = 30.0
# Two losses nearer than this are the same.
TIE = 1e-6


@dataclasses.dataclass(frozen=True)
class Bounded:
    """A constant that calibration moves: the keys that share it, its bounds and start in the unit of its file."""

    keys: Sequence[str]
    low: float
    high: float
    start: float

    @property
    def name(self) -> str:
        """Its key; of several, the words that they share, with * for the others."""
        columns = zip(*(key.split(".") for key in self.keys), strict=True)
        return ".".join(words[0] if len(set(words)) == 1 else "*" for words in columns)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """One fit: ``values[constant]``, the APE of every experiment there, what is identified, where starts ended.

    ``interval[end constant]`` is the 95 % Laplace interval cut at the bounds; a constant at its bound has none, NaN.
    """

    free: Sequence[Bounded]
    train: Mask
    values: Vector
    at_bound: Mask
    ape: Vector
    identifiability: Identifiability
    interval: Vector
    ends: Vector
    end_mape: Vector

    @property
    def train_mape(self) -> float:
        """MAPE of the experiments that were fitted, a share."""
        return float(self.ape[self.train].mean())

    @property
    def test_mape(self) -> float:
        """MAPE of the others, a share."""
        return float(self.ape[~self.train].mean())

    def settings(self) -> dict[str, float]:
        """The values by key."""
        return {key: float(v) for free, v in zip(self.free, self.values, strict=True) for key in free.keys}


class Target(NamedTuple):
    """What is fitted: ``metric`` under ``scoring``, as a function of the constants that share ``keys``."""

    keys: tuple[tuple[str, ...], ...]
    scoring: str
    step_model: str
    metric: str


def calibrate(
    tier0: Tier0,
    runs: Runs,
    free: Sequence[Bounded],
    train: Mask,
    *,
    scoring: str = "published",
    step_model: str = "memory",
    metric: str = "tpot",
    loss: str = "mape",
    starts: int = STARTS,
    seed: int = 0,
) -> list[Calibration]:
    """Fit ``free`` on every train set ``train[fold experiment]``, all folds and starts in one compiled call.

    The first start is the constants' own, the others fill the box (Halton points). The best end counts, and a
    constant that ends next to a bound is put on it where that costs nothing.
    """
    target = Target(tuple(tuple(f.keys) for f in free), scoring, step_model, metric)
    path = paths(tier0, runs, free, train, starting_points(free, starts, seed), target, loss)
    ends = np.asarray(path.values[:, :, -1])
    return [_calibration(tier0, runs, free, mask, end, target, loss) for mask, end in zip(train, ends, strict=True)]


def paths(
    tier0: Tier0, runs: Runs, free: Sequence[Bounded], train: Mask, starts: Vector, target: Target, loss: str
) -> Path:
    """Descents ``[fold start step]`` from ``starts[start constant]``."""
    inside = box(free)
    return _paths(inside.unbounded(starts), train.astype(float), STAGES[loss], inside, tier0, runs, target=target)


def box(free: Sequence[Bounded]) -> Box:
    """The bounds of all constants."""
    return Box(np.array([f.low for f in free], dtype=float), np.array([f.high for f in free], dtype=float))


def starting_points(free: Sequence[Bounded], count: int, seed: int) -> Vector:
    """Points strictly inside the bounds ``[start constant]``: the constants' own start, then Halton points."""
    own = np.array([f.start for f in free], dtype=float)
    size = np.where(own > 0, own, FALLBACK)
    bounded = np.isfinite(box(free).high)
    low = np.where(bounded, box(free).low, np.maximum(box(free).low, size / REACH))
    high = np.where(bounded, box(free).high, low + size * REACH)
    share = qmc.Halton(len(free), rng=seed).random(count - 1)
    even = low + (high - low) * share
    drawn = np.where(bounded, even, low * (high / np.where(bounded, 1.0, low)) ** share)
    edge = MARGIN * (high - low)
    return np.clip(np.vstack([own, drawn]), box(free).low + edge, np.where(bounded, high - edge, np.inf))


def _calibration(
    tier0: Tier0, runs: Runs, free: Sequence[Bounded], train: Mask, ends: Vector, target: Target, loss: str
) -> Calibration:
    def apes(points: Vector) -> Vector:
        return abs(np.asarray(_ratios(points, tier0, runs, target=target)) - 1)

    mape = apes(ends)[:, train].mean(axis=1)
    values, at_bound = _on_bounds(
        ends[mape.argmin()], mape.min(), free, lambda points: apes(points)[:, train].mean(axis=1)
    )
    inner = ~at_bound
    ratio, slopes = _log_slopes(values, tier0, runs, target=target)
    found = identifiability(
        [f.name for f, kept in zip(free, inner, strict=True) if kept],
        (np.asarray(slopes) * values)[train][:, inner],
        np.log(np.asarray(ratio))[train],
        VARIANCE[loss],
    )
    interval = np.full((2, len(free)), np.nan)
    spread = np.array([-1.0, 1.0])[:, None] * (values[inner] * found.half_widths)
    interval[:, inner] = np.clip(values[inner] + spread, box(free).low[inner], box(free).high[inner])
    return Calibration(free, train, values, at_bound, abs(np.asarray(ratio) - 1), found, interval, ends, mape)


def _on_bounds(
    values: Vector, mape: float, free: Sequence[Bounded], loss: Callable[[Vector], Vector]
) -> tuple[Vector, Mask]:
    """``values`` with those next to a bound on it, where the loss does not rise, and which those are."""
    at_bound = np.zeros(len(free), dtype=bool)
    for i, constant in enumerate(free):
        size = constant.high - constant.low if np.isfinite(constant.high) else constant.start or FALLBACK
        for bound in (constant.low, constant.high):
            trial = np.where(np.arange(len(free)) == i, bound, values)
            if abs(values[i] - bound) <= MARGIN * size and (tried := float(loss(trial[None])[0])) <= mape + TIE:
                values, mape, at_bound[i] = trial, tried, True
    return values, at_bound


@functools.partial(jax.jit, static_argnames="target")
def _paths(
    starts: Float[Array, "start constant"], weights: Float[Array, "fold experiment"], stages: Stages, inside: Box,
    tier0: Tier0, runs: Runs, *, target: Target,
) -> Path:  # fmt: skip
    def fit(start: Array, weight: Array) -> Path:
        def loss(values: Array, stage: Stages) -> Array:
            return huber(_ratio(values, tier0, runs, target), weight, stage)

        return descend(loss, start, inside, stages)

    return jax.vmap(jax.vmap(fit, in_axes=(0, None)), in_axes=(None, 0))(starts, weights)


@functools.partial(jax.jit, static_argnames="target")
def _ratios(points: Float[Array, "point constant"], tier0: Tier0, runs: Runs, *, target: Target) -> Array:
    return jax.vmap(lambda values: _ratio(values, tier0, runs, target))(points)


@functools.partial(jax.jit, static_argnames="target")
def _log_slopes(values: Float[Array, " constant"], tier0: Tier0, runs: Runs, *, target: Target) -> tuple[Array, Array]:
    """Predicted / measured ``[experiment]``, and d log of it / dθ ``[experiment constant]``."""
    ratio = _ratio(values, tier0, runs, target)
    return ratio, jax.jacfwd(lambda x: jnp.log(_ratio(x, tier0, runs, target)))(values)


def _ratio(values: Float[Array, " constant"], tier0: Tier0, runs: Runs, target: Target) -> Float[Array, " experiment"]:
    """Predicted / measured."""
    settings = {key: value for keys, value in zip(target.keys, values, strict=True) for key in keys}
    predicted = latencies(replace(tier0, settings), runs, scoring=target.scoring, step_model=target.step_model)
    return getattr(predicted, f"{target.metric}_s") / getattr(runs.measured[target.scoring], f"{target.metric}_s")
