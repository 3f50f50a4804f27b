"""``jaxroof calibrate``: load, fit on every fold at once, write."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxroof.calibration import findings, record
from jaxroof.calibration.fit import STAGES, Calibration, calibrate, most_free
from jaxroof.calibration.free_constants import OPTION, load_free
from jaxroof.catalogue.choice import ModelOptions
from jaxroof.commands.options import measured
from jaxroof.experiments.metrics import METRICS
from jaxroof.files import COUNT, InputError, Range, check_writable, write_folder
from jaxroof.files.check import number, one_of
from jaxroof.parameters import Mask
from jaxroof.report import report


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
        number("--starts", "value", self.starts, COUNT)
        number("--seed", "value", self.seed, Range(whole=True))


def run(
    options: ModelOptions, fit: Fit, *, scoring: str, ground_truth: Path | None, out: Path | None, json: bool
) -> None:
    """Fit on the train split and with each family left out; print tables, or one JSON object; fill ``out``."""
    fit.check()
    model, truth = measured(options, scoring, ground_truth)
    free = load_free(fit.free, model)
    groups, where = truth.groups(), str(ground_truth or "the 13 H100 runs")
    _check_size(where, len(free), groups, fit.force)
    if out is not None:
        check_writable(out)
    masks = {"train": groups["train"]} | {
        f"without {m}": ~groups[m] for m in dict.fromkeys(e.model for e in truth.experiments) if not groups[m].all()
    }
    fits = calibrate(
        model, truth.runs, free, np.stack(list(masks.values())), scoring=scoring,
        metric=fit.metric, loss=fit.loss, starts=fit.starts, seed=fit.seed,
    )  # fmt: skip
    data = record.results(
        dict(zip(masks, fits, strict=True)),
        {"step_model": model.step, "scoring": scoring, "metric": fit.metric, "loss": fit.loss,
         "ground_truth": where, "formula": options.overheads_source(),
         "set": [setting.partition("=")[0] for setting in options.settings]},
    )  # fmt: skip
    report.dump(data)  # refused before anything is written where a result is no number
    if out is not None:
        formula = findings.formula(data, fits[0], model)
        again = command(options, fits[0], scoring, ground_truth, out / findings.FORMULA if formula else None)
        write_folder(out, lambda draft: findings.fill(draft, data, formula, again))
    report.show(data, findings.tables(data), findings.sentences(data), json)


def command(
    options: ModelOptions, fit: Calibration, scoring: str, ground_truth: Path | None, formula: Path | None
) -> str:
    """The command line that evaluates the fitted constants; ``formula`` is the file of the overheads among them."""
    fitted = [f"{k}={v!r}" for k, v in fit.settings().items() if not k.startswith("overheads.")]
    kept = [s for s in options.settings if s.partition("=")[0] not in fit.settings()]
    used = dataclasses.replace(
        options, settings=[*kept, *fitted],
        formula=str(formula) if formula else options.formula,
    )  # fmt: skip
    truth = [] if ground_truth is None else [f"--ground-truth={ground_truth}"]
    return shlex.join(["jaxroof", "evaluate", *used.words(), f"--scoring={scoring}", *truth])


def _check_size(where: str, free: int, groups: Mapping[str, Mask], force: bool) -> None:
    """A guard needs both splits, and a calibration fewer constants than half its experiments. Raises InputError."""
    for split in ("train", "test"):
        if split not in groups:
            raise InputError(where, "split", f"no experiment is in {split}, so a calibration cannot be judged")
    train = int(groups["train"].sum())
    if free > most_free(train) and not force:
        raise InputError(
            OPTION,
            f"{free} constants",
            f"{train} train experiments calibrate at most {most_free(train)} (--force fits them all the same)",
        )
