"""``jaxroof evaluate``: predictions scored against measurements."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxroof import defaults
from jaxroof.catalogue.choice import ModelOptions
from jaxroof.commands.options import measured
from jaxroof.experiments import scores
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.intervals import inside, point_bounds, run_bounds
from jaxroof.experiments.loaded import groups, load_points
from jaxroof.experiments.metrics import METRICS
from jaxroof.experiments.recorded import is_loaded
from jaxroof.experiments.runs import settled
from jaxroof.files import InputError
from jaxroof.intervals.bounds import Bounds, check_samples
from jaxroof.intervals.words import end_name, interval_in_words, interval_record
from jaxroof.report.report import Report, note, sheets
from jaxroof.report.tables import Table, columns
from jaxroof.step import Model
from jaxroof.units import MILLI, PERCENT


def run(
    options: ModelOptions, *, scoring: str, ground_truth: Path | None, sampled: int | None, samples: int | None,
    json: bool,
) -> None:  # fmt: skip
    """Errors of one set of constants on every experiment, and which measurements lie in the intervals."""
    check_samples("evaluate", samples)
    if ground_truth is not None and is_loaded(ground_truth):
        given = {"--scoring": scoring != defaults.SCORING, "--sampled": sampled is not None}
        return _loaded(options, ground_truth, given, samples, json)
    model, truth = measured(options, scoring, ground_truth, sampled)
    note(truth.notes())
    predicted = scores.evaluate({"run": model}, truth.runs, scoring)
    errors = {"run": scores.errors(predicted["run"], truth.runs.measured[scoring])}
    data: dict[str, Any] = {"step_model": model.step, "scoring": scoring}
    data |= scores.evaluation(predicted, errors, truth.groups(), truth.experiments)
    _add_intervals(data, truth, _bounds(options, model, truth, scoring, samples), scoring)
    tables = {f"{model.step}, {scoring} scoring": evaluation_table(data)}
    said = _in_words(data["interval"], "tpot_low_ms, tpot_high_ms", data["inside"]["all"]["tpot_pct"])
    Report("evaluation", data, sheets(tables), said).show(json)


def _bounds(options: ModelOptions, model: Model, truth: GroundTruth, scoring: str, samples: int | None) -> Bounds:
    """Of all runs; where they were measured on several servers, the constants of these have no range."""
    servers = {options.server or e.server or defaults.server(model.step) for e in truth.experiments}
    if len(servers) == 1:
        return run_bounds(settled(model, truth.runs), truth.runs, options.ranges(*servers), scoring, samples)
    ranges = {key: of for key, of in options.ranges().items() if not key.startswith("server.")}
    return run_bounds(model, truth.runs, ranges, scoring, samples)


def _add_intervals(data: dict[str, Any], truth: GroundTruth, bounds: Bounds, scoring: str) -> None:
    """Both ends of each prediction, whether the measurement lies between them, and how many do."""
    within = {}
    for name in METRICS:
        values, *ends = (np.asarray(of[name]) for of in (truth.runs.measured[scoring], bounds.low, bounds.high))
        within[name] = inside(values, *ends)
        for experiment, low, high, lies in zip(data["experiments"], *ends, within[name], strict=True):
            experiment["run"] |= {
                end_name(f"{name}_ms", "low"): low / MILLI,
                end_name(f"{name}_ms", "high"): high / MILLI,
            }
            experiment["run"][f"{name}_inside"] = bool(lies)
    data["inside"] = {
        split: {f"{name}_pct": float(lie[mask].mean()) / PERCENT for name, lie in within.items()}
        for split, mask in scores.splits(truth.groups()).items()
    }
    data["interval"] = interval_record(bounds)


def _loaded(options: ModelOptions, path: Path, given: Mapping[str, bool], samples: int | None, json: bool) -> None:
    """Errors of the ITL on points of loaded servers, which name their hardware; only ``kernels`` knows batches."""
    others = {
        "--step-model": options.step_model != defaults.STEP_MODEL,
        "--hardware": options.hardware != defaults.HARDWARE,
        "--formula": options.formula is not None,
        "--mfu-tables": options.mfu_tables is not None,
    }
    if option := next((option for option, is_given in {**others, **given}.items() if is_given), None):
        raise InputError(path, option, "is not for points of loaded servers: they name all but --server and --set")
    points = load_points(path)
    found = point_bounds(path, points, options.server, options.settings, samples)
    measured_ms = np.array([point.itl_ms for point in points])
    signed, lies = (found.itl_ms / measured_ms - 1) / PERCENT, inside(measured_ms, found.low_ms, found.high_ms)
    rows = [
        {"name": point.name, "batch": point.batch, "measured_ms": point.itl_ms, "itl_ms": found.itl_ms[i],
         "itl_low_ms": found.low_ms[i], "itl_high_ms": found.high_ms[i], "inside": bool(lies[i]),
         "itl_signed_pct": signed[i]}
        for i, point in enumerate(points)
    ]  # fmt: skip
    means = [
        {"group": name, "points": int(mask.sum()), "itl_mape_pct": abs(signed[mask]).mean(),
         "itl_signed_pct": signed[mask].mean(), "itl_worst_pct": abs(signed[mask]).max(),
         "inside_pct": lies[mask].mean() / PERCENT}
        for name, mask in groups(points).items()
    ]  # fmt: skip
    interval = interval_record(*found.each)
    data = {"step_model": options.step_model, "points": rows, "aggregate": means, "interval": interval}
    shown = [row | {"inside": "yes" if row["inside"] else "no"} for row in rows]
    tables = {f"{path.name}, ITL": columns(shown), "by group": columns(means)}
    said = _in_words(interval, "itl_low_ms, itl_high_ms", lies.mean() / PERCENT)
    Report("evaluation", data, sheets(tables), said, digits=2).show(json)


def _in_words(interval: Mapping[str, Any], ends: str, inside_pct: float) -> list[str]:
    return [interval_in_words(interval, ends), f"{inside_pct:.0f} % of the measurements lie in theirs."]


# What the table has no room for is in the JSON object.
HIDDEN = ("ttft_low_ms", "ttft_high_ms", "ttft_inside", "e2e_low_ms", "e2e_high_ms", "e2e_inside", "tpot_inside")


def evaluation_table(data: Mapping[str, Any]) -> Table:
    """The rows of ``evaluate``, then the aggregates."""
    rows = [{"name": e["name"], "split": e["split"], **e["run"]} for e in data["experiments"]]
    for split, mape in data["aggregate"]["run"].items():
        rows.append({"name": f"mean of {split}"} | {k.replace("mape", "ape"): v for k, v in mape.items()})
    return columns([{k: v for k, v in row.items() if k not in HIDDEN} for row in rows])
