"""``jaxroof evaluate``: predictions scored against measurements."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.catalogue.choice import ModelOptions
from jaxroof.commands.options import measured
from jaxroof.experiments import scores
from jaxroof.report import report
from jaxroof.report.tables import Table, columns


def run(options: ModelOptions, *, scoring: str, ground_truth: Path | None, sampled: int | None, json: bool) -> None:
    """Errors of one set of constants on every experiment."""
    model, truth = measured(options, scoring, ground_truth, sampled)
    predicted = scores.evaluate({"run": model}, truth.runs, scoring)
    errors = {"run": scores.errors(predicted["run"], truth.runs.measured[scoring])}
    data = {"step_model": model.step, "scoring": scoring}
    data |= scores.evaluation(predicted, errors, truth.groups(), truth.experiments)
    report.show(data, {f"{model.step}, {scoring} scoring": evaluation_table(data)}, [], json)


def evaluation_table(data: Mapping[str, Any]) -> Table:
    """The rows of ``evaluate``, then the aggregates."""
    rows = [{"name": e["name"], "split": e["split"], **e["run"]} for e in data["experiments"]]
    for split, mape in data["aggregate"]["run"].items():
        rows.append({"name": f"mean of {split}"} | {k.replace("mape", "ape"): v for k, v in mape.items()})
    return columns(rows)
