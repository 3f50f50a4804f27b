"""What several commands load: the model and the measurements to compare them with."""

from collections.abc import Iterable
from pathlib import Path

from jaxroof.catalogue.choice import ModelOptions
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.load import load_ground_truth
from jaxroof.experiments.metrics import SCORINGS
from jaxroof.files import Range, check
from jaxroof.request.limits import refuse_layers
from jaxroof.step import Model


def measured(
    options: ModelOptions, scoring: str, ground_truth: Path | None, seed: int | None = None, moved: Iterable[str] = ()
) -> tuple[Model, GroundTruth]:
    """The model, and the measurements to compare with under ``scoring``. Raises InputError.

    ``moved`` are keys of constants that will have other values.
    """
    model = options.model(moved)
    check.one_of("--scoring", "value", scoring, SCORINGS)
    if seed is not None:
        check.number("--sampled", "seed", seed, Range(whole=True))
    truth = load_ground_truth(ground_truth, [model], seed)
    refuse_layers(ground_truth or "ground truth", model.step, truth.runs.architecture)
    return model, truth
