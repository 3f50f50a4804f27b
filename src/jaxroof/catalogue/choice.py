"""The choice of a step-time model and its constants."""

import dataclasses
import shlex
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

    def command(self, name: str, **others: object) -> str:
        """The command line that chooses the same again, and ``others``."""
        mine = {key: getattr(self, key) for key in ("step_model", "formula", "hardware", "mfu_tables")}
        options = [*mine.items(), *(("set", setting) for setting in self.settings), *others.items()]
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options if value is not None]
        return shlex.join(["jaxroof", name, *words])

    def overheads_source(self) -> str:
        """Where the overheads come from, before ``--set``."""
        return self.formula or (self.hardware if is_original(self.hardware) else defaults.OVERHEADS)


def refuse_mixture(where: object, step_model: str, arch: Architecture) -> None:
    """Only ``kernels`` models a mixture of experts. Raises InputError."""
    if step_model != "kernels" and np.any(np.asarray(arch.num_experts) > 0):
        raise InputError(where, "num_experts", f"the {step_model} step time is for dense models; use kernels")
