"""The optimum of a study's grid against the one that descent finds, and what each of them costs."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxroof.calibration.bounds import Bounded
from jaxroof.calibration.fit import Calibration, calibrate
from jaxroof.experiments.affine import Affine, affine_tpot
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.runs import Runs, select
from jaxroof.parameters import Mask, Vector
from jaxroof.step import Model
from jaxroof.studies.criteria import verdict
from jaxroof.studies.grid_search import grid_search, product_loss
from jaxroof.studies.run import search_product
from jaxroof.studies.spec import GridAxis, Study


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One study's problem solved both ways; losses are the train MAPE, a share, ``grid_values[constant]`` in µs."""

    study: Study
    model: Model
    free: Sequence[GridAxis]
    affine: Affine
    measured_s: Vector
    grid_values: Vector
    grid_loss: float
    grid_points: int
    grid_seconds: float
    descent: Calibration
    descent_seconds: float

    @property
    def descent_loss(self) -> float:
        """Train MAPE where descent ended, a share."""
        return self.descent.split(self.descent.after)[0]

    @property
    def criteria(self) -> dict[str, bool]:
        """Descent finds a loss no higher; on one constant, whose optimum a grid shows to its step, the same optimum."""
        criteria = {"train MAPE of descent is no higher than the grid's": self.descent_loss <= self.grid_loss}
        if len(self.free) == 1:
            criteria["optima within a grid step"] = bool(self.steps_apart()[0] <= 1)
        return criteria

    def steps_apart(self) -> Vector:
        """Distance of the two optima in grid steps ``[constant]``."""
        return np.asarray(abs(self.descent.values - self.grid_values) / np.array([f.step for f in self.free]))

    def evaluations(self) -> Vector:
        """Evaluations until a start is as good as the grid's best ``[start]``, infinite where it never is."""
        path = self.descent.path
        spent = np.cumsum(path.evaluations, axis=1)
        return np.asarray(np.where(path.mape <= self.grid_loss + 1e-9, spent, np.inf).min(axis=1))

    def profile(self, axes: Sequence[Vector]) -> Vector:
        """Least train MAPE over the other constants' grids at each point of the first one or two ``axes``, a share."""
        loss = product_loss(self.affine, self.measured_s, [*axes, *(f.values() for f in self.free[len(axes) :])])
        return np.asarray(loss.min(axis=tuple(range(len(axes), loss.ndim))))


@dataclasses.dataclass(frozen=True)
class GradientAgainstGrid:
    """Problems solved by grid and by descent: ``comparisons[study]``."""

    comparisons: Mapping[str, Comparison]

    @property
    def criteria(self) -> dict[str, bool]:
        """Whether each criterion of each problem passes."""
        every = ((name, c.criteria.items()) for name, c in self.comparisons.items())
        return {f"{name}: {criterion}": passed for name, criteria in every for criterion, passed in criteria}

    @property
    def verdict(self) -> str:
        """What the criteria say together."""
        return verdict([*self.criteria.values()])


def compare_all(problems: Iterable[tuple[Study, GroundTruth, Mapping[str, Model]]]) -> GradientAgainstGrid:
    """Solve the search of every study, its models by configuration."""
    return GradientAgainstGrid({s.name: compare(s, models, truth) for s, truth, models in problems})


def compare(study: Study, models: Mapping[str, Model], truth: GroundTruth) -> Comparison:
    """Solve the study's search on its split by its grid and by descent; both timed compiled."""
    search = study.search or study.grid
    assert search is not None  # as the loader of comparisons checks
    model, train = models[search.name], study.unions(truth.groups())[search.split]
    free, runs = search.free, truth.runs
    affine = affine_tpot(model, runs, [f.keys for f in free], scoring=study.scoring).select(train)
    measured = np.asarray(runs.measured[study.scoring].tpot_s)[train]
    bounded = [Bounded(f.keys, f.start, f.stop, (f.start + f.stop) / 2) for f in free]
    (values, loss, points), grid_seconds = _timed(lambda: _by_grid(study, model, runs, train))
    (fit,), seconds = _timed(lambda: calibrate(model, runs, bounded, train[None], scoring=study.scoring))
    return Comparison(study, model, free, affine, measured, values, loss, points, grid_seconds, fit, seconds)


def _by_grid(study: Study, model: Model, runs: Runs, train: Mask) -> tuple[Vector, float, int]:
    """Optimum, loss and points of the study's own search."""
    if search := study.search:
        curve = grid_search(model, select(runs, train), search, scoring=study.scoring)
        points = len(curve.coarse_values) + len(curve.fine_values)
        return np.array([curve.optimum]), float(curve.fine_loss.min()), points
    assert study.grid is not None
    surface = search_product(study.grid, model, runs, train, study.scoring)
    return surface.optimum, surface.loss, surface.points


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a second, compiled call, and its seconds."""
    call()
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start
