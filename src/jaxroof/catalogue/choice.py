"""The choice of a step-time model and its constants."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxroof import defaults
from jaxroof.catalogue.load import is_original, load_tier0, with_settings
from jaxroof.files import InputError, check
from jaxroof.parameters import Architecture, Tier0
from jaxroof.step import STEP_MODELS


@dataclasses.dataclass(frozen=True)
class Constants:
    """The options that choose a step-time model and its constants."""

    step_model: str
    hardware: str
    formula: str | None
    mfu_tables: Path | None
    settings: Sequence[str]

    def tier0(self) -> Tier0:
        """The constants, checked. Raises InputError."""
        check.one_of("--step-model", "value", self.step_model, STEP_MODELS)
        if self.mfu_tables is not None and self.step_model != "roofline":
            raise InputError("--mfu-tables", self.step_model, "uses no MFU tables; only roofline does")
        tier0 = load_tier0(self.hardware, self.formula, self.mfu_tables)
        if is_original(self.hardware) and self.step_model == "kernels":
            raise InputError(self.hardware, "--hardware", "has no kernels; give --step-model memory or roofline")
        return with_settings(tier0, self.settings)

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
