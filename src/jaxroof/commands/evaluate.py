"""``jaxroof evaluate``: predictions scored against measurements."""

from pathlib import Path

from jaxroof import study as core_study
from jaxroof.commands.options import Constants, measured
from jaxroof.outputs import records, report, tables


def run(constants: Constants, *, scoring: str, ground_truth: Path | None, seed: int | None, json: bool) -> None:
    """Errors of one set of constants on every experiment."""
    step_model = constants.step_model
    tier0, truth = measured(constants, scoring, ground_truth, seed)
    predicted = core_study.evaluate({"run": tier0}, truth.runs, scoring, {"run": step_model})
    errors = {"run": core_study.errors(predicted["run"], truth.runs.measured[scoring])}
    data = {"step_model": step_model, "scoring": scoring}
    data |= records.evaluation(predicted, errors, truth.groups(), truth.experiments)
    report.show(data, {f"{step_model}, {scoring} scoring": tables.evaluation_table(data)}, [], json)
