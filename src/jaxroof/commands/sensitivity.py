"""``jaxroof sensitivity``: what every constant does to every error."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from jaxroof.catalogue.choice import ModelOptions
from jaxroof.commands.options import measured
from jaxroof.files import check, check_writable, write_folder
from jaxroof.report import report
from jaxroof.sensitivity import findings
from jaxroof.sensitivity.analysis import PER, analyse
from jaxroof.sensitivity.derivatives import METRICS
from jaxroof.sensitivity.record import record
from jaxroof.sensitivity.tables import tables


def run(
    choice: ModelOptions, *, scoring: str, ground_truth: Path | None, metric: str, per: str,
    out: Path | None, json: bool,
) -> None:  # fmt: skip
    """Differentiate all four metrics; print tables of one, or one JSON object; fill the folder ``out``."""
    check.one_of("--metric", "value", metric, METRICS)
    check.one_of("--per", "value", per, PER)
    model, truth = measured(choice, scoring, ground_truth)
    if out is not None:
        check_writable(out)
    data = record(analyse(model, truth, scoring=scoring, per=per))
    if out is not None:
        options = {"scoring": scoring, "ground-truth": ground_truth, "metric": metric, "per": per, "out": out}
        write_folder(out, lambda draft: findings.fill(draft, data, metric, command(choice, options)))
    report.show(data, tables(data, metric), findings.answers(data, metric), json)


def command(choice: ModelOptions, options: Mapping[str, object]) -> str:
    """The command line that runs this again."""
    words = [f"--{name}={value}" for name, value in options.items() if value is not None]
    return shlex.join(["jaxroof", "sensitivity", *choice.words(), *words])
