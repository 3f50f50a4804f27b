"""Grid search: a coarse pass over a range, then a fine one around the best value."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from jaxroof.experiments import metrics
from jaxroof.experiments.affine import Affine
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.runs import Runs
from jaxroof.parameters import Vector, replace
from jaxroof.step import Model
from jaxroof.studies.spec import GridAxis, Search


@dataclasses.dataclass(frozen=True)
class Curve:
    """Loss at every value tried: coarse pass first, then fine."""

    coarse_values: Vector
    coarse_loss: Vector
    fine_values: Vector
    fine_loss: Vector

    @property
    def coarse_optimum(self) -> float:
        """Best value of the coarse pass; ties go to the smaller."""
        return float(self.coarse_values[np.argmin(self.coarse_loss)])

    @property
    def optimum(self) -> float:
        """Best value of the fine pass, which contains the coarse best."""
        return float(self.fine_values[np.argmin(self.fine_loss)])


@dataclasses.dataclass(frozen=True)
class Surface:
    """Best loss per value of each free constant, and the best point; ties go to the smaller values."""

    free: Sequence[GridAxis]
    marginals: Sequence[Vector]
    optimum: Vector
    loss: float
    points: int

    def text(self) -> str:
        """The best point in words."""
        return ", ".join(f"{c.name} {value:g} µs" for c, value in zip(self.free, self.optimum, strict=True))

    def settings(self) -> dict[str, float]:
        """The best point as values by key."""
        return {key: float(value) for c, value in zip(self.free, self.optimum, strict=True) for key in c.keys}


def best_of_product(affine: Affine, measured_s: Vector, free: Sequence[GridAxis]) -> Surface:
    """Minimise the MAPE of ``affine`` over up to three axes; ``measured_s[experiment]`` of the same runs."""
    axes = [constant.values() for constant in free]
    loss = product_loss(affine, measured_s, axes)
    best = np.unravel_index(np.argmin(loss), loss.shape)
    others = [tuple(j for j in range(len(free)) if j != i) for i in range(len(free))]
    optimum = np.array([axis[i] for axis, i in zip(axes, best, strict=True)])
    return Surface(free, [loss.min(axis=other) for other in others], optimum, float(loss.min()), loss.size)


def product_loss(affine: Affine, measured_s: Vector, axes: Sequence[Vector]) -> Vector:
    """MAPE of ``affine``, a share, at every point of the product of ``axes``, one of its dimensions each."""
    rest = np.array([*itertools.product(*axes[1:])]).T
    losses = []
    for value in axes[0]:  # one slice of the grid at a time bounds the memory
        points = np.concatenate([np.full((1, rest.shape[1]), value), rest])
        losses.append(np.mean(metrics.ape(affine.tpot_s(points), measured_s[:, None]), axis=0))
    return np.stack(losses).reshape([len(axis) for axis in axes])


def grid_search(model: Model, runs: Runs, search: Search, *, scoring: str) -> Curve:
    """Minimise the TPOT MAPE of ``runs`` over the one value that all keys of ``search`` take (unit of their files)."""

    coarse = search.coarse()
    size = max(len(coarse), 2 * search.reach + 1)

    def loss(values: Vector) -> Vector:
        """Both passes are filled up to one size, so that they share one compiled program."""
        filled = np.pad(values, (0, size - len(values)), mode="edge")
        predicted = latencies(replace(model, dict.fromkeys(search.keys, filled)), runs, scoring=scoring)
        errors = metrics.ape(np.asarray(predicted.tpot_s), runs.measured[scoring].tpot_s[:, None])
        return np.asarray(np.mean(errors, axis=0)[: len(values)])

    coarse_loss = loss(coarse)
    fine = search.fine(float(coarse[np.argmin(coarse_loss)]))
    return Curve(coarse, coarse_loss, fine, loss(fine))
