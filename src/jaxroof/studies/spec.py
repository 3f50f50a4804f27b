"""What a pre-registered study says before it runs: its file, key by key."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from jaxroof.experiments.metrics import METRICS, SCORINGS
from jaxroof.files import NON_NEGATIVE, POSITIVE, choice, within
from jaxroof.parameters import Mask, Vector
from jaxroof.step import STEP_MODELS
from jaxroof.studies.criteria import Criterion

StepModelName = Annotated[str, choice(STEP_MODELS)]
Scoring = Annotated[str, choice(SCORINGS)]
Us = Annotated[float, within(NON_NEGATIVE)]
StepUs = Annotated[float, within(POSITIVE)]
Key = Annotated[str, Meta(pattern=r"_us\Z", description="a key in µs")]
OverheadKey = Annotated[
    str, Meta(pattern=r"^overheads\..*_us\Z", description="an overhead in µs (latencies are affine in no other key)")
]
ANALYTIC, MEASURED = "analytic", "measured"
TABLES = Meta(min_length=1, description="one or more [[tables]]")
Listed = Annotated[Sequence[str], Meta(min_length=1, description="one or more studies")]


class Configuration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model under comparison: a step time (empty: the study's), an overhead formula, and settings by dotted key."""

    name: str
    step_model: StepModelName = ""
    overheads: str
    settings: Mapping[str, Any] = field(name="set", default_factory=dict)


class GridAxis(Struct, frozen=True, forbid_unknown_fields=True):
    """A free constant of a grid: the keys that share it, start … stop by step."""

    name: str
    keys: Annotated[Sequence[OverheadKey], Meta(min_length=1, description="a list of keys in µs")]
    start: Us = field(name="start_us")
    stop: Us = field(name="stop_us")
    step: StepUs = field(name="step_us")

    def values(self) -> Vector:
        """The grid on this axis."""
        return _steps(self.start, self.stop, self.step)


class Search(Configuration, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration with the best of one value that all ``keys`` take, by grid search on ``split``.

    Coarse values are start … stop by step, fine ones ± half_width around the best of them by fine_step.
    """

    name: str = field(name="configuration")
    keys: Annotated[Sequence[Key], Meta(min_length=1, description="a list of keys in µs")]
    split: str
    start_us: Us
    stop_us: Us
    step_us: StepUs
    half_width_us: Us
    fine_step_us: StepUs

    def coarse(self) -> Vector:
        """The values of the first pass."""
        return _steps(self.start_us, self.stop_us, self.step_us)

    @property
    def reach(self) -> int:
        """Fine steps on each side of the coarse best."""
        return round(self.half_width_us / self.fine_step_us)

    def fine(self, centre: float) -> Vector:
        """The values of the second pass, clipped at 0."""
        values = centre + self.fine_step_us * np.arange(-self.reach, self.reach + 1.0)
        return values[values >= 0]

    @property
    def free(self) -> Sequence[GridAxis]:
        """Its one constant on the whole range by the step of the second pass: both passes in one."""
        return [GridAxis("per_layer", self.keys, self.start_us, self.stop_us, self.fine_step_us)]


class ProductGrid(Configuration, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration with the least error of ``metric`` over the product of free overhead constants, on ``split``."""

    name: str = field(name="configuration")
    free: Annotated[Sequence[GridAxis], Meta(min_length=1, max_length=3, description="one to three [[tables]]")]
    split: str
    metric: Annotated[str, choice(METRICS)] = "tpot"


class Waterfall(Struct, frozen=True, forbid_unknown_fields=True):
    """From configuration ``start`` to ``end``, terms of its decode step one at a time, each the parts it names."""

    start: str
    end: str
    terms: Mapping[str, Sequence[str]] = {}


class Registered(Struct, frozen=True, forbid_unknown_fields=True):
    """What is expected, fixed before it runs."""

    name: str
    title: str
    source: str
    hypothesis: str
    differences: str


class Study(Registered, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is compared and what would count as success.

    ``mfu`` is that of its ``roofline`` steps: analytic, or measured in tables that whoever runs it has.
    """

    step_model: StepModelName
    scoring: Scoring
    also_scoring: Sequence[Scoring] = ()
    also_step_model: Sequence[StepModelName] = ()
    hardware: str
    mfu: Annotated[str, choice((ANALYTIC, MEASURED))] = ANALYTIC
    baseline: str
    configurations: Annotated[Sequence[Configuration], TABLES]
    search: Search | None = None
    grid: ProductGrid | None = None
    groups: Mapping[str, Sequence[str]] = {}
    criteria: Annotated[Sequence[Criterion], TABLES]
    waterfall: Waterfall | None = None

    def all_configurations(self) -> list[Configuration]:
        """Every configuration in order, the searched ones last."""
        return [*self.configurations, *(search for search in (self.search, self.grid) if search)]

    def each(self, change: Callable[[Any], Any]) -> "Study":
        """The study with every configuration changed."""
        search, grid = (search and change(search) for search in (self.search, self.grid))
        return replace(self, configurations=[change(c) for c in self.configurations], search=search, grid=grid)

    def on(self, step_model: str) -> "Study":
        """The study with ``step_model`` where its own stands."""

        def moved(c: Any) -> Any:
            return replace(c, step_model=step_model) if c.step_model == self.step_model else c

        return replace(self.each(moved), step_model=step_model)

    def unions(self, groups: Mapping[str, Mask]) -> dict[str, Mask]:
        """``groups`` and the study's own, each a union of some of them."""
        own = {name: np.logical_or.reduce([groups[part] for part in parts]) for name, parts in self.groups.items()}
        return {**groups, **own}


class Collection(Struct, frozen=True, forbid_unknown_fields=True):
    """Studies, in an order of expectation that the evidence may overturn."""

    name: str
    title: str
    source: str
    members: Listed


class ComparisonSpec(Registered, frozen=True, forbid_unknown_fields=True):
    """Studies on whose searches gradient is pitted against grid."""

    problems: Listed


def _steps(start: float, stop: float, step: float) -> Vector:
    """start … stop by step."""
    return start + step * np.arange(round((stop - start) / step) + 1.0)
