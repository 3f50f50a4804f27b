"""What a pre-registered study says before it runs."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxroof.parameters import Mask
from jaxroof.studies.grid_search import Free, Grid


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
class ProductGrid:
    """A search of the least error of ``metric`` over the product of free overhead constants, on ``split``."""

    configuration: Configuration
    free: Sequence[Free]
    split: str
    metric: str


@dataclasses.dataclass(frozen=True)
class Criterion:
    """Observed = statistic over a group of an error, less that of another group, less another configuration's.

    Within one group, configurations are compared experiment by experiment before the statistic.
    """

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
    also_step_model: Sequence[str]
    hardware: str
    baseline: str
    configurations: Sequence[Configuration]
    search: Search | None
    grid: ProductGrid | None
    groups: Mapping[str, Sequence[str]]
    criteria: Sequence[Criterion]
    waterfall: Waterfall | None

    def all_configurations(self) -> list[Configuration]:
        """Every configuration in order, the searched ones last."""
        return [*self.configurations, *(s.configuration for s in (self.search, self.grid) if s)]

    def step_models(self) -> dict[str, str]:
        """Step model of every configuration."""
        return {c.name: c.step_model for c in self.all_configurations()}

    def on(self, step_model: str) -> "Study":
        """The study with ``step_model`` where its own stands."""

        def moved(c: Configuration) -> Configuration:
            return dataclasses.replace(c, step_model=step_model) if c.step_model == self.step_model else c

        search = self.search and dataclasses.replace(self.search, configuration=moved(self.search.configuration))
        grid = self.grid and dataclasses.replace(self.grid, configuration=moved(self.grid.configuration))
        configurations = [moved(c) for c in self.configurations]
        return dataclasses.replace(self, step_model=step_model, configurations=configurations, search=search, grid=grid)

    def unions(self, groups: Mapping[str, Mask]) -> dict[str, Mask]:
        """``groups`` and the study's own, each a union of some of them."""
        own = {name: np.logical_or.reduce([groups[part] for part in parts]) for name, parts in self.groups.items()}
        return {**groups, **own}
