"""Results as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxroof.experiments import metrics, rounding
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.metrics import METRICS
from jaxroof.experiments.recorded import Published
from jaxroof.experiments.rounding import Interval
from jaxroof.experiments.scores import aggregate, milliseconds_and_errors
from jaxroof.parameters import Mask
from jaxroof.report.tables import Columns, columns, without_empty
from jaxroof.studies.criteria import Outcome
from jaxroof.studies.grid_search import Curve, Surface
from jaxroof.studies.run import Result
from jaxroof.units import MILLI, PERCENT

PASSED = {True: "pass", False: "fail"}


def search_curve(curve: Curve, result: Result, published: Sequence[Published] = ()) -> Columns:
    """Loss at every value of the search, by pass, on its split; the published loss beside it."""
    figures, values = _published(result, published), np.concatenate([curve.coarse_values, curve.fine_values])
    return without_empty({
        "pass": ["coarse"] * len(curve.coarse_values) + ["fine"] * len(curve.fine_values),
        "value_us": values,
        "train_tpot_mape_pct": np.concatenate([curve.coarse_loss, curve.fine_loss]) / PERCENT,
        "published_pct": [figures.get(("curve", f"{x:g} us", "train_tpot_mape_pct"), np.nan) for x in values],
    })  # fmt: skip


def marginals(surface: Surface) -> Columns:
    """Least loss, on the split of the search, at each value of each free constant, the others at their best."""
    tried = [
        {"constant": free.name, "value_us": float(value), "train_mape_pct": float(share / PERCENT)}
        for free, loss in zip(surface.free, surface.marginals, strict=True)
        for value, share in zip(free.values(), loss, strict=True)
    ]
    return columns(tried)


def predictions(result: Result, truth: GroundTruth) -> Columns:
    """One row per (experiment, configuration): measured, predicted, errors, and the published APE."""
    measured, published = truth.runs.measured[result.scoring], _published(result, truth.published)
    found = []
    for name, latency in result.predicted.items():
        for i, e in enumerate(truth.experiments):
            recorded = {f"measured_{m}_ms": float(measured[m][i]) / MILLI for m in METRICS}
            labels = {"experiment": e.name, "split": e.split, "workload": e.workload, "tp": e.tp, "configuration": name}
            theirs = {"published_tpot_ape_pct": published.get((name, e.name, "tpot_ape_pct"), np.nan)}
            found.append(labels | recorded | milliseconds_and_errors(latency, result.errors[name], i) | theirs)
    return columns(found)


def by_experiment(result: Result, truth: GroundTruth) -> Columns:
    """TPOT APE per experiment: ours beside the published, per configuration, and the change from the baseline."""
    published = _published(result, truth.published)
    table: Columns = {"experiment": [e.name for e in truth.experiments], "split": [e.split for e in truth.experiments]}
    for name, errors in result.errors.items():
        table[f"{name} TPOT"] = errors["tpot_ape_pct"]
        theirs = [published.get((name, e.name, "tpot_ape_pct"), np.nan) for e in truth.experiments]
        if not np.isnan(theirs).all():
            table[f"{name} published"] = theirs
    baseline, last = result.study.baseline, list(result.errors)[-1]
    table[f"{baseline}→{last}"] = result.errors[last]["tpot_ape_pct"] - result.errors[baseline]["tpot_ape_pct"]
    return table


def by_group(result: Result, truth: GroundTruth, groups: Mapping[str, Mask]) -> Columns:
    """MAPE per group and configuration, the ends that rounded measurements leave open, the published beside ours."""
    published, intervals = _published(result, truth.published), ape_intervals(result, truth)
    rows: list[dict[str, Any]] = []
    for group, mask in groups.items():
        for name, errors in result.errors.items():
            row: dict[str, Any] = {"group": group, "N": int(mask.sum()), "configuration": name}
            for metric in ("tpot", "e2e", "ttft"):
                row[metric.upper()] = aggregate(errors, mask)[f"{metric}_mape_pct"]
                ends = intervals[name][metric].mean(mask)
                row |= {f"{metric.upper()} low": ends.low / PERCENT, f"{metric.upper()} high": ends.high / PERCENT}
                row[f"{metric.upper()} published"] = published.get((name, group, f"{metric}_mape_pct"), np.nan)
            rows.append(row)
    return without_empty(columns(rows))


def ape_intervals(result: Result, truth: GroundTruth) -> dict[str, dict[str, Interval]]:
    """Per configuration and metric the APEs ``[experiment]``, as shares, that records in 0.1 ms leave open."""
    ends = rounding.scored(rounding.recorded(truth.runs.measured["published"]), result.scoring)
    return {
        name: {metric: rounding.ape(latency[metric], ends[metric]) for metric in METRICS}
        for name, latency in result.predicted.items()
    }


def signed(result: Result, truth: GroundTruth) -> Columns:
    """Signed TPOT error per experiment and configuration."""
    labels: Columns = {"experiment": [e.name for e in truth.experiments], "tp": [e.tp for e in truth.experiments]}
    return labels | {name: errors["tpot_signed_pct"] for name, errors in result.errors.items()}


def requests(result: Result, truth: GroundTruth) -> Columns:
    """Signed TTFT and E2E errors of the last configuration, E2E at realised and at nominal output tokens."""
    predicted, measured = list(result.predicted.values())[-1], truth.runs.measured["e2e_per_token"]
    realised = metrics.realised_output_tokens(measured)
    nominal = np.array([truth.workloads[e.workload].output.mean for e in truth.experiments])
    itl = (predicted.e2e_s - predicted.ttft_s) / (realised - 1)
    errors = {
        "TTFT": metrics.signed_error(predicted.ttft_s, measured.ttft_s),
        "E2E realised": metrics.signed_error(predicted.e2e_s, measured.e2e_s),
        "E2E nominal": metrics.signed_error(predicted.ttft_s + (nominal - 1) * itl, measured.e2e_s),
    }
    return {
        "experiment": [*(e.name for e in truth.experiments), "mean |error|"],
        "realised tokens": [*realised, np.nan],
        "nominal tokens": [*nominal, np.nan],
        **{name: [*(error / PERCENT), abs(error / PERCENT).mean()] for name, error in errors.items()},
    }


def waterfall(result: Result) -> Columns:
    """TPOT MAPE and mean signed error as the terms of the decode step are switched on one at a time."""
    rows = []
    for stage in result.waterfall:
        error = metrics.signed_error(stage.predicted_s, stage.measured_s) / PERCENT
        row = {"term": stage.term, "mean_predicted_ms": float(stage.predicted_s.mean()) / MILLI}
        rows.append(row | {"tpot_mape_pct": float(abs(error).mean()), "tpot_signed_pct": float(error.mean())})
    return columns(rows)


def criteria(outcomes: Sequence[Outcome]) -> Columns:
    """The accept criteria and what was observed."""
    rows = [
        {
            "criterion": o.criterion.name,
            "threshold": f"{o.criterion.comparison} {o.criterion.threshold:g} {o.criterion.unit}",
            "observed": f"{o.observed:.2f} {o.criterion.unit}",
            "result": PASSED[o.passed],
        }
        for o in outcomes
    ]
    return columns(rows)


def judged(criteria: Sequence[Mapping[str, Any]]) -> Columns:
    """The JSON objects of criteria, pass or fail in words."""
    return columns([{**row, "passed": PASSED[row["passed"]]} for row in criteria])


def _published(result: Result, published: Sequence[Published]) -> dict[tuple[str, str, str], float]:
    """(configuration, subject, metric) → figure of this study; only under the scoring it was published in."""
    if result.scoring != "published":
        return {}
    return {(p.configuration, p.subject, p.metric): p.value for p in published if p.study == result.study.name}
