"""A pre-registered study, run: searches, predictions, errors, accept criteria, verdict."""

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxroof import metrics
from jaxroof.affine import affine_tpot
from jaxroof.leaves import replace
from jaxroof.params import Latency, Runs, Tier0
from jaxroof.quadrature import Mask
from jaxroof.search import Curve, Surface, grid_search, product_search
from jaxroof.spec import Criterion, ProductGrid, Search, Study
from jaxroof.sweep import latencies_of, select
from jaxroof.units import PERCENT
from jaxroof.waterfall import Model, Stage, stages

COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
STATISTICS: dict[str, Callable[..., Any]] = {"mean": np.mean, "max": np.max}
SPLITS = ("train", "test", "all")
LABELS = ("name", "split", "family")
ERROR_COLUMNS = ("ttft_ape_pct", "tpot_ape_pct", "tpot_signed_pct", "e2e_ape_pct")


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
    surface: Surface | None
    outcomes: Sequence[Outcome]
    waterfall: Sequence[Stage]

    @property
    def label(self) -> str:
        """What tells this result from the study's others."""
        return f"{self.study.step_model}_{self.scoring}" if self.study.also_step_model else self.scoring

    @property
    def verdict(self) -> str:
        """What the criteria say together."""
        return verdict([outcome.passed for outcome in self.outcomes])


def verdict(passed: Sequence[bool]) -> str:
    """confirmed: every criterion passes; refuted: none does; else partial."""
    return "confirmed" if all(passed) else "partial" if any(passed) else "refuted"


def run_all(study: Study, runs: Runs, groups: Mapping[str, Mask], tier0s: Mapping[str, Tier0]) -> list[Result]:
    """The study on each of its step models, under each of its scorings; its own come first."""
    return [
        run(study.on(step_model), scoring, runs, groups, tier0s)
        for step_model in (study.step_model, *study.also_step_model)
        for scoring in (study.scoring, *study.also_scoring)
    ]


def run(study: Study, scoring: str, runs: Runs, groups: Mapping[str, Mask], tier0s: Mapping[str, Tier0]) -> Result:
    """Search if the study has one, evaluate every configuration, judge the criteria.

    ``tier0s`` has the constants of each configuration by name, the search's start among them.
    """
    tier0s, groups, step_models = dict(tier0s), study.unions(groups), study.step_models()
    evaluations, curve, surface = len(tier0s) * len(groups["all"]), None, None
    if study.search:
        name, train = study.search.configuration.name, groups[study.search.split]
        curve = search_grid(study.search, tier0s[name], select(runs, train), scoring, step_models[name])
        tier0s[name] = replace(tier0s[name], dict.fromkeys(study.search.keys, curve.optimum))
        evaluations += (len(curve.coarse_values) + len(curve.fine_values)) * int(train.sum())
    if study.grid:
        name, train = study.grid.configuration.name, groups[study.grid.split]
        surface = search_product(study.grid, tier0s[name], runs, train, scoring, step_models[name])
        tier0s[name] = replace(tier0s[name], surface.settings())
        evaluations += surface.points * int(train.sum())
    predicted, measured = evaluate(tier0s, runs, scoring, step_models), runs.measured[scoring]
    all_errors = {name: errors(latency, measured) for name, latency in predicted.items()}
    outcomes = [Outcome(c, _observe(c, all_errors, groups)) for c in study.criteria]
    steps = _waterfall(study, tier0s, runs, step_models) if study.waterfall and scoring == "itl" else []
    return Result(study, scoring, evaluations, measured, predicted, all_errors, groups, curve, surface, outcomes, steps)


def search_grid(search: Search, tier0: Tier0, train: Runs, scoring: str, step_model: str) -> Curve:
    """A study's search of one value on its train runs."""
    return grid_search(tier0, train, search.keys, search.grid, scoring=scoring, step_model=step_model)


def search_product(grid: ProductGrid, tier0: Tier0, runs: Runs, train: Mask, scoring: str, step_model: str) -> Surface:
    """A study's search of a product grid.

    On all runs, then their train rows: every study and formula shares one compiled program.
    """
    keys = [free.keys for free in grid.free]
    affine = affine_tpot(tier0, runs, keys, scoring=scoring, step_model=step_model, metric=grid.metric)
    measured = np.asarray(getattr(runs.measured[scoring], f"{grid.metric}_s"))
    return product_search(affine.select(train), measured[train], grid.free)


def _waterfall(study: Study, tier0s: Mapping[str, Tier0], runs: Runs, step_models: Mapping[str, str]) -> list[Stage]:
    assert study.waterfall is not None
    start, end = (Model(step_models[name], tier0s[name]) for name in (study.waterfall.start, study.waterfall.end))
    return stages(start, end, runs, study.waterfall.terms)


def evaluate(
    tier0s: Mapping[str, Tier0], runs: Runs, scoring: str, step_models: Mapping[str, str]
) -> dict[str, Latency]:
    """Latencies of every run under every configuration, in one compiled call per step model."""
    predicted: dict[str, Latency] = {}
    for step_model in dict.fromkeys(step_models.values()):
        names = [name for name in tier0s if step_models[name] == step_model]
        swept = latencies_of([tier0s[name] for name in names], runs, scoring=scoring, step_model=step_model)
        columns = (swept.ttft_s, swept.tpot_s, swept.e2e_s)
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
    def observed(table: NDArray) -> float:
        statistic = STATISTICS[c.statistic]
        value = float(statistic(table[groups[c.group]]))
        if c.minus_group:
            value -= float(statistic(table[groups[c.minus_group]]))
        return abs(value) if c.absolute else value

    mine = all_errors[c.configuration][c.metric]
    if c.minus_configuration is None:
        return observed(mine)
    other = all_errors[c.minus_configuration][c.metric]
    return observed(mine) - observed(other) if c.minus_group else observed(mine - other)
