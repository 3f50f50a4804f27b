"""Errors of predicted ITL by source, group and mechanism, and which measurements lie in their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxroof.experiments.intervals import inside
from jaxroof.mechanisms.sources import Interval, Measured, Measurements
from jaxroof.mechanisms.spec import ALL, NONE, GroupCriterion, MechanismsStudy, without
from jaxroof.parameters import Mask, Vector
from jaxroof.studies.criteria import Outcome, verdict
from jaxroof.units import PERCENT


@dataclass(frozen=True)
class Scored:
    """A source: ``itl_ms`` is what is predicted ``[row]`` [ms] in each row of the table of mechanisms.

    ``groups`` are masks by what groups them; errors are shares.
    """

    measured: Measured
    itl_ms: Mapping[str, Vector]
    interval: Interval
    groups: Mapping[str, Mapping[str, Mask]]

    def signed(self, row: str = ALL) -> Vector:
        """predicted / measured − 1 ``[row]``."""
        return np.asarray(self.itl_ms[row] / self.measured.itl_ms - 1)

    def inside(self) -> Mask:
        """Which measurements lie in the interval ``[row]``."""
        return inside(self.measured.itl_ms, self.interval.low_ms, self.interval.high_ms)

    def beyond(self) -> Vector:
        """Distance of each measurement to the nearest end of its interval, as a share of it; 0 inside."""
        low, high, measured = self.interval.low_ms, self.interval.high_ms, self.measured.itl_ms
        return np.asarray(np.maximum(0.0, np.maximum(low - measured, measured - high)) / measured)

    def mask(self, group: str) -> Mask:
        """The rows of a group."""
        return next(masks[group] for masks in self.groups.values() if group in masks)

    def mape(self, group: str, row: str = ALL) -> float:
        """Mean absolute error of a group."""
        return float(abs(self.signed(row)[self.mask(group)]).mean())


@dataclass(frozen=True)
class ServersResult:
    """A study of mechanisms: its sources by key, and what its criteria say."""

    study: MechanismsStudy
    sources: Mapping[str, Scored]
    outcomes: Sequence[Outcome]

    @property
    def verdict(self) -> str:
        """What the criteria say together."""
        return verdict([outcome.passed for outcome in self.outcomes])


def score(study: MechanismsStudy, source: Measurements) -> Scored:
    """Predict a source in every row of the study's table of mechanisms."""
    predicted = {row: source.predicted_ms(switch) for row, switch in study.rows().items()}
    return Scored(source.measured, predicted, source.interval(), source.measured.groups(study.batch_bins))


def judge(study: MechanismsStudy, sources: Mapping[str, Scored]) -> ServersResult:
    """The study's criteria on scored sources."""
    outcomes = [Outcome(c, observe(c, study, sources[c.source])) for c in study.criteria]
    return ServersResult(study, sources, outcomes)


def observe(c: GroupCriterion, study: MechanismsStudy, scored: Scored) -> float:
    """What a criterion looks at [%, pp]."""
    if c.metric == "inside_pct":
        return float(scored.inside()[scored.mask(c.group)].mean()) / PERCENT
    if c.metric == "harm_pp":
        return max(harm(study, scored, c.group).values()) / PERCENT
    return scored.mape(c.group, ALL if c.metric == "mape_pct" else NONE) / PERCENT


def harm(study: MechanismsStudy, scored: Scored, group: str) -> dict[str, float]:
    """By how much leaving each mechanism out lowers the MAPE of a group, as a share; below 0 it helps."""
    return {name: scored.mape(group) - scored.mape(group, without(name)) for name in study.mechanisms}
