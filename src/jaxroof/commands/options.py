"""What several commands load: the constants and the measurements to compare them with."""

from pathlib import Path

from jaxroof.catalogue.choice import Constants, refuse_mixture
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.load import load_ground_truth
from jaxroof.experiments.metrics import SCORINGS
from jaxroof.files import Range, check
from jaxroof.parameters import Tier0
from jaxroof.report import report


def measured(
    constants: Constants, scoring: str, ground_truth: Path | None, seed: int | None = None
) -> tuple[Tier0, GroundTruth]:
    """Constants, and the measurements to compare with under ``scoring``. Raises InputError."""
    tier0, step_model = constants.tier0(), constants.step_model
    check.one_of("--scoring", "value", scoring, SCORINGS)
    if seed is not None:
        check.number("--sampled", "seed", seed, Range(whole=True))
    truth = load_ground_truth(ground_truth, [tier0], seed)
    refuse_mixture(ground_truth or "ground truth", step_model, truth.runs.architecture)
    report.note(truth.notes())
    return tier0, truth
