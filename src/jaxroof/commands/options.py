"""Options that several commands share, and what they load."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxroof.inputs import files
from jaxroof.inputs.configs import load_tier0, with_settings
from jaxroof.inputs.errors import InputError
from jaxroof.inputs.ground_truth import GroundTruth, load_ground_truth
from jaxroof.leaves import Range
from jaxroof.metrics import SCORINGS
from jaxroof.params import Architecture, Tier0
from jaxroof.step import STEP_MODELS


@dataclasses.dataclass(frozen=True)
class Constants:
    """The options that choose a step-time model and its constants."""

    named_step_model: str | None
    hardware: str
    formula: str | None
    mfu_tables: Path | None
    settings: Sequence[str]

    @property
    def step_model(self) -> str:
        """``kernels``, unless named or an overhead formula is given: those describe what ``memory`` lacks."""
        formula_given = self.formula or self.hardware.endswith(".json")
        return self.named_step_model or ("memory" if formula_given else "kernels")

    def scoring(self, given: str | None) -> str:
        """``given``, checked; by default ``itl`` for ``kernels``, as what was published is ``published``."""
        scoring = given if given is not None else "itl" if self.step_model == "kernels" else "published"
        files.one_of("--scoring", "value", scoring, SCORINGS)
        return scoring

    def tier0(self) -> Tier0:
        """The constants, checked. Raises InputError."""
        files.one_of("--step-model", "value", self.step_model, STEP_MODELS)
        if self.mfu_tables is not None and self.step_model != "roofline":
            raise InputError("--mfu-tables", self.step_model, "uses no MFU tables; only roofline does")
        return with_settings(load_tier0(self.hardware, self._overheads(), self.mfu_tables), self.settings)

    def words(self) -> list[str]:
        """The options that choose the same again."""
        chosen = {"formula": self.formula, "hardware": self.hardware, "mfu-tables": self.mfu_tables}
        words = [f"--step-model={self.step_model}", *(f"--{k}={v}" for k, v in chosen.items() if v is not None)]
        return words + [f"--set={setting}" for setting in self.settings]

    def overheads_source(self) -> str:
        """Where the overheads come from, before ``--set``."""
        return self._overheads() or (self.hardware if self.hardware.endswith(".json") else "h2b")

    def _overheads(self) -> str | None:
        return self.formula or ("none" if self.step_model == "kernels" else None)


def measured(
    constants: Constants, scoring: str | None, ground_truth: Path | None, seed: int | None = None
) -> tuple[Tier0, GroundTruth, str]:
    """Constants, the measurements to compare with, and under which scoring. Raises InputError."""
    tier0, step_model = constants.tier0(), constants.step_model
    scoring = constants.scoring(scoring)
    if seed is not None:
        files.number("--sampled", "seed", seed, Range(whole=True))
    truth = load_ground_truth(ground_truth, [tier0], seed)
    refuse_mixture(ground_truth or "ground truth", step_model, truth.runs.architecture)
    return tier0, truth, scoring


def refuse_mixture(where: object, step_model: str, arch: Architecture) -> None:
    """Only ``kernels`` models a mixture of experts. Raises InputError."""
    if step_model != "kernels" and np.any(np.asarray(arch.num_experts) > 0):
        raise InputError(where, "num_experts", f"the {step_model} step time is for dense models; use kernels")
