"""A pre-registered study, run: searches, predictions, errors, accept criteria, verdict."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from jaxroof.experiments.affine import affine_tpot
from jaxroof.experiments.runs import Runs, select
from jaxroof.experiments.scores import errors, evaluate
from jaxroof.parameters import Mask, replace
from jaxroof.request.schedule import Latency
from jaxroof.step import Model
from jaxroof.studies.criteria import Outcome, observe, verdict
from jaxroof.studies.grid_search import Curve, Surface, best_of_product, grid_search
from jaxroof.studies.spec import ProductGrid, Study
from jaxroof.studies.waterfall import Stage, stages

LABELS = ("name", "split", "family")


@dataclasses.dataclass(frozen=True)
class Result:
    """Predictions and errors per configuration, ``[experiment]``; errors in percent."""

    study: Study
    scoring: str
    evaluations: int
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


def run_all(study: Study, runs: Runs, groups: Mapping[str, Mask], models: Mapping[str, Model]) -> list[Result]:
    """The study on each of its step models, under each of its scorings; its own come first."""
    results = []
    for moved in map(study.on, (study.step_model, *study.also_step_model)):
        own = {c.name: dataclasses.replace(models[c.name], step=c.step_model) for c in moved.all_configurations()}
        results += [run(moved, scoring, runs, groups, own) for scoring in (study.scoring, *study.also_scoring)]
    return results


def run(study: Study, scoring: str, runs: Runs, groups: Mapping[str, Mask], models: Mapping[str, Model]) -> Result:
    """Search if the study has one, evaluate every configuration, judge the criteria.

    ``models`` has each configuration's by name, the search's start among them.
    """
    models, groups = dict(models), study.unions(groups)
    evaluations, curve, surface = len(models) * len(groups["all"]), None, None
    if study.search:
        name, train = study.search.name, groups[study.search.split]
        curve = grid_search(models[name], select(runs, train), study.search, scoring=scoring)
        models[name] = replace(models[name], dict.fromkeys(study.search.keys, curve.optimum))
        evaluations += (len(curve.coarse_values) + len(curve.fine_values)) * int(train.sum())
    if study.grid:
        name, train = study.grid.name, groups[study.grid.split]
        surface = search_product(study.grid, models[name], runs, train, scoring)
        models[name] = replace(models[name], surface.settings())
        evaluations += surface.points * int(train.sum())
    predicted = evaluate(models, runs, scoring)
    all_errors = {name: errors(latency, runs.measured[scoring]) for name, latency in predicted.items()}
    outcomes = [Outcome(c, observe(c, all_errors, groups)) for c in study.criteria]
    steps: Sequence[Stage] = []
    if (w := study.waterfall) and scoring == "itl":
        steps = stages(models[w.start], models[w.end], runs, w.terms)
    return Result(study, scoring, evaluations, predicted, all_errors, groups, curve, surface, outcomes, steps)


def search_product(grid: ProductGrid, model: Model, runs: Runs, train: Mask, scoring: str) -> Surface:
    """A study's search of a product grid.

    On all runs, then their train rows: every study and formula shares one compiled program.
    """
    affine = affine_tpot(model, runs, [free.keys for free in grid.free], scoring=scoring, metric=grid.metric)
    measured = np.asarray(runs.measured[scoring][grid.metric])
    return best_of_product(affine.select(train), measured[train], grid.free)
