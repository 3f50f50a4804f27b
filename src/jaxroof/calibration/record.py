"""The JSON object of ``jaxroof calibrate``: constants, intervals, train and test errors, guard, what is identified."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxroof.calibration.fit import Calibration, most_free
from jaxroof.parameters import Mask
from jaxroof.sensitivity.identifiability import Identifiability, in_words
from jaxroof.studies.criteria import passes, verdict
from jaxroof.studies.load import load_study
from jaxroof.units import PERCENT

Record = dict[str, Any]
# A start that ends within this MAPE of the best one found it too.
SAME = 0.01 * PERCENT


def results(folds: Mapping[str, Calibration], settings: Record) -> Record:
    """The fit on the first fold, the same fit on the others, and ``settings``, which say what was fitted and how."""
    first, *_ = folds.values()
    ends = first.path.mape[:, -1]
    return {
        **settings,
        "calibrated": len(first.free) <= most_free(int(first.train.sum())),
        "train_experiments": int(first.train.sum()),
        "test_experiments": int((~first.train).sum()),
        "free": [_constant(first, i) for i in range(len(first.free))],
        "before": _errors(first.before, first.train),
        "after": _errors(first.after, first.train),
        "criteria": (criteria := _criteria(first, settings["metric"].upper())),
        "verdict": verdict([c["passed"] for c in criteria]),
        "starts": {"count": len(ends), "reached_best": int((ends <= ends.min() + SAME).sum())},
        "identifiability": _identifiability(first.identifiability),
        "left_out": [
            {"fold": name} | {"constants": _values(fold)} | _errors(fold.after, fold.train)
            for name, fold in list(folds.items())[1:]
        ],
    }


def _values(fit: Calibration) -> dict[str, float]:
    return {free.name: float(value) for free, value in zip(fit.free, fit.values, strict=True)}


def _constant(fit: Calibration, i: int) -> Record:
    free, name = fit.free[i], fit.free[i].name
    inner = fit.identifiability
    identified = name in inner.names and bool(inner.identified[inner.names.index(name)])
    low, high = (float(x) if identified and np.isfinite(x) else None for x in fit.interval[:, i])
    return {
        "name": name, "keys": list(free.keys), "start": free.start,
        "lower_bound": free.low, "upper_bound": free.high if np.isfinite(free.high) else None,
        "value": float(fit.values[i]), "interval_low": low, "interval_high": high,
        "at_bound": bool(fit.at_bound[i]), "identified": identified,
    }  # fmt: skip


def _errors(ape: np.ndarray, mask: Mask) -> Record:
    train, test = (float(ape[group].mean()) / PERCENT for group in (mask, ~mask))
    return {"train_mape_pct": train, "test_mape_pct": test, "gap_pp": test - train}


def _criteria(fit: Calibration, metric: str) -> list[Record]:
    """HG1's guard: its accept criteria on this fit."""
    train, test = (np.array([fit.after[mask].mean()]) for mask in (fit.train, ~fit.train))
    return [
        {"name": c.name.replace("TPOT", metric), "comparison": c.comparison, "threshold": c.threshold, "unit": c.unit,
         "passed": bool(passes(c, train, test)[0])}
        for c in load_study("hg1").criteria
    ]  # fmt: skip


def _identifiability(found: Identifiability) -> Record:
    """Stiff and sloppy directions, correlations and trade-offs, in numbers and in words."""
    return {
        "constants": list(found.names),
        "residual_noise_pct": found.noise / PERCENT,
        "degrees_of_freedom": found.freedom,
        "eigenvalues": found.eigenvalues.tolist(),
        "directions": [in_words(found.names, direction) for direction in found.directions.T],
        "correlation": [[None if np.isnan(x) else float(x) for x in row] for row in found.correlation],
        "trade_offs": [{"constants": [a, b], "correlation": rho} for a, b, rho in found.trade_offs()],
        "not_identified": [name for name, known in zip(found.names, found.identified, strict=True) if not known],
    }
