"""``jaxroof sensitivity``: what every constant does to every error."""

from pathlib import Path

from jaxroof.catalogue.choice import ModelOptions
from jaxroof.commands.options import measured
from jaxroof.files import check
from jaxroof.report.folder import check_out
from jaxroof.report.report import note
from jaxroof.sensitivity import findings
from jaxroof.sensitivity.analysis import PER, analyse
from jaxroof.sensitivity.derivatives import METRICS_AND_ITL
from jaxroof.sensitivity.record import record


def run(
    choice: ModelOptions, *, scoring: str, ground_truth: Path | None, metric: str, per: str,
    out: Path | None, force: bool, json: bool,
) -> None:  # fmt: skip
    """Differentiate all four metrics; print tables of one, or one JSON object; fill the folder ``out``."""
    check.one_of("--metric", "value", metric, METRICS_AND_ITL)
    check.one_of("--per", "value", per, PER)
    model, truth = measured(choice, scoring, ground_truth)
    check_out(out, findings.NAME, force)
    note(truth.notes())
    data = record(analyse(model, truth, scoring=scoring, per=per))
    again = choice.command("sensitivity", scoring=scoring, ground_truth=ground_truth, metric=metric, per=per, out=out)
    findings.sensitivity_report(data, metric, again).deliver(out, force, json)
