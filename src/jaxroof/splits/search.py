"""One constant searched on many train/test splits at once: what the choice of a split decides.

Every latency is affine in an overhead, so the errors of all experiments at all grid values are one
small array, and the train loss of every split is a matrix product with it.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxroof.experiments import metrics
from jaxroof.experiments.affine import affine_tpot
from jaxroof.experiments.runs import Runs
from jaxroof.files import InputError
from jaxroof.parameters import Mask, Vector
from jaxroof.step import Model
from jaxroof.studies.criteria import Criterion, observed_mape
from jaxroof.units import PERCENT

MAX_SPLITS = 200_000
RESAMPLES = 10_000
SEED = 0
WHERE = ("ground truth", "split")
# One constant serves every group if some value is this near to each group's own best MAPE.
TOLERANCE = 3 * PERCENT


class Outcomes(NamedTuple):
    """The search on every split ``[split]``: optimum [µs] and the TPOT MAPE there, a share."""

    optimum_us: Vector
    train: Vector
    test: Vector

    @property
    def gap(self) -> Vector:
        """Test less train MAPE."""
        return self.test - self.train

    def passed(self, criteria: Sequence[Criterion]) -> dict[str, Mask]:
        """On which splits each criterion passes ``[split]``, and on which ``all three`` do."""
        each = {c.name: c.met(observed_mape(c, self.train, self.test)) for c in criteria}
        return each | {"all three": np.all(list(each.values()), axis=0)}


@dataclasses.dataclass(frozen=True)
class GroupSearch:
    """The search on each group alone: MAPE ``[group value]``, a share, at the grid's ``values_us[value]``."""

    labels: Sequence[str]
    values_us: Vector
    loss: Vector

    @property
    def optimum_us(self) -> Vector:
        """Best value per group; ties go to the smaller."""
        return np.asarray(self.values_us[np.argmin(self.loss, axis=1)])

    @property
    def best(self) -> Vector:
        """MAPE at each group's optimum."""
        return np.asarray(self.loss.min(axis=1))

    @property
    def worst_excess(self) -> Vector:
        """MAPE above a group's own best, of the group that suffers most ``[value]``."""
        return np.asarray((self.loss - self.best[:, None]).max(axis=0))

    @property
    def compromise_us(self) -> float:
        """The value that makes the worst excess smallest."""
        return float(self.values_us[np.argmin(self.worst_excess)])

    @property
    def worst_group(self) -> str:
        """The group that suffers most at the compromise."""
        return self.labels[int(np.argmax(self.loss[:, np.argmin(self.worst_excess)] - self.best))]


def tpot_ape(model: Model, runs: Runs, keys: Sequence[str], values_us: Vector, *, scoring: str) -> Vector:
    """APE of TPOT ``[experiment value]``, a share, when the overheads ``keys`` all are ``values_us[value]`` [µs]."""
    predicted = affine_tpot(model, runs, [keys], scoring=scoring).tpot_s(values_us[None])
    return np.asarray(metrics.ape(predicted, np.asarray(runs.measured[scoring].tpot_s)[:, None]))


def every_split(experiments: int, train: int) -> Mask:
    """All train masks ``[split experiment]`` of ``train`` experiments, in lexicographic order.

    Raises InputError where train or test is empty, or there are more than MAX_SPLITS.
    """
    if not 0 < train < experiments:
        raise InputError(*WHERE, f"{train} of {experiments} experiments to train on leave train or test empty")
    if (count := math.comb(experiments, train)) > MAX_SPLITS:
        raise InputError(*WHERE, f"{experiments} experiments have {count} splits, more than {MAX_SPLITS}")
    masks = np.zeros((count, experiments), dtype=bool)
    masks[np.arange(count)[:, None], list(itertools.combinations(range(experiments), train))] = True
    return masks


def bootstrap(experiments: int, resamples: int = RESAMPLES, seed: int = SEED) -> NDArray[np.int64]:
    """How often each experiment is drawn ``[resample experiment]``, with replacement.

    A resample that draws every experiment has no test set and is drawn again.
    Raises InputError for a single experiment: each of its resamples is such.
    """
    if experiments < 2:
        raise InputError(*WHERE, "a single experiment leaves test empty")
    generator = np.random.default_rng(seed)
    share = np.full(experiments, 1 / experiments)
    counts = generator.multinomial(experiments, share, size=resamples)
    while (full := (counts > 0).all(axis=1)).any():
        counts[full] = generator.multinomial(experiments, share, size=int(full.sum()))
    return counts


def search(ape: Vector, values_us: Vector, train: Mask | NDArray[np.int64]) -> Outcomes:
    """Minimise the train MAPE on every row of ``train[split experiment]``, judge it on the experiments of weight 0.

    ``train`` holds weights: a mask, or how often an experiment was drawn. ``ape`` is ``[experiment value]``;
    ties go to the smaller value. Raises InputError for a split that leaves train or test empty.
    """
    weights = np.asarray(train, dtype=float)
    test = (weights == 0).astype(float)
    if not (weights.any(axis=1) & test.any(axis=1)).all():
        raise InputError(*WHERE, "a split leaves train or test empty")
    loss = _mape(weights, ape)
    best = np.argmin(loss, axis=1)
    rows = np.arange(len(weights))
    return Outcomes(values_us[best], loss[rows, best], _mape(test, ape)[rows, best])


def search_groups(ape: Vector, values_us: Vector, groups: Mapping[str, Mask]) -> GroupSearch:
    """The same search on every group alone, label → mask ``[experiment]``."""
    return GroupSearch(list(groups), values_us, _mape(np.array(list(groups.values()), dtype=float), ape))


def percentile(values: Vector, value: float | Vector) -> float:
    """Share of ``values`` that are at most ``value``; equal up to rounding counts."""
    return float(np.mean(values <= value + 1e-12))


def _mape(weights: Vector, ape: Vector) -> Vector:
    return np.asarray(weights @ ape / weights.sum(axis=1, keepdims=True))
