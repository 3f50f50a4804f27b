"""``jaxroof sensitivity``: what every constant does to every error."""

from pathlib import Path

from jaxroof.catalogue.choice import ModelOptions
from jaxroof.commands.options import measured
from jaxroof.files import check, check_writable
from jaxroof.report import report
from jaxroof.report.folder import write_files
from jaxroof.sensitivity import findings
from jaxroof.sensitivity.analysis import PER, analyse
from jaxroof.sensitivity.derivatives import METRICS_AND_ITL
from jaxroof.sensitivity.record import record
from jaxroof.sensitivity.tables import tables


def run(
    choice: ModelOptions, *, scoring: str, ground_truth: Path | None, metric: str, per: str,
    out: Path | None, json: bool,
) -> None:  # fmt: skip
    """Differentiate all four metrics; print tables of one, or one JSON object; fill the folder ``out``."""
    check.one_of("--metric", "value", metric, METRICS_AND_ITL)
    check.one_of("--per", "value", per, PER)
    model, truth = measured(choice, scoring, ground_truth)
    check_writable(out)
    data = record(analyse(model, truth, scoring=scoring, per=per))
    if out is not None:
        again = choice.command(
            "sensitivity", scoring=scoring, ground_truth=ground_truth, metric=metric, per=per, out=out
        )
        write_files(out, findings.files(data, metric, again))
    report.show(data, tables(data, metric), findings.answers(data, metric), json)
