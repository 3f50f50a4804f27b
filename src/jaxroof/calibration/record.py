"""The JSON object of ``jaxroof calibrate``: constants, intervals, train and test errors, guard, what is identified."""

from collections.abc import Sequence
from typing import Any

from jaxroof.calibration.analysis import CalibrationResult
from jaxroof.calibration.fit import Calibration
from jaxroof.parameters import Vector
from jaxroof.report.report import finite
from jaxroof.sensitivity.identifiability import Identifiability, in_words
from jaxroof.studies.criteria import Outcome
from jaxroof.studies.record import criterion
from jaxroof.units import PERCENT

Record = dict[str, Any]


def results(result: CalibrationResult, ground_truth: str, formula: str, settings: Sequence[str]) -> Record:
    """The result, and where its measurements, overheads and ``KEY=VALUE`` settings are from."""
    fit = result.fit
    return {
        "step_model": result.model.step, "scoring": result.scoring, "metric": result.metric, "loss": result.loss,
        "ground_truth": ground_truth, "formula": formula,
        "set": [setting.partition("=")[0] for setting in settings],
        "calibrated": result.calibrated,
        "train_experiments": int(fit.train.sum()),
        "test_experiments": int((~fit.train).sum()),
        "free": [_constant(fit, i) for i in range(len(fit.free))],
        "before": _errors(fit, fit.before),
        "after": _errors(fit, fit.after),
        "criteria": [_criterion(outcome, result.metric) for outcome in result.outcomes],
        "verdict": result.verdict,
        "starts": {"count": fit.reached_best.size, "reached_best": int(fit.reached_best.sum())},
        "identifiability": _identifiability(fit.identifiability),
        "left_out": [
            {"fold": f"without {family}"}
            | {"constants": {free.name: float(value) for free, value in zip(other.free, other.values, strict=True)}}
            | _errors(other, other.after)
            for family, other in result.left_out.items()
        ],
    }  # fmt: skip


def _constant(fit: Calibration, i: int) -> Record:
    free, identified = fit.free[i], bool(fit.identified[i])
    low, high = (finite(x) if identified else None for x in fit.interval[:, i])
    return {
        "name": free.name, "keys": list(free.keys), "start": free.start,
        "lower_bound": free.low, "upper_bound": finite(free.high),
        "value": float(fit.values[i]), "interval_low": low, "interval_high": high,
        "at_bound": bool(fit.at_bound[i]), "identified": identified,
    }  # fmt: skip


def _errors(fit: Calibration, ape: Vector) -> Record:
    train, test = (mape / PERCENT for mape in fit.split(ape))
    return {"train_mape_pct": train, "test_mape_pct": test, "gap_pp": test - train}


def _criterion(outcome: Outcome, metric: str) -> Record:
    judged = {key: x for key, x in criterion(outcome).items() if key != "observed"}
    return judged | {"name": outcome.criterion.name.replace("TPOT", metric.upper())}


def _identifiability(found: Identifiability) -> Record:
    """Stiff and sloppy directions, correlations and trade-offs, in numbers and in words."""
    return {
        "constants": list(found.names),
        "residual_noise_pct": found.noise / PERCENT,
        "degrees_of_freedom": found.freedom,
        "eigenvalues": found.eigenvalues.tolist(),
        "directions": [in_words(found.names, direction) for direction in found.directions.T],
        "correlation": [[finite(x) for x in row] for row in found.correlation],
        "trade_offs": [{"constants": [a, b], "correlation": rho} for a, b, rho in found.trade_offs()],
        "not_identified": [name for name, known in zip(found.names, found.identified, strict=True) if not known],
    }
