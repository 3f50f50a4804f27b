"""Free constants fitted to measurements by gradient, from many starts and on many train sets at once.

Huber's loss of log(predicted / measured) leads into the basin; for the ``mape`` loss, Huber's loss of
predicted / measured − 1 with ever smaller thresholds then leads to the exact MAPE's minimum, kinks and all.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxroof import defaults
from jaxroof.calibration.bounds import Bounded, Box, box, inside, next_to, own_values, starting_points
from jaxroof.calibration.descent import Path, Stages, descend
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.runs import Runs, settled
from jaxroof.parameters import Mask, Vector, replace
from jaxroof.sensitivity.identifiability import LEAST_ABSOLUTE, Identifiability, identifiability
from jaxroof.step import Model

# Errors below this weigh by their square, above by their size. Source: Huber, Robust estimation (1964).
HUBER = 0.1
# By loss: thresholds of the stages, and whether they are of the log-ratio.
STAGES = {
    "mape": Stages(np.array([HUBER, 1e-2, 1e-3, 1e-4, 1e-5]), np.array([1.0, 0.0, 0.0, 0.0, 0.0])),
    "huber": Stages(np.full(5, HUBER), np.ones(5)),
}
VARIANCE = {"mape": LEAST_ABSOLUTE, "huber": 1.0}
STARTS = 64
# Two MAPEs nearer than this are the same.
TIE = 1e-6
# A start that ends within this MAPE of the best one found it too.
SAME = 1e-4


class Target(NamedTuple):
    """What is fitted: ``metric`` under ``scoring``, as a function of the constants that share ``keys``."""

    keys: tuple[tuple[str, ...], ...]
    scoring: str
    metric: str


@dataclasses.dataclass(frozen=True)
class Calibration:
    """One fit: ``values[constant]``, the APE of every experiment before and after, and every start's ``path``.

    ``interval[end constant]`` is the 95 % Laplace interval cut at the bounds; NaN for a constant on its bound,
    which :attr:`identifiability` leaves out.
    """

    free: Sequence[Bounded]
    train: Mask
    values: Vector
    before: Vector
    after: Vector
    identifiability: Identifiability
    interval: Vector
    path: Path

    @property
    def at_bound(self) -> Mask:
        """Which constants are on a bound ``[constant]``."""
        return ~inside(self.free, self.values)

    @property
    def identified(self) -> Mask:
        """Which constants the experiments determine, none of them on a bound ``[constant]``."""
        mask = inside(self.free, self.values)
        mask[mask] = self.identifiability.identified
        return mask

    @property
    def reached_best(self) -> Mask:
        """Which starts ended at the best MAPE ``[start]``."""
        ends = self.path.mape[:, -1]
        return np.asarray(ends <= ends.min() + SAME)

    def split(self, ape: Vector) -> tuple[float, float]:
        """MAPE of the train and of the other experiments, shares, where ``ape`` is ``before`` or ``after``."""
        return float(ape[self.train].mean()), float(ape[~self.train].mean())

    def settings(self) -> dict[str, float]:
        """The values by key."""
        return {key: float(v) for free, v in zip(self.free, self.values, strict=True) for key in free.keys}


def most_free(train: int) -> int:
    """How many constants ``train`` experiments can calibrate: half as many; more is a fit to noise."""
    return train // 2


def calibrate(
    model: Model, runs: Runs, free: Sequence[Bounded], train: Mask, *,
    scoring: str = defaults.SCORING, metric: str = "tpot", loss: str = "mape", starts: int = STARTS, seed: int = 0,
) -> list[Calibration]:  # fmt: skip
    """Fit ``free`` on every train set ``train[fold experiment]``, all folds and starts in one compiled call.

    The first start is the constants' own, the others fill the box. The least train MAPE counts, of all ends and
    of the constants as they stand, and a constant that ends next to a bound is put on it where that costs nothing.
    """
    model = settled(model, runs)
    target = Target(tuple(tuple(f.keys) for f in free), scoring, metric)
    points = starting_points(free, starts, seed)
    paths = _paths(points, train.astype(float), STAGES[loss], box(free), model, runs, target=target)
    folds = [jax.tree.map(lambda x, fold=fold: np.asarray(x[fold]), paths) for fold in range(len(train))]
    return [_calibration(model, runs, free, mask, path, target, loss) for mask, path in zip(train, folds, strict=True)]


def _calibration(
    model: Model, runs: Runs, free: Sequence[Bounded], train: Mask, path: Path, target: Target, loss: str
) -> Calibration:
    def evaluate(values: Vector) -> tuple[Vector, Vector]:
        return tuple(np.asarray(x) for x in _ratio_and_slopes(values, model, runs, target=target))  # type: ignore[return-value]

    values = _best(free, path, lambda values: abs(evaluate(values)[0] - 1)[train].mean())
    (before, _), (ratio, slopes), kept = evaluate(own_values(free)), evaluate(values), inside(free, values)
    names = [f.name for f, k in zip(free, kept, strict=True) if k]
    found = identifiability(names, (slopes * values)[train][:, kept], np.log(ratio)[train], VARIANCE[loss])
    interval, ends = np.full((2, len(free)), np.nan), np.array([[-1.0], [1.0]])
    interval[:, kept] = values[kept] * (1 + ends * found.half_widths)
    cut = np.clip(interval, box(free).low, box(free).high)
    return Calibration(free, train, values, abs(before - 1), abs(ratio - 1), found, cut, path)


def _best(free: Sequence[Bounded], path: Path, mape: Callable[[Vector], float]) -> Vector:
    """Where the best start ended, on each bound it is next to if that costs nothing; or their own start if better."""
    best = path.mape[:, -1].argmin()
    values, least = path.values[best, -1], path.mape[best, -1]
    for i, bound in next_to(free, values):
        on_bound = np.where(np.arange(len(free)) == i, bound, values)
        if mape(on_bound) <= least + TIE:
            values = on_bound
    return own_values(free) if mape(own_values(free)) < least else values


@functools.partial(jax.jit, static_argnames="target")
def _paths(
    points: Float[Array, "start constant"], weights: Float[Array, "fold experiment"], stages: Stages, bounds: Box,
    model: Model, runs: Runs, *, target: Target,
) -> Path:  # fmt: skip
    """Descents ``[fold start step]``."""

    def fit(point: Array, weight: Array) -> Path:
        return descend(lambda values: _ratio(values, model, runs, target), weight, point, bounds, stages)

    lanes = (jnp.tile(points, (len(weights), 1)), jnp.repeat(weights, len(points), axis=0))
    flat = jax.vmap(fit)(*lanes)
    return cast(Path, jax.tree.map(lambda x: x.reshape(len(weights), len(points), *x.shape[1:]), flat))


@functools.partial(jax.jit, static_argnames="target")
def _ratio_and_slopes(
    values: Float[Array, " constant"], model: Model, runs: Runs, *, target: Target
) -> tuple[Float[Array, " experiment"], Float[Array, "experiment constant"]]:
    """Predicted / measured, and d log of it / dθ."""
    ratio = _ratio(values, model, runs, target)
    return ratio, jax.jacfwd(lambda x: jnp.log(_ratio(x, model, runs, target)))(values)


def _ratio(values: Float[Array, " constant"], model: Model, runs: Runs, target: Target) -> Float[Any, " experiment"]:
    """Predicted / measured latency of the target metric at the constants' ``values``."""
    settings = {key: value for keys, value in zip(target.keys, values, strict=True) for key in keys}
    predicted = latencies(replace(model, settings), runs, scoring=target.scoring)
    return predicted[target.metric] / runs.measured[target.scoring][target.metric]
