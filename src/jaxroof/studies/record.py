"""Results as the JSON objects of the CLI contract: times in ms, errors in percent."""

from collections.abc import Sequence
from typing import Any

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.rounding import Interval
from jaxroof.experiments.scores import SPLITS, evaluation
from jaxroof.report.tables import records
from jaxroof.studies.criteria import Outcome
from jaxroof.studies.ranking import Runs, evidence, ranking
from jaxroof.studies.run import Result
from jaxroof.studies.spec import Collection
from jaxroof.studies.tables import ape_intervals, marginals, search_curve, waterfall
from jaxroof.units import PERCENT


def study(results: Sequence[Result], truth: GroundTruth) -> dict[str, Any]:
    """The JSON object of a study: its first result, and the others by label under ``also``."""
    data = result_record(results[0], truth)
    if others := results[1:]:
        data["also"] = {result.label: result_record(result, truth) for result in others}
    return data


def rounding(result: Result, truth: GroundTruth) -> dict[str, Any]:
    """The ends of every aggregate MAPE that records in 0.1 ms leave open, by configuration and split."""
    splits = {name: result.groups[name] for name in SPLITS if name in result.groups}

    def ends(interval: Interval) -> list[float]:
        return [float(interval.low) / PERCENT, float(interval.high) / PERCENT]

    return {
        name: {
            split: {f"{metric}_mape_pct": ends(apes.mean(mask)) for metric, apes in intervals.items()}
            for split, mask in splits.items()
        }
        for name, intervals in ape_intervals(result, truth).items()
    }


def collection(spec: Collection, runs: Runs) -> dict[str, Any]:
    """The JSON object of a collection: its ranking, and every member's object."""
    return {
        "study": spec.name,
        "ranking": ranking(runs),
        "evidence": evidence(runs),
        "members": {name: study(results, truth) for name, (results, truth) in runs.items()},
    }


def result_record(result: Result, truth: GroundTruth) -> dict[str, Any]:
    """The JSON object of a study on one step model under one scoring."""
    study = result.study
    return {
        "study": study.name,
        "verdict": result.verdict,
        "step_model": study.step_model,
        "scoring": result.scoring,
        "runs": result.runs,
        **evaluation(result.predicted, result.errors, result.groups, truth.experiments),
        "rounding": rounding(result, truth),
        "criteria": [criterion(outcome) for outcome in result.outcomes],
        **({"search": _search(result)} if result.curve else {}),
        **({"grid": _grid(result)} if result.surface else {}),
        **({"waterfall": records(waterfall(result))} if result.waterfall else {}),
    }


def criterion(o: Outcome) -> dict[str, Any]:
    """The JSON object of an accept criterion."""
    c = o.criterion
    judged = {"observed": o.observed, "unit": c.unit, "passed": o.passed}
    return {"name": c.name, "comparison": c.comparison, "threshold": c.threshold} | judged


def _search(result: Result) -> dict[str, Any]:
    assert result.curve is not None
    curve = search_curve(result)
    tried = dict(zip(curve["value_us"], curve["train_tpot_mape_pct"], strict=True))
    return {
        "coarse_us": result.curve.coarse_optimum,
        "optimum_us": result.curve.optimum,
        "curve": [{"value_us": value, "train_tpot_mape_pct": loss} for value, loss in sorted(tried.items())],
    }


def _grid(result: Result) -> dict[str, Any]:
    assert result.surface is not None
    surface = result.surface
    return {
        "points": surface.points,
        "optimum_us": {free.name: float(value) for free, value in zip(surface.free, surface.optimum, strict=True)},
        "train_mape_pct": surface.loss / PERCENT,
        "marginals": records(marginals(result)),
    }
