"""``jaxroof evaluate``: predictions scored against measurements."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxroof import defaults
from jaxroof.catalogue.choice import ModelOptions
from jaxroof.commands.options import measured
from jaxroof.experiments import scores
from jaxroof.experiments.loaded import groups, load_points, predicted_itl_ms
from jaxroof.experiments.recorded import is_loaded
from jaxroof.files import InputError
from jaxroof.report.report import Report, note, sheets
from jaxroof.report.tables import Table, columns
from jaxroof.units import PERCENT


def run(options: ModelOptions, *, scoring: str, ground_truth: Path | None, sampled: int | None, json: bool) -> None:
    """Errors of one set of constants on every experiment."""
    if ground_truth is not None and is_loaded(ground_truth):
        given = {"--scoring": scoring != defaults.SCORING, "--sampled": sampled is not None}
        return _loaded(options, ground_truth, given, json)
    model, truth = measured(options, scoring, ground_truth, sampled)
    note(truth.notes())
    predicted = scores.evaluate({"run": model}, truth.runs, scoring)
    errors = {"run": scores.errors(predicted["run"], truth.runs.measured[scoring])}
    data = {"step_model": model.step, "scoring": scoring}
    data |= scores.evaluation(predicted, errors, truth.groups(), truth.experiments)
    tables = {f"{model.step}, {scoring} scoring": evaluation_table(data)}
    Report("evaluation", data, sheets(tables)).show(json)


def _loaded(options: ModelOptions, path: Path, given: Mapping[str, bool], json: bool) -> None:
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
    predicted = predicted_itl_ms(path, points, options.server, options.settings)
    measured_ms = np.array([point.itl_ms for point in points])
    signed = (predicted / measured_ms - 1) / PERCENT
    rows = [
        {"name": p.name, "batch": p.batch, "measured_ms": m, "itl_ms": ms, "itl_signed_pct": e}
        for p, m, ms, e in zip(points, measured_ms, predicted, signed, strict=True)
    ]
    means = [
        {"group": name, "points": int(mask.sum()), "itl_mape_pct": abs(signed[mask]).mean(),
         "itl_signed_pct": signed[mask].mean(), "itl_worst_pct": abs(signed[mask]).max()}
        for name, mask in groups(points).items()
    ]  # fmt: skip
    data = {"step_model": options.step_model, "points": rows, "aggregate": means}
    tables = {f"{path.name}, ITL": columns(rows), "by group": columns(means)}
    Report("evaluation", data, sheets(tables), digits=2).show(json)


def evaluation_table(data: Mapping[str, Any]) -> Table:
    """The rows of ``evaluate``, then the aggregates."""
    rows = [{"name": e["name"], "split": e["split"], **e["run"]} for e in data["experiments"]]
    for split, mape in data["aggregate"]["run"].items():
        rows.append({"name": f"mean of {split}"} | {k.replace("mape", "ape"): v for k, v in mape.items()})
    return columns(rows)
