"""The choice of a step-time model and its constants."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxroof import defaults
from jaxroof.catalogue.load import is_original, load_model, with_settings
from jaxroof.files import InputError
from jaxroof.parameters import Architecture
from jaxroof.step import Model


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """The options that choose a step-time model and its constants."""

    step_model: str
    hardware: str
    formula: str | None
    mfu_tables: Path | None
    settings: Sequence[str]

    def model(self) -> Model:
        """The model, checked. Raises InputError."""
        return with_settings(load_model(self.step_model, self.hardware, self.formula, self.mfu_tables), self.settings)

    def words(self) -> list[str]:
        """The options that choose the same again."""
        chosen = {"formula": self.formula, "hardware": self.hardware, "mfu-tables": self.mfu_tables}
        words = [f"--step-model={self.step_model}", *(f"--{k}={v}" for k, v in chosen.items() if v is not None)]
        return words + [f"--set={setting}" for setting in self.settings]

    def overheads_source(self) -> str:
        """Where the overheads come from, before ``--set``."""
        return self.formula or (self.hardware if is_original(self.hardware) else defaults.OVERHEADS)


def refuse_mixture(where: object, step_model: str, arch: Architecture) -> None:
    """Only ``kernels`` models a mixture of experts. Raises InputError."""
    if step_model != "kernels" and np.any(np.asarray(arch.num_experts) > 0):
        raise InputError(where, "num_experts", f"the {step_model} step time is for dense models; use kernels")
