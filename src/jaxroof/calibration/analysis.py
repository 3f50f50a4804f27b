"""What ``jaxroof calibrate`` finds, in one call: the fit on train, the same fit without each family, the verdict."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxroof import defaults
from jaxroof.calibration.bounds import Bounded
from jaxroof.calibration.fit import STARTS, Calibration, calibrate, most_free
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.runs import settled
from jaxroof.step import Model
from jaxroof.studies.criteria import Criterion, Outcome, observed_mape, verdict


@dataclasses.dataclass(frozen=True)
class CalibrationResult:
    """The fit on the train split, and what says whether to trust it.

    ``model`` is as it stood before, its constants not yet fitted; ``metric`` (``ttft``, ``tpot`` or ``e2e``) under
    ``scoring`` is what was fitted, by ``loss``. ``left_out[family]`` is the same fit on all experiments but that
    family's. ``outcomes`` are those of the criteria, in pp or %, whose TPOT stands for the metric.
    """

    model: Model
    scoring: str
    metric: str
    loss: str
    fit: Calibration
    left_out: Mapping[str, Calibration]
    outcomes: Sequence[Outcome]

    @property
    def calibrated(self) -> bool:
        """Whether the train experiments are enough for so many constants; else it is a fit to noise."""
        return len(self.fit.free) <= most_free(int(self.fit.train.sum()))

    @property
    def verdict(self) -> str:
        """What the criteria say together."""
        return verdict([outcome.passed for outcome in self.outcomes])


def calibrate_folds(
    model: Model, truth: GroundTruth, free: Sequence[Bounded], criteria: Sequence[Criterion], *,
    scoring: str = defaults.SCORING, metric: str = "tpot", loss: str = "mape", starts: int = STARTS, seed: int = 0,
) -> CalibrationResult:  # fmt: skip
    """Fit ``free`` on the train split, judge it by ``criteria`` on train and test, fit again without each family."""
    model = settled(model, truth.runs)
    families = {name: mask for name, mask in truth.by("family").items() if not mask.all()}
    train = np.stack([truth.by("split")["train"], *(~mask for mask in families.values())])
    fit, *others = calibrate(
        model, truth.runs, free, train, scoring=scoring, metric=metric, loss=loss, starts=starts, seed=seed
    )
    outcomes = [Outcome(c, float(observed_mape(c, *fit.split(fit.after)))) for c in criteria]
    return CalibrationResult(model, scoring, metric, loss, fit, dict(zip(families, others, strict=True)), outcomes)
