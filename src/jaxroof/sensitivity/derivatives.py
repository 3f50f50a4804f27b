"""How every latency and every MAPE answers to every constant: exact derivatives, on both sides of kinks.

A MAPE has a kink where a prediction meets its measurement, a latency where the two sides of a max are
equal. So derivatives are taken just below and just above each constant's value: away from kinks they
agree, at a kink both are true, and a constant at an end of its range has only one.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from jaxroof import defaults
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.runs import Runs, settled
from jaxroof.parameters import Mask, Vector, numbers, slopes_along, walk
from jaxroof.request.schedule import Latency, Schedule
from jaxroof.step import Model

METRICS_AND_ITL = ("tpot", "itl", "ttft", "e2e")
# Where a one-sided derivative is taken: this share of the value (of one unit, if it is 0) beside it.
NUDGE = 1e-7
# One-sided derivatives that differ by more than this share are a kink, not curvature between two nudges.
KINK = 1e-5
# A latency that changes by more than this share between two nudges, beyond its slope, jumps.
JUMP = 1e-6
# What rounding leaves of a derivative that is 0, as a share of the latency per share of the constant.
ROUNDING = 1e-12
# The finite change of :meth:`Sensitivity.swings`.
SWING = 0.1


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """Latencies [s] and their derivatives at ``values[constant]``, in the units of the files.

    ``predicted`` and ``measured`` are ``[experiment]`` per metric. ``seconds`` and ``slopes`` [s per unit] are
    ``[side constant experiment]``, just below and just above each constant's value; slopes are NaN where that is
    illegal, and where the latency jumps. ``swung`` [s] is 10 % below and above, cut at the legal range.
    Metrics are ``tpot``, ``itl``, ``ttft`` and ``e2e``.

    >>> s = jaxroof.sensitivities(jaxroof.load_model("memory"), jaxroof.load_experiments())
    >>> s.log_slopes("ttft").shape == (len(s.keys), 13)  # [constant experiment]
    True
    """

    keys: Sequence[str]
    values: Vector
    measured: Mapping[str, Vector]
    predicted: Mapping[str, Vector]
    seconds: Mapping[str, Vector]
    slopes: Mapping[str, Vector]
    swung: Mapping[str, Vector]

    def ape(self, metric: str) -> Vector:
        """|predicted / measured − 1| ``[experiment]``."""
        return abs(self.predicted[metric] / self.measured[metric] - 1)

    def ape_gradient(self, metric: str) -> Vector:
        """d APE / dθ ``[side constant experiment]``, a share per unit of file."""
        measured = self.measured[metric]
        return np.sign(self.seconds[metric] / measured - 1) * self.slopes[metric] / measured

    def mape_gradient(self, metric: str, mask: Mask) -> Vector:
        """d MAPE / dθ ``[side constant]`` over ``mask``; both sides are the same number away from kinks."""
        each = self.ape_gradient(metric)[:, :, mask]
        gradient = each.mean(axis=2)
        same = abs(gradient[1] - gradient[0]) <= KINK * abs(each).mean(axis=(0, 2))
        return np.asarray(np.where(same[None], gradient.mean(axis=0)[None], gradient))

    def log_slopes(self, metric: str) -> Vector:
        """d log(latency) / d log θ ``[constant experiment]``, at a kink the mean of both sides, NaN at a jump."""
        return either(self.slopes[metric]) * self.values[:, None] / self.predicted[metric]

    def swings(self, metric: str, mask: Mask) -> Vector:
        """MAPE ``[side constant]`` over ``mask`` with each constant 10 % lower and higher."""
        return np.asarray(abs(self.swung[metric] / self.measured[metric] - 1)[:, :, mask].mean(axis=2))

    def moves(self, metric: str) -> Mask:
        """Which constants change any latency, at their value or within 10 % of it ``[constant]``."""
        change = abs(self.swung[metric] / self.predicted[metric] - 1) > ROUNDING
        jumps = np.isnan(self.slopes[metric][0]) & np.isnan(self.slopes[metric][1])
        return np.asarray(np.any(change, axis=(0, 2)) | np.any(jumps, axis=1) | self.has_slope(metric))

    def has_slope(self, metric: str) -> Mask:
        """Which constants change any latency by however little they change ``[constant]``."""
        return np.asarray(np.any(np.nan_to_num(self.slopes[metric]) != 0, axis=(0, 2)))

    def pushes(self, metric: str) -> Vector:
        """Sign of the change in each APE as a constant is raised ``[constant experiment]``, NaN at a jump.

        The side above counts; at the upper end of its range, the one below.
        """
        below, above = np.sign(self.ape_gradient(metric))
        return np.asarray(np.where(np.isnan(above), below, above))


def either(sides: Vector) -> Vector:
    """The mean of two sides, or the only one that is a number: ``[side ...]`` → ``[...]``."""
    below, above = sides
    return np.asarray(np.where(np.isnan(below), above, np.where(np.isnan(above), below, (below + above) / 2)))


def by_metric(asked: Latency, itl: Latency) -> dict[str, Any]:
    """Every metric [s], from latencies under the scoring that was asked for and under ITL scoring."""
    return dict(zip(METRICS_AND_ITL, (asked.tpot_s, itl.tpot_s, asked.ttft_s, asked.e2e_s), strict=True))


def sensitivities(model: Model, runs: Runs, *, scoring: str = defaults.SCORING) -> Sensitivity:
    """Derivatives of TPOT (as ``scoring`` has it), ITL, TTFT and E2E of every run with respect to every constant.

    Forward mode at five values of each constant, all in one call that compiles once per step model.
    Arguments as for :func:`jaxroof.latencies`; the model has no setting axis. Returns :class:`Sensitivity`.
    Raises InputError for an unknown scoring or step model.

    >>> runs, model = jaxroof.load_experiments(), jaxroof.load_model("memory", overheads="h2b")
    >>> s = jaxroof.sensitivities(model, runs)
    >>> both = s.mape_gradient("tpot", runs.measured["itl"]["tpot"] > 0)  # [side constant], a share per unit of file
    >>> round(float(both[1, s.keys.index("hardware.hbm_efficiency")]), 3)
    -0.064
    """
    model = settled(model, runs)
    # Counts and flags have no derivative.
    ranges = {key: leaf.range for key, _, leaf in walk(model) if not leaf.range.whole}
    keys, values = tuple(ranges), np.array([value for key, value in numbers(model).items() if key in ranges])
    low, high = np.array([(legal.low, legal.high) for legal in ranges.values()]).T
    size = np.where(values == 0, 1.0, abs(values))
    nudge, swing = NUDGE * size, SWING * abs(values)
    beside = np.stack([values - nudge, values + nudge])
    swung = np.clip([values - swing, values + swing], low, high)
    illegal = (beside < low) | (beside > high)

    def legal(seconds: Vector, slopes: Vector) -> Vector:
        rise = (slopes * nudge[:, None]).sum(axis=0)
        jumps = abs(seconds[1] - seconds[0] - rise) > JUMP * seconds[0]
        slopes = np.where(abs(slopes) * size[:, None] > ROUNDING * seconds, slopes, 0.0)
        return np.where(illegal[:, :, None] | jumps[None], np.nan, slopes)

    # Per metric, latencies and slopes at the values (row 0), just beside them (1, 2), and 10 % away (3, 4).
    seconds, slopes = _along_each(np.stack([values, *beside, *swung]), model, runs, scoring, keys)
    measured = by_metric(runs.measured[scoring], runs.measured["itl"])
    return Sensitivity(
        keys, values, {metric: np.asarray(x) for metric, x in measured.items()},
        {metric: x[0, 0] for metric, x in seconds.items()},
        {metric: x[1:3] for metric, x in seconds.items()},
        {metric: legal(x[1:3], slopes[metric][1:3]) for metric, x in seconds.items()},
        {metric: x[3:] for metric, x in seconds.items()},
    )  # fmt: skip


def _along_each(
    at: Vector, model: Model, runs: Runs, scoring: str, keys: Sequence[str]
) -> tuple[dict[str, Vector], dict[str, Vector]]:
    """Latencies and slopes ``[row constant experiment]`` with one constant at a time moved.

    Its values are ``at[row constant]``; all others stay at those of row 0.
    """
    rows, count = at.shape
    alone = np.eye(count, dtype=bool)
    points = np.where(alone, at[:, :, None], at[0]).reshape(-1, count)
    both = [runs.scheduled(name) for name in (scoring, "itl")]
    # Both stacked, so that they share one program; without their names, so that all scorings do.
    runs = dataclasses.replace(runs, schedules={"both": jax.tree.map(lambda *x: np.stack(x), *both)}, measured={})
    directions = np.tile(alone.astype(float), (rows, 1))
    found = slopes_along(_of_both, model, (runs,), points, directions, keys=keys)
    seconds, slopes = ({m: np.asarray(x).reshape(rows, count, -1) for m, x in part.items()} for part in found)
    return seconds, slopes


def _of_both(model: Model, runs: Runs) -> dict[str, Array]:
    """Each metric ``[experiment]`` of the two scorings' schedules."""

    def one(schedule: Schedule) -> Latency:
        return latencies(model, dataclasses.replace(runs, schedules={"one": schedule}), scoring="one")

    both = jax.vmap(one)(runs.schedules["both"])
    return by_metric(*(jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in range(2)))
