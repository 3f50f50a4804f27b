"""A pre-registered study: configurations, an optional search, accept criteria → result and verdict."""

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxroof import metrics
from jaxroof.leaves import replace
from jaxroof.params import Latency, Runs, Tier0
from jaxroof.search import Curve, Grid, grid_search
from jaxroof.sweep import latencies, select, stack
from jaxroof.units import PERCENT
from jaxroof.waterfall import Model, Stage, stages

COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
STATISTICS: dict[str, Callable[..., Any]] = {"mean": np.mean, "max": np.max}
LABELS = ("name", "split", "family")
ERROR_COLUMNS = ("ttft_ape_pct", "tpot_ape_pct", "tpot_signed_pct", "e2e_ape_pct")

Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One model under comparison: a step time, an overhead formula, and settings by dotted key."""

    name: str
    step_model: str
    overheads: str
    settings: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Search:
    """A grid search of one value that all ``keys`` take, on ``split``; adds ``configuration``."""

    configuration: Configuration
    keys: Sequence[str]
    split: str
    grid: Grid


@dataclasses.dataclass(frozen=True)
class Criterion:
    """Observed = statistic over a group of an error, less that of another configuration or group."""

    name: str
    metric: str
    statistic: str
    configuration: str
    minus_configuration: str | None
    group: str
    minus_group: str | None
    absolute: bool
    comparison: str
    threshold: float
    unit: str


@dataclasses.dataclass(frozen=True)
class Waterfall:
    """From configuration ``start`` to ``end``, terms of its decode step one at a time, each the parts it names."""

    start: str
    end: str
    terms: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Study:
    """What is compared and what would count as success, fixed before it runs."""

    name: str
    title: str
    source: str
    hypothesis: str
    differences: str
    step_model: str
    scoring: str
    also_scoring: Sequence[str]
    hardware: str
    baseline: str
    configurations: Sequence[Configuration]
    search: Search | None
    criteria: Sequence[Criterion]
    waterfall: Waterfall | None

    def step_models(self) -> dict[str, str]:
        """Step model of every configuration, in order, the search's last."""
        searched = [self.search.configuration] if self.search else []
        return {c.name: c.step_model for c in [*self.configurations, *searched]}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A criterion and what was observed."""

    criterion: Criterion
    observed: float

    @property
    def passed(self) -> bool:
        """Whether the observed value meets the threshold."""
        return bool(COMPARISONS[self.criterion.comparison](self.observed, self.criterion.threshold))


@dataclasses.dataclass(frozen=True)
class Result:
    """Predictions and errors per configuration, ``[experiment]``; errors in percent."""

    study: Study
    scoring: str
    runs: int
    measured: Latency
    predicted: Mapping[str, Latency]
    errors: Mapping[str, Mapping[str, NDArray[np.float64]]]
    groups: Mapping[str, Mask]
    curve: Curve | None
    outcomes: Sequence[Outcome]
    waterfall: Sequence[Stage]

    @property
    def verdict(self) -> str:
        """confirmed: every criterion passes; refuted: none does; else partial."""
        passed = [outcome.passed for outcome in self.outcomes]
        return "confirmed" if all(passed) else "partial" if any(passed) else "refuted"


def run(study: Study, scoring: str, runs: Runs, groups: Mapping[str, Mask], tier0s: Mapping[str, Tier0]) -> Result:
    """Search if the study has one, evaluate every configuration, judge the criteria.

    ``tier0s`` has the constants of each configuration by name, the search's start among them.
    """
    tier0s, curve, evaluations, step_models = dict(tier0s), None, 0, study.step_models()
    if study.search:
        train = groups[study.search.split]
        name, keys = study.search.configuration.name, study.search.keys
        curve = grid_search(
            tier0s[name], select(runs, train), keys, study.search.grid, scoring=scoring, step_model=step_models[name]
        )
        tier0s[name] = replace(tier0s[name], dict.fromkeys(keys, curve.optimum))
        evaluations = (len(curve.coarse_values) + len(curve.fine_values)) * int(train.sum())
    predicted = evaluate(tier0s, runs, scoring, step_models)
    all_errors = {name: errors(latency, runs.measured[scoring]) for name, latency in predicted.items()}
    outcomes = [Outcome(c, _observe(c, all_errors, groups)) for c in study.criteria]
    evaluations += len(tier0s) * len(groups["all"])
    steps: list[Stage] = []
    if study.waterfall and scoring == "itl":
        start, end = (Model(step_models[name], tier0s[name]) for name in (study.waterfall.start, study.waterfall.end))
        steps = stages(start, end, runs, study.waterfall.terms)
    measured = runs.measured[scoring]
    return Result(study, scoring, evaluations, measured, predicted, all_errors, groups, curve, outcomes, steps)


def evaluate(
    tier0s: Mapping[str, Tier0], runs: Runs, scoring: str, step_models: Mapping[str, str]
) -> dict[str, Latency]:
    """Latencies of every run under every configuration, in one compiled call per step model."""
    predicted: dict[str, Latency] = {}
    for step_model in dict.fromkeys(step_models.values()):
        names = [name for name in tier0s if step_models[name] == step_model]
        swept = latencies(stack(*(tier0s[name] for name in names)), runs, scoring=scoring, step_model=step_model)
        columns = [np.asarray(x) for x in (swept.ttft_s, swept.tpot_s, swept.e2e_s)]
        predicted |= {name: Latency(*(x[:, i] for x in columns)) for i, name in enumerate(names)}
    return {name: predicted[name] for name in tier0s}


def errors(predicted: Latency, measured: Latency) -> dict[str, NDArray[np.float64]]:
    """Absolute errors of TTFT, TPOT and E2E and the signed one of TPOT, ``[experiment]``, in percent."""
    ttft = metrics.ape(predicted.ttft_s, measured.ttft_s)
    tpot = metrics.signed_error(predicted.tpot_s, measured.tpot_s)
    e2e = metrics.ape(predicted.e2e_s, measured.e2e_s)
    columns = (ttft, abs(tpot), tpot, e2e)
    return {name: np.asarray(x) / PERCENT for name, x in zip(ERROR_COLUMNS, columns, strict=True)}


def aggregate(all_errors: Mapping[str, Mapping[str, NDArray]], mask: Mask) -> dict[str, dict[str, float]]:
    """MAPE of TTFT, TPOT and E2E per configuration over a group, in percent."""
    columns = [name for name in ERROR_COLUMNS if name.endswith("_ape_pct")]
    return {
        configuration: {c.replace("_ape_", "_mape_"): float(np.mean(table[c][mask])) for c in columns}
        for configuration, table in all_errors.items()
    }


def _observe(c: Criterion, all_errors: Mapping[str, Mapping[str, NDArray]], groups: Mapping[str, Mask]) -> float:
    table = all_errors[c.configuration][c.metric]
    if c.minus_configuration:
        table = table - all_errors[c.minus_configuration][c.metric]
    statistic = STATISTICS[c.statistic]
    observed = float(statistic(table[groups[c.group]]))
    if c.minus_group:
        observed -= float(statistic(table[groups[c.minus_group]]))
    return abs(observed) if c.absolute else observed
