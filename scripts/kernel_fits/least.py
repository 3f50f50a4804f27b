"""Constants of least error, how well they hold, and how far each alone must move for a single shape."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult, minimize

LOG = "mean |log error|"
BALANCED = "mean squared log error, each regime and its bias weighing the same,"
US_PER_MS = 1e3
PER_US = 1e6  # 1 TB/s = 1e6 bytes/us, 1 TFLOP/s = 1e6 FLOP/us
GB_PER_US = 1e3  # 1 GB/s = 1e3 bytes/us
DIGITS = 4
NO_ROWS = "no rows left after the filter"
NOTHING = 1e-6  # below, a constant is 0
FACTORS = np.geomspace(1 / 8, 8, 241)
MATTERS = 0.05  # of a shape's time, when a constant is doubled
BIAS = 30.0  # weight of a squared bias beside a mean squared error
SHARES = ("hbm_efficiency", "mfu")  # ends of the names of constants that are at most 1
FEWEST = 5  # shapes that a range is taken from

Table = Any  # pandas.DataFrame; pandas is imported where a file is read
Rows = Any  # a mask
Sheet = dict[str, float]
Starts = dict[str, tuple[float, ...]]  # constant -> its value at each start of the search
Ranges = dict[str, tuple[float, float]]  # constant -> factors on it


class Fit(NamedTuple):
    """Constants by name, to which rows and for what they were fitted, predicted over measured time there, ranges."""

    constants: dict[str, float]
    rows: str
    ratio: np.ndarray
    ranges: Ranges
    least: str = LOG


class Fits(NamedTuple):
    """What one table gives: fits by the table of the hardware file, and predicted over measured time by regime."""

    fits: list[tuple[str, Fit]]
    regimes: dict[str, np.ndarray]


def measured(rows: Table) -> np.ndarray:
    """Time of each row [us]."""
    if not len(rows):
        raise ValueError(NO_ROWS)
    return rows.latency.to_numpy(float) * US_PER_MS


def log_error(ratio: np.ndarray) -> float:
    """Mean |log error|."""
    return float(np.abs(np.log(ratio)).mean())


def log_bias(ratio: np.ndarray) -> float:
    """Mean log error: above 0 where the prediction is too slow."""
    return float(np.log(ratio).mean())


def least(
    predict: Callable, time_us: np.ndarray, starts: Starts, rows: str, shape: np.ndarray, loss: Callable = log_error
) -> Fit:
    """Minimise the ``loss`` of ``predict`` [us] over the measured time, over the logarithms of its constants."""
    if not len(time_us):
        raise ValueError(f"{NO_ROWS}: {rows}")

    most = np.array([1.0 if name.endswith(SHARES) else np.inf for name in starts])

    def value(logs: np.ndarray) -> np.ndarray:
        return np.minimum(np.exp(logs), most)

    def search(start: tuple[float, ...]) -> OptimizeResult:
        options = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000, "adaptive": len(starts) > 4}
        error: Callable = lambda logs: loss(predict(*value(logs)) / time_us)  # noqa: E731
        return minimize(error, np.log(start), method="Nelder-Mead", options=options)

    found = value(min(map(search, zip(*starts.values(), strict=True)), key=lambda run: run.fun).x)
    found = np.where(found < NOTHING, 0.0, found)
    constants = {name: float(f"{value:.{DIGITS}g}") for name, value in zip(starts, found, strict=True)}
    ranges = dict(zip(starts, (_range(predict, time_us, found, i, shape) for i in range(len(found))), strict=True))
    known = {name: of_constant for name, of_constant in ranges.items() if of_constant}
    return Fit(constants, rows, predict(*found) / time_us, known)


def balanced(
    predict: Callable, time_us: np.ndarray, starts: Starts, rows: str, regimes: Iterable[Rows], shape: np.ndarray
) -> Fit:
    """As :func:`least`, of the mean over ``regimes`` of bias² and of the mean squared log error."""
    groups = [np.flatnonzero(at) for at in regimes]
    groups = [at for at in groups if len(at)]

    def loss(ratio: np.ndarray) -> float:
        logs = [np.log(ratio[at]) for at in groups]
        return float(np.mean([np.mean(log**2) + BIAS * np.mean(log) ** 2 for log in logs]))

    return least(predict, time_us, starts, rows, shape, loss)._replace(least=BALANCED)


def _range(
    predict: Callable, time_us: np.ndarray, found: np.ndarray, index: int, shape: np.ndarray
) -> tuple[float, float] | None:
    """Factors between which the constant alone lies in 90 % of the shapes, each with least error; None: too few."""

    def with_factor(factor: float) -> np.ndarray:
        moved = np.array(found)
        moved[index] *= factor
        return predict(*moved)

    _, group = np.unique(shape, return_inverse=True)
    counts = np.bincount(group)
    matters = np.bincount(group, np.abs(np.log(with_factor(2.0) / with_factor(1.0)))) / counts > MATTERS
    errors = [np.bincount(group, np.abs(np.log(with_factor(factor) / time_us))) for factor in FACTORS]
    factors = FACTORS[np.argmin(errors, axis=0)][matters]
    if len(factors) < FEWEST or not found[index]:
        return None
    low, high = np.quantile(factors, (0.05, 0.95))
    return min(float(low), 1.0), max(float(high), 1.0)
