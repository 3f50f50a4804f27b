"""Results as the JSON objects of the CLI contract: times in ms, errors in percent."""

from collections.abc import Sequence
from typing import Any

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.scores import evaluation, splits
from jaxroof.report.tables import records
from jaxroof.studies.criteria import Outcome
from jaxroof.studies.grid_search import Curve, Surface
from jaxroof.studies.run import Result
from jaxroof.studies.tables import ape_intervals, marginals, waterfall
from jaxroof.units import PERCENT


def study(results: Sequence[Result], truth: GroundTruth) -> dict[str, Any]:
    """The JSON object of a study: its first result, and the others by label under ``also``."""
    data = _result(results[0], truth)
    if others := results[1:]:
        data["also"] = {result.label: _result(result, truth) for result in others}
    return data


def rounding(result: Result, truth: GroundTruth) -> dict[str, Any]:
    """The ends of every aggregate MAPE that records in 0.1 ms leave open, by configuration and split."""
    return {
        name: {
            split: {f"{m}_mape_pct": [float(end) / PERCENT for end in apes.mean(mask)] for m, apes in intervals.items()}
            for split, mask in splits(result.groups).items()
        }
        for name, intervals in ape_intervals(result, truth).items()
    }


def _result(result: Result, truth: GroundTruth) -> dict[str, Any]:
    """The JSON object of a study on one step model under one scoring."""
    study = result.study
    return {
        "study": study.name,
        "verdict": result.verdict,
        "step_model": study.step_model,
        "scoring": result.scoring,
        "runs": result.evaluations,
        **evaluation(result.predicted, result.errors, result.groups, truth.experiments),
        "rounding": rounding(result, truth),
        "criteria": [criterion(outcome) for outcome in result.outcomes],
        **({"search": _search(result.curve)} if result.curve else {}),
        **({"grid": _grid(result.surface)} if result.surface else {}),
        **({"waterfall": records(waterfall(result))} if result.waterfall else {}),
    }


def criterion(o: Outcome) -> dict[str, Any]:
    """The JSON object of an accept criterion."""
    c = o.criterion
    judged = {"observed": o.observed, "unit": c.unit, "passed": o.passed}
    return {"name": c.name, "comparison": c.comparison, "threshold": c.threshold} | judged


def _search(curve: Curve) -> dict[str, Any]:
    tried = dict(zip(curve.coarse_values, curve.coarse_loss, strict=True))
    tried |= zip(curve.fine_values, curve.fine_loss, strict=True)
    return {
        "coarse_us": curve.coarse_optimum,
        "optimum_us": curve.optimum,
        "curve": [{"value_us": value, "train_tpot_mape_pct": x / PERCENT} for value, x in sorted(tried.items())],
    }


def _grid(surface: Surface) -> dict[str, Any]:
    return {
        "points": surface.points,
        "optimum_us": {free.name: float(value) for free, value in zip(surface.free, surface.optimum, strict=True)},
        "train_mape_pct": surface.loss / PERCENT,
        "marginals": records(marginals(surface)),
    }
