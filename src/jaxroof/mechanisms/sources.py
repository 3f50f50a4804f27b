"""Measurements of servers, idle and loaded, and what the model says of them with mechanisms switched off."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxroof import defaults
from jaxroof.catalogue.load import load_model, with_settings
from jaxroof.catalogue.ranges import load_ranges
from jaxroof.catalogue.sampling import GREEDY
from jaxroof.experiments import loaded
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.intervals import point_bounds, run_bounds
from jaxroof.experiments.load import load_ground_truth
from jaxroof.experiments.recorded import is_loaded
from jaxroof.experiments.runs import Runs, settled
from jaxroof.files import errors_at
from jaxroof.intervals.bounds import Bounds
from jaxroof.mechanisms.spec import ALL, Switch
from jaxroof.parameters import Mask, Sampling, Vector, numbers, put
from jaxroof.units import MILLI

SCORING = "itl"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured ``[row]``: ITL [ms] of a model at a mean batch."""

    names: Sequence[str]
    models: Sequence[str]
    routed: Mask
    batches: Vector
    itl_ms: Vector

    def groups(self, bins: Sequence[float]) -> dict[str, dict[str, Mask]]:
        """Masks by what the rows are grouped by; none is empty, and only ``all`` holds every row."""
        masks = {
            "kind and batch": loaded.by_kind_and_batch(self.routed, self.batches),
            "batch": _by_bin(self.batches, bins),
            "kind": {"dense": ~self.routed, "mixture": self.routed},
            "model": {model: np.array(self.models) == model for model in dict.fromkeys(self.models)},
        }
        apart = {by: {name: m for name, m in each.items() if m.any() and not m.all()} for by, each in masks.items()}
        return {ALL: {ALL: np.ones(len(self.names), dtype=bool)}, **apart}


@dataclasses.dataclass(frozen=True)
class Interval:
    """Both ends of each prediction ``[row]`` [ms], and what they depend on."""

    low_ms: Vector
    high_ms: Vector
    bounds: Sequence[Bounds]


class IdleRuns:
    """Runs of one request at a time."""

    def __init__(self, path: Path) -> None:
        truth = load_ground_truth(path)
        with errors_at(path):
            self.model = settled(load_model("kernels"), truth.runs)
        self.runs, self.servers = truth.runs, [e.server for e in truth.experiments]
        routed = np.asarray(np.any(np.asarray(truth.runs.architecture.layers.num_experts) > 0, axis=1))
        names, models = ([getattr(e, label) for e in truth.experiments] for label in ("name", "model"))
        itl_ms = np.asarray(truth.runs.measured[SCORING].tpot_s) / MILLI
        self.measured = Measured(names, models, routed, np.ones(len(names)), itl_ms)

    def predicted_ms(self, switch: Switch) -> Vector:
        """Predicted ITL ``[row]`` [ms]; fields of loaded points are nothing that one request has."""
        model = with_settings(self.model, switch.settings(numbers(self.model)))
        return np.asarray(latencies(model, sampled(self.runs, switch), scoring=SCORING).tpot_s) / MILLI

    def interval(self) -> Interval:
        """All runs have one server: its ranges are theirs."""
        ranges = load_ranges(server=self.servers[0] or defaults.SERVER)
        found = run_bounds(self.model, self.runs, ranges, SCORING)
        low, high = (np.asarray(end.tpot_s) / MILLI for end in (found.low, found.high))
        return Interval(low, high, [found])


class LoadedPoints:
    """Points of loaded servers."""

    def __init__(self, path: Path) -> None:
        self.path, self.points, self.catalogue = path, loaded.load_points(path), loaded.Catalogue()
        names, models = ([getattr(point, label) for point in self.points] for label in ("name", "model"))
        batches, itl_ms = (np.array([getattr(point, key) for point in self.points]) for key in ("batch", "itl_ms"))
        with errors_at(path):
            routed = np.array([loaded.is_mixture(self.catalogue.architecture(model)) for model in models])
        self.measured = Measured(names, models, routed, batches, itl_ms)

    def predicted_ms(self, switch: Switch) -> Vector:
        """Predicted ITL ``[row]`` [ms], each point filled, sampled and set otherwise."""

        @functools.cache
        def settings(hardware: str, server: str) -> list[str]:
            return switch.settings(numbers(self.catalogue.model("kernels", hardware, server=server)))

        each = [
            loaded.predicted_itl_ms(
                self.path, [switched(point, switch)], None, settings(point.hardware, point.server), self.catalogue
            )
            for point in self.points
        ]
        return np.concatenate(each)

    def interval(self) -> Interval:
        """Each point's own."""
        found = point_bounds(self.path, self.points, None, [], catalogue=self.catalogue)
        return Interval(found.low_ms, found.high_ms, found.each)


# What can be scored with mechanisms switched off.
Measurements = IdleRuns | LoadedPoints


def load_source(path: Path) -> Measurements:
    """Points of loaded servers, told by their columns, or idle runs. Raises InputError."""
    return LoadedPoints(path) if is_loaded(path) else IdleRuns(path)


def switched(point: loaded.LoadedPoint, switch: Switch) -> loaded.LoadedPoint:
    """The point sampled and filled otherwise; what its sampling leaves to the model's file stays there."""
    given: Mapping[str, object]
    if point.sampling == GREEDY:
        given = numbers(Sampling(temperature=0.0))
    else:
        given = {key.strip(): value for key, _, value in (p.partition("=") for p in point.sampling.split(",") if p)}
    text = ",".join(f"{key}={value}" for key, value in {**given, **switch.sampling}.items())
    return dataclasses.replace(point, sampling=text, **switch.point)  # type: ignore[arg-type]  # all numbers


def sampled(runs: Runs, switch: Switch) -> Runs:
    """The runs sampled otherwise."""
    schedule = runs.scheduled(SCORING)
    values = {f"sampling.{key}": np.full_like(schedule.output_cv, value) for key, value in switch.sampling.items()}
    return dataclasses.replace(runs, schedules={SCORING: put(schedule, values)})


def _by_bin(batches: Vector, ends: Sequence[float]) -> dict[str, Mask]:
    """Masks of batches between one end and the next."""
    lows, highs = [-np.inf, *ends], [*ends, np.inf]
    names = [f"batch ≤ {ends[0]:g}", *(f"{low:g} < batch ≤ {high:g}" for low, high in itertools.pairwise(ends))]
    masks = [(low < batches) & (batches <= high) for low, high in zip(lows, highs, strict=True)]
    return dict(zip([*names, f"batch > {ends[-1]:g}"], masks, strict=True))
