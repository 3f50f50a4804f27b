"""What measured runs and points are predicted within, and which measurements lie there."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxroof.catalogue.ranges import load_ranges
from jaxroof.experiments.evaluate import latencies_at
from jaxroof.experiments.loaded import Catalogue, LoadedPoint, prepared_point
from jaxroof.experiments.runs import Runs
from jaxroof.intervals.bounds import Bounds, bounds
from jaxroof.intervals.constants import constants_of
from jaxroof.parameters import Mask, Vector
from jaxroof.request.predict import latency_of
from jaxroof.step import Model
from jaxroof.units import MILLI


def inside(measured: Vector, low: Vector, high: Vector) -> Mask:
    """Which measurements lie between both ends."""
    return np.asarray((low <= measured) & (measured <= high))


def run_bounds(model: Model, runs: Runs, ranges: Mapping[str, Any], scoring: str, samples: int | None = None) -> Bounds:
    """Latencies ``[experiment]`` [s] of measured runs under ``scoring`` and what they lie between.

    ``ranges`` of :func:`jaxroof.catalogue.ranges.load_ranges`; those of the server are its own where runs have one.
    """
    traced = runs.scheduled(scoring), runs.architecture, runs.deployment, runs.server
    return bounds(latencies_at, model, traced, constants_of(model, ranges), samples=samples)


@dataclass(frozen=True)
class PointBounds:
    """Predicted ITL of loaded points ``[point]`` [ms] and both ends; ``each`` has what the point's constants are."""

    itl_ms: Vector
    low_ms: Vector
    high_ms: Vector
    each: Sequence[Bounds]


def point_bounds(
    path: Path, points: Sequence[LoadedPoint], server: str | None, settings: Sequence[str],
    samples: int | None = None, catalogue: Catalogue | None = None,
) -> PointBounds:  # fmt: skip
    """ITL by ``kernels`` and its interval; ``server`` and ``settings`` win over the points' own. Raises InputError."""
    catalogue, ranges = catalogue or Catalogue(), functools.cache(load_ranges)
    each = [_point_bounds(path, point, server, settings, samples, catalogue, ranges) for point in points]
    itl, low, high = (
        np.array([getattr(found, end)["tpot"] for found in each], dtype=float) / MILLI
        for end in ("value", "low", "high")
    )
    return PointBounds(itl, low, high, each)


def _point_bounds(
    path: Path, point: LoadedPoint, server: str | None, settings: Sequence[str], samples: int | None,
    catalogue: Catalogue, ranges: Callable[..., Mapping[str, Any]],
) -> Bounds:  # fmt: skip
    model, (traced, static) = prepared_point(path, point, server, settings, catalogue)
    own = ranges(point.hardware, server=server or point.server)
    return bounds(latency_of, model, traced, constants_of(model, own), static, samples)
