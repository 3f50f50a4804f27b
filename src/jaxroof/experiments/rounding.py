"""Measurements are known to a last digit: the interval of every error that they leave open."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxroof.experiments import metrics
from jaxroof.parameters import Values, Vector
from jaxroof.request.schedule import Latency
from jaxroof.units import MILLI

# Half a unit of the last digit of a record in tenths of a millisecond [s].
HALF_UNIT_S = 0.05 * MILLI


class Interval(NamedTuple):
    """Where a true value lies, both ends included, ``[experiment ...]``."""

    low: Values
    high: Values

    def mean(self, mask: NDArray[np.bool_]) -> "Interval":
        """Mean of the ends over the experiments of ``mask``: a MAPE's interval from APEs'."""
        return Interval(*(end[mask].mean(axis=0) for end in self))


def recorded(recorded: Latency, tpot: Interval | None = None) -> dict[str, Interval]:
    """Intervals [s] of TTFT, TPOT = E2E/n and E2E of a record in tenths of a millisecond.

    ``tpot`` narrows TPOT where its ends lie within the rounded value's, infinite ends do not.
    """
    values = {name: np.asarray(recorded[name]) for name in metrics.METRICS}
    ends = {name: Interval(value - HALF_UNIT_S, value + HALF_UNIT_S) for name, value in values.items()}
    if tpot is not None:
        wide = ends["tpot"]
        ends["tpot"] = Interval(np.maximum(wide.low, tpot.low), np.minimum(wide.high, tpot.high))
    return ends


def scored(ends: Mapping[str, Interval], scoring: str) -> dict[str, Interval]:
    """The same in the TPOT convention of ``scoring``.

    ITL = (E2E − TTFT)·TPOT / (E2E − TPOT) is monotone in each of the three, so its ends are at corners.
    """
    if scoring != "itl":
        return dict(ends)
    corners = itertools.product(*(ends[name] for name in ("ttft", "tpot", "e2e")))
    itl = np.stack([metrics.itl_s(Latency(*corner)) for corner in corners])
    return {**ends, "tpot": Interval(itl.min(axis=0), itl.max(axis=0))}


def ape(predicted: Vector, measured: Interval) -> Interval:
    """APE of ``predicted[experiment ...]`` over ``measured[experiment]``; 0 is its least where that contains it."""
    settings = tuple(range(1, predicted.ndim))
    low, high = (np.asarray(metrics.signed_error(predicted, np.expand_dims(end, settings))) for end in measured)
    inside = low * high <= 0
    return Interval(np.where(inside, 0.0, np.minimum(abs(low), abs(high))), np.maximum(abs(low), abs(high)))
