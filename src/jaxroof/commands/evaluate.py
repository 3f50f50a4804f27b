"""``jaxroof evaluate``: predictions scored against measurements."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from jaxroof.catalogue.choice import Constants
from jaxroof.commands.options import measured
from jaxroof.experiments import scores
from jaxroof.report import report


def run(constants: Constants, *, scoring: str, ground_truth: Path | None, seed: int | None, json: bool) -> None:
    """Errors of one set of constants on every experiment."""
    step_model = constants.step_model
    tier0, truth = measured(constants, scoring, ground_truth, seed)
    predicted = scores.evaluate({"run": tier0}, truth.runs, scoring, {"run": step_model})
    errors = {"run": scores.errors(predicted["run"], truth.runs.measured[scoring])}
    data = {"step_model": step_model, "scoring": scoring}
    data |= scores.evaluation(predicted, errors, truth.groups(), truth.experiments)
    report.show(data, {f"{step_model}, {scoring} scoring": evaluation_table(data)}, [], json)


def evaluation_table(data: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of ``evaluate``, then the aggregates."""
    rows = [{"name": e["name"], "split": e["split"], **e["run"]} for e in data["experiments"]]
    for split, mape in data["aggregate"]["run"].items():
        rows.append({"name": f"mean of {split}"} | {k.replace("mape", "ape"): v for k, v in mape.items()})
    return pd.DataFrame(rows)
