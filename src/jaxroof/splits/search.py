"""One constant searched on many train/test splits at once: what the choice of a split decides.

Every latency is affine in an overhead, so the errors of all experiments at all grid values are one
small array, and the train loss of every split is a matrix product with it.
"""

import dataclasses
import itertools
import math

import numpy as np
from numpy.typing import NDArray

from jaxroof.experiments.affine import affine_tpot
from jaxroof.experiments.runs import Runs
from jaxroof.parameters import Vector
from jaxroof.step import Model
from jaxroof.studies.grid_search import Grid
from jaxroof.units import PERCENT

# HG1's search, both of its passes in one: the constant, the finest grid, the size of the train set.
KEYS = ("overheads.prefill.per_layer_us", "overheads.decode.per_layer_us")
GRID = Grid(start=0.0, stop=500.0, step=5.0, half_width=0.0, fine_step=5.0)
TRAIN_EXPERIMENTS = 9
MAX_SPLITS = 200_000
RESAMPLES = 10_000
SEED = 0
# One constant serves every group if some value is this near to each group's own best MAPE.
TOLERANCE = 3 * PERCENT


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """The search on every split ``[split]``: optimum [µs] and the TPOT MAPE there, a share."""

    optimum_us: Vector
    train: Vector
    test: Vector

    @property
    def gap(self) -> Vector:
        """Test less train MAPE."""
        return self.test - self.train


@dataclasses.dataclass(frozen=True)
class GroupSearch:
    """The search on each group alone: MAPE ``[group value]`` at the grid's ``values_us[value]``."""

    values_us: Vector
    loss: Vector

    @property
    def optimum_us(self) -> Vector:
        """Best value per group; ties go to the smaller."""
        return self.values_us[np.argmin(self.loss, axis=1)]

    @property
    def best(self) -> Vector:
        """MAPE at each group's optimum."""
        return self.loss.min(axis=1)

    @property
    def worst_excess(self) -> Vector:
        """MAPE above a group's own best, of the group that suffers most ``[value]``."""
        return (self.loss - self.best[:, None]).max(axis=0)

    @property
    def compromise_us(self) -> float:
        """The value that makes the worst excess smallest."""
        return float(self.values_us[np.argmin(self.worst_excess)])


@dataclasses.dataclass(frozen=True)
class Analysis:
    """The search on every split (``train[split experiment]``) and on the published one, with each group left out,
    on bootstrap resamples, and on each group alone; APE of TPOT is ``ape[experiment value]``."""

    values_us: Vector
    ape: Vector
    train: NDArray[np.bool_]
    every: Outcomes
    published: Outcomes
    left_out: Outcomes
    resampled: Outcomes
    alone: GroupSearch


def analyse(ape: Vector, values_us: Vector, published: NDArray[np.bool_], groups: NDArray[np.bool_]) -> Analysis:
    """Everything about the errors ``ape[experiment value]``, from the published train mask ``[experiment]`` and groups.

    Raises ValueError where a split leaves train or test empty.
    """
    train = every_split(len(ape))
    every, one, left_out, resampled = (
        search(ape, values_us, weights) for weights in (train, published[None], ~groups, bootstrap(len(ape)))
    )
    return Analysis(values_us, ape, train, every, one, left_out, resampled, search_groups(ape, values_us, groups))


def tpot_s(model: Model, runs: Runs, values_us: Vector, *, scoring: str) -> Vector:
    """TPOT ``[experiment value]`` [s] when both phases' overhead per layer is ``values_us[value]`` [µs]."""
    affine = affine_tpot(model, runs, [KEYS], scoring=scoring)
    return affine.tpot_s(values_us[None])


def every_split(experiments: int, train: int = TRAIN_EXPERIMENTS) -> NDArray[np.bool_]:
    """All train masks ``[split experiment]`` of ``train`` experiments, in lexicographic order.

    Raises ValueError where train or test is empty, or there are more than MAX_SPLITS.
    """
    if not 0 < train < experiments:
        raise ValueError(f"{train} of {experiments} experiments to train on leave train or test empty")
    if (count := math.comb(experiments, train)) > MAX_SPLITS:
        raise ValueError(f"{experiments} experiments have {count} splits, more than {MAX_SPLITS}")
    chosen = np.array(list(itertools.combinations(range(experiments), train)))
    masks = np.zeros((count, experiments), dtype=bool)
    masks[np.arange(count)[:, None], chosen] = True
    return masks


def bootstrap(experiments: int, resamples: int = RESAMPLES, seed: int = SEED) -> NDArray[np.int64]:
    """How often each experiment is drawn ``[resample experiment]``, with replacement.

    A resample that draws every experiment has no test set and is drawn again.
    Raises ValueError for a single experiment: each of its resamples is such.
    """
    if experiments < 2:
        raise ValueError("a single experiment leaves test empty")
    generator = np.random.default_rng(seed)
    share = np.full(experiments, 1 / experiments)
    counts = generator.multinomial(experiments, share, size=resamples)
    while (full := (counts > 0).all(axis=1)).any():
        counts[full] = generator.multinomial(experiments, share, size=int(full.sum()))
    return counts


def search(ape: Vector, values_us: Vector, train: NDArray) -> Outcomes:
    """Minimise the train MAPE on every row of ``train[split experiment]``, judge it on the experiments of weight 0.

    ``train`` holds weights: a mask, or how often an experiment was drawn. ``ape`` is ``[experiment value]``;
    ties go to the smaller value. Raises ValueError for a split that leaves train or test empty.
    """
    train = np.asarray(train, dtype=float)
    test = (train == 0).astype(float)
    if not (train.any(axis=1) & test.any(axis=1)).all():
        raise ValueError("a split leaves train or test empty")
    loss = _mape(train, ape)
    best = np.argmin(loss, axis=1)
    rows = np.arange(len(train))
    return Outcomes(values_us[best], loss[rows, best], _mape(test, ape)[rows, best])


def search_groups(ape: Vector, values_us: Vector, groups: NDArray[np.bool_]) -> GroupSearch:
    """The same search on every group ``groups[group experiment]`` alone."""
    return GroupSearch(values_us, _mape(groups.astype(float), ape))


def percentile(values: Vector, value: float) -> float:
    """Share of ``values`` that are at most ``value``; equal up to rounding counts."""
    return float(np.mean(values <= value + 1e-12))


def _mape(weights: Vector, ape: Vector) -> Vector:
    return weights @ ape / weights.sum(axis=1, keepdims=True)
