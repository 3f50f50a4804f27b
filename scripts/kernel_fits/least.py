"""Constants of least mean |log error|, and how well they hold."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult, minimize

LOG = "mean |log error|"
US_PER_MS = 1e3
PER_US = 1e6  # 1 TB/s = 1e6 bytes/us, 1 TFLOP/s = 1e6 FLOP/us
GB_PER_US = 1e3  # 1 GB/s = 1e3 bytes/us
DIGITS = 4

Table = Any  # pandas.DataFrame; pandas is imported where a file is read
Rows = Any  # a mask
Sheet = dict[str, float]
Starts = dict[str, tuple[float, ...]]  # constant -> its value at each start of the search


class Fit(NamedTuple):
    """Constants by name, what rows they were fitted to, and predicted over measured time there."""

    constants: dict[str, float]
    rows: str
    ratio: np.ndarray


class Fits(NamedTuple):
    """What one table gives: fits by the table of the hardware file, and predicted over measured time by regime."""

    fits: list[tuple[str, Fit]]
    regimes: dict[str, np.ndarray]


def measured(rows: Table) -> np.ndarray:
    """Time of each row [us]."""
    if not len(rows):
        raise ValueError("no rows left after the filter")
    return rows.latency.to_numpy(float) * US_PER_MS


def log_error(ratio: np.ndarray) -> float:
    """Mean |log error|."""
    return float(np.abs(np.log(ratio)).mean())


def log_bias(ratio: np.ndarray) -> float:
    """Mean log error: above 0 where the prediction is too slow."""
    return float(np.log(ratio).mean())


def least(predict: Callable, time_us: np.ndarray, starts: Starts, rows: str) -> Fit:
    """Minimise the mean |log error| of ``predict`` [us] over the logarithms of its constants."""
    if not len(time_us):
        raise ValueError(f"no rows left after the filter: {rows}")

    def search(start: tuple[float, ...]) -> OptimizeResult:
        options = {"method": "Nelder-Mead", "options": {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000}}
        return minimize(lambda logs: log_error(predict(*np.exp(logs)) / time_us), np.log(start), **options)

    found = np.exp(min(map(search, zip(*starts.values(), strict=True)), key=lambda run: run.fun).x)
    constants = {name: float(f"{value:.{DIGITS}g}") for name, value in zip(starts, found, strict=True)}
    return Fit(constants, rows, predict(*found) / time_us)
