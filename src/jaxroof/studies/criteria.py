"""Accept criteria: what is observed, and whether it passes."""

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from msgspec import Struct

from jaxroof.experiments.scores import ERROR_COLUMNS
from jaxroof.files import Range, choice, within
from jaxroof.parameters import Mask, Vector
from jaxroof.units import PERCENT

COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
STATISTICS: dict[str, Callable[..., Any]] = {"mean": np.mean, "max": np.max}


class Bar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an observed number is held to, in its unit."""

    name: str
    comparison: Annotated[str, choice(COMPARISONS)]
    threshold: Annotated[float, within(Range(low=-float("inf")))]
    unit: str

    def met(self, observed: Any) -> Any:
        """Whether ``observed``, a number or many, meets the threshold."""
        return COMPARISONS[self.comparison](observed, self.threshold)


class Criterion(Bar, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Observed = statistic over a group of an error, less that of another group, less another configuration's.

    Within one group, configurations are compared experiment by experiment before the statistic.
    """

    metric: Annotated[str, choice(ERROR_COLUMNS)]
    statistic: Annotated[str, choice(STATISTICS)] = "mean"
    configuration: str
    minus_configuration: str | None = None
    group: str = "all"
    minus_group: str | None = None
    absolute: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A criterion and what was observed."""

    criterion: Bar
    observed: float

    @property
    def passed(self) -> bool:
        """Whether the observed value meets the threshold."""
        return bool(self.criterion.met(self.observed))


def verdict(passed: Sequence[bool]) -> str:
    """confirmed: every criterion passes; refuted: none does; else partial."""
    return "confirmed" if all(passed) else "partial" if any(passed) else "refuted"


def observe(c: Criterion, all_errors: Mapping[str, Mapping[str, Vector]], groups: Mapping[str, Mask]) -> float:
    """What a criterion looks at, in its unit."""

    def observed(table: Vector) -> float:
        parts = (c.group, c.minus_group)
        value, less = (float(STATISTICS[c.statistic](table[groups[part]])) if part else 0.0 for part in parts)
        return abs(value - less) if c.absolute else value - less

    mine = all_errors[c.configuration][c.metric]
    if c.minus_configuration is None:
        return observed(mine)
    other = all_errors[c.minus_configuration][c.metric]
    return observed(mine) - observed(other) if c.minus_group else observed(mine - other)


def observed_mape(criterion: Criterion, train: Any, test: Any) -> Any:
    """What a criterion looks at, in its unit, of the MAPEs of train and test, shares: numbers, or ``[split]``."""
    mape = {"train": train, "test": test}
    observed = mape[criterion.group] - (mape[criterion.minus_group] if criterion.minus_group else 0.0)
    return (abs(observed) if criterion.absolute else observed) / PERCENT
