"""Results as DataFrames and as the JSON of the CLI contract."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxroof.ground_truth import Experiment, GroundTruth, Published
from jaxroof.params import Latency
from jaxroof.predict import Prediction
from jaxroof.step import StepTime
from jaxroof.study import Result, aggregate
from jaxroof.units import MILLI, PERCENT


def results(result: Result, experiments: Sequence[Experiment]) -> dict[str, Any]:
    """The JSON object of a study."""
    study = result.study
    return {
        "study": study.name,
        "verdict": result.verdict,
        "step_model": study.step_model,
        "scoring": result.scoring,
        "runs": result.runs,
        **evaluation(result.predicted, result.errors, result.groups, experiments),
        "criteria": [
            {
                "name": o.criterion.name,
                "comparison": o.criterion.comparison,
                "threshold": o.criterion.threshold,
                "observed": o.observed,
                "unit": o.criterion.unit,
                "passed": o.passed,
            }
            for o in result.outcomes
        ],
        **({"search": _search(result)} if result.curve else {}),
    }


def evaluation(
    predicted: Mapping[str, Latency],
    errors: Mapping[str, Mapping[str, np.ndarray]],
    groups: Mapping[str, np.ndarray],
    experiments: Sequence[Experiment],
) -> dict[str, Any]:
    """Configurations, experiments and aggregates: what ``study`` and ``evaluate`` share."""
    splits = {name: aggregate(errors, groups[name]) for name in ("train", "test", "all") if name in groups}
    return {
        "configurations": list(predicted),
        "experiments": [
            {"name": e.name, "split": e.split, "family": e.model}
            | {name: _row(latency, errors[name], i) for name, latency in predicted.items()}
            for i, e in enumerate(experiments)
        ],
        "aggregate": {name: {split: table[name] for split, table in splits.items()} for name in predicted},
    }


def _row(latency: Latency, errors: Mapping[str, np.ndarray], i: int) -> dict[str, float]:
    milliseconds = {f"{name}_ms": float(getattr(latency, f"{name}_s")[i]) / MILLI for name in ("ttft", "tpot", "e2e")}
    return milliseconds | {name: float(column[i]) for name, column in errors.items()}


def _search(result: Result) -> dict[str, Any]:
    assert result.curve is not None
    curve = search_curve(result).sort_values("value_us")
    return {
        "coarse_us": result.curve.coarse_optimum,
        "optimum_us": result.curve.optimum,
        "curve": curve[["value_us", "train_tpot_mape_pct"]].drop_duplicates("value_us").to_dict("records"),
    }


def search_curve(result: Result, published: Sequence[Published] = ()) -> pd.DataFrame:
    """Train loss at every value of the search, by pass, the published loss beside it."""
    assert result.curve is not None
    passes = {
        "coarse": (result.curve.coarse_values, result.curve.coarse_loss),
        "fine": (result.curve.fine_values, result.curve.fine_loss),
    }
    frames = [
        pd.DataFrame({"pass": name, "value_us": values, "train_tpot_mape_pct": loss / PERCENT})
        for name, (values, loss) in passes.items()
    ]
    curve = pd.concat(frames, ignore_index=True)
    figures = _published(result, published)
    theirs = [figures.get(("curve", f"{value:g} us", "train_tpot_mape_pct"), np.nan) for value in curve["value_us"]]
    return curve.assign(published_pct=theirs).dropna(axis="columns", how="all")


def predictions(result: Result, truth: GroundTruth) -> pd.DataFrame:
    """One row per (experiment, configuration): measured, predicted, errors, and the published APE."""
    measured, published = truth.runs.measured[result.scoring], _published(result, truth.published)
    rows = []
    for name, latency in result.predicted.items():
        for i, e in enumerate(truth.experiments):
            recorded = {
                f"measured_{m}_ms": float(getattr(measured, f"{m}_s")[i]) / MILLI for m in ("ttft", "tpot", "e2e")
            }
            labels = {"experiment": e.name, "split": e.split, "workload": e.workload, "tp": e.tp, "configuration": name}
            theirs = {"published_tpot_ape_pct": published.get((name, e.name, "tpot_ape_pct"), np.nan)}
            rows.append(labels | recorded | _row(latency, result.errors[name], i) | theirs)
    return pd.DataFrame(rows)


def by_experiment(result: Result, truth: GroundTruth) -> pd.DataFrame:
    """TPOT APE per experiment: ours beside the published, per configuration, and the change from the baseline."""
    published = _published(result, truth.published)
    table: dict[str, Any] = {
        "experiment": [e.name for e in truth.experiments],
        "split": [e.split for e in truth.experiments],
    }
    for name, errors in result.errors.items():
        table[f"{name} TPOT"] = errors["tpot_ape_pct"]
        theirs = [published.get((name, e.name, "tpot_ape_pct"), np.nan) for e in truth.experiments]
        if not np.isnan(theirs).all():
            table[f"{name} published"] = theirs
    baseline, last = result.study.baseline, list(result.errors)[-1]
    table[f"{baseline}→{last}"] = result.errors[last]["tpot_ape_pct"] - result.errors[baseline]["tpot_ape_pct"]
    return pd.DataFrame(table)


def by_group(result: Result, truth: GroundTruth, names: Sequence[str]) -> pd.DataFrame:
    """MAPE per group and configuration, the published beside ours where there is one."""
    published = _published(result, truth.published)
    rows: list[dict[str, Any]] = []
    for group in names:
        for name, mape in aggregate(result.errors, result.groups[group]).items():
            row: dict[str, Any] = {"group": group, "N": int(result.groups[group].sum()), "configuration": name}
            for metric in ("tpot", "e2e", "ttft"):
                row[metric.upper()] = mape[f"{metric}_mape_pct"]
                row[f"{metric.upper()} published"] = published.get((name, group, f"{metric}_mape_pct"), np.nan)
            rows.append(row)
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def criteria(result: Result) -> pd.DataFrame:
    """The accept criteria and what was observed."""
    rows = [
        {
            "criterion": o.criterion.name,
            "threshold": f"{o.criterion.comparison} {o.criterion.threshold:g} {o.criterion.unit}",
            "observed": f"{o.observed:.2f} {o.criterion.unit}",
            "result": "pass" if o.passed else "fail",
        }
        for o in result.outcomes
    ]
    return pd.DataFrame(rows)


def evaluation_table(data: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of ``evaluate``, then the aggregates."""
    rows = [{"name": e["name"], "split": e["split"], **e["run"]} for e in data["experiments"]]
    for split, mape in data["aggregate"]["run"].items():
        rows.append({"name": f"mean of {split}"} | {k.replace("mape", "ape"): v for k, v in mape.items()})
    return pd.DataFrame(rows)


def prediction(p: Prediction, output: int) -> dict[str, Any]:
    """The JSON object of ``predict``; a single output token has no ITL."""
    ms = {name: float(getattr(p.latency, f"{name}_s")) / MILLI for name in ("ttft", "tpot", "e2e")}
    return {
        "ttft_ms": ms["ttft"],
        "itl_ms": ms["tpot"] if output > 1 else None,
        "e2e_ms": ms["e2e"],
        "tpot_e2e_per_token_ms": ms["e2e"] / output,
        "breakdown": {
            f"{metric}_{row['part']}_ms": row["ms"]
            for metric, step in (("ttft", p.prefill), ("itl", p.decode))
            for row in breakdown(step).to_dict("records")
        },
    }


def breakdown(step: StepTime) -> pd.DataFrame:
    """Parts of a step on one GPU, slowest first: time, share, work, and the side that binds."""
    rows = [
        {
            "part": name,
            "ms": float(part.seconds) / MILLI,
            "share_pct": float(part.seconds / step.total_s) / PERCENT,
            "bytes": float(part.bytes),
            "flops": float(part.flops),
            "bound": "memory" if part.memory_s >= part.compute_s else "compute",
        }
        for name, part in step.parts.items()
        if part.seconds > 0
    ]
    rows.sort(key=lambda row: -row["ms"])
    overhead = {"part": "overhead", "ms": float(step.overhead_s) / MILLI}
    overhead |= {"share_pct": float(step.overhead_s / step.total_s) / PERCENT, "bound": "overhead"}
    return pd.DataFrame([*rows, overhead])


def _published(result: Result, published: Sequence[Published]) -> dict[tuple[str, str, str], float]:
    """(configuration, subject, metric) → figure of this study; only under the scoring it was published in."""
    if result.scoring != "published":
        return {}
    return {(p.configuration, p.subject, p.metric): p.value for p in published if p.study == result.study.name}
