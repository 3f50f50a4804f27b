"""``jaxroof calibrate``: load, fit on every fold at once, write."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jaxroof.calibration import findings, record
from jaxroof.calibration.analysis import CalibrationResult, calibrate_folds
from jaxroof.calibration.fit import STAGES
from jaxroof.calibration.free_constants import check_size, load_free
from jaxroof.catalogue.choice import ModelOptions
from jaxroof.commands.options import measured
from jaxroof.experiments.metrics import METRICS
from jaxroof.experiments.runs import settled
from jaxroof.files import COUNT, Range
from jaxroof.files.check import number, one_of
from jaxroof.report.folder import check_out
from jaxroof.report.report import note
from jaxroof.request.limits import TAKE_TIME, check_takes_time
from jaxroof.studies.load import load_study

# All starts of all folds descend side by side: so many take a gigabyte and half a minute with the quickest model.
STARTS = dataclasses.replace(COUNT, high=10_000, limit="starts side by side")


@dataclasses.dataclass(frozen=True)
class Fit:
    """The options that say what is fitted, and how."""

    free: Sequence[str]
    metric: str
    loss: str
    starts: int
    seed: int
    force: bool

    def check(self) -> None:
        """Raises InputError."""
        one_of("--metric", "value", self.metric, METRICS)
        one_of("--loss", "value", self.loss, STAGES)
        number("--starts", "value", self.starts, STARTS)
        number("--seed", "value", self.seed, Range(whole=True))


def run(
    options: ModelOptions, fit: Fit, *, scoring: str, ground_truth: Path | None, out: Path | None, json: bool
) -> None:
    """Fit on the train split and with each family left out; print tables, or one JSON object; fill ``out``."""
    fit.check()
    model, truth = measured(options, scoring, ground_truth, moved=TAKE_TIME)
    model = settled(model, truth.runs)
    free, where = load_free(fit.free, model), str(ground_truth or "the 13 H100 runs")
    check_takes_time("--step-model", model, [key for constant in free for key in constant.keys])
    check_size(where, len(free), truth, fit.force)
    check_out(out, findings.NAME, fit.force)
    note(truth.notes())
    result = calibrate_folds(
        model, truth, free, load_study("hg1").criteria, scoring=scoring,
        metric=fit.metric, loss=fit.loss, starts=fit.starts, seed=fit.seed,
    )  # fmt: skip
    data = record.results(result, where, options.overheads_source(), options.settings)
    formula = findings.formula(result, data)
    path = str(out / findings.FORMULA) if out and formula else options.formula
    again = options.command("calibrate", scoring=scoring, ground_truth=ground_truth, **vars(fit), out=out)
    using = command(options, result, path, ground_truth)
    findings.calibration_report(data, formula, using, again).deliver(out, fit.force, json)


def command(options: ModelOptions, result: CalibrationResult, formula: str | None, ground_truth: Path | None) -> str:
    """The command line that evaluates the fitted constants; the overheads among them are in the file ``formula``."""
    values = result.fit.settings()
    fitted = [f"{key}={value!r}" for key, value in values.items() if not key.startswith("overheads.")]
    kept = [setting for setting in options.settings if setting.partition("=")[0] not in values]
    used = dataclasses.replace(options, settings=[*kept, *fitted], formula=formula)
    return used.command("evaluate", scoring=result.scoring, ground_truth=ground_truth)
