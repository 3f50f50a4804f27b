"""The choice of a step-time model and its constants."""

import dataclasses
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxroof import defaults
from jaxroof.catalogue.load import is_original, load_model, with_settings
from jaxroof.files import InputError, check
from jaxroof.parameters import TP
from jaxroof.request.limits import LEGAL
from jaxroof.step import Model

REQUEST_RANGES = {"tp": TP, **LEGAL}


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


@dataclasses.dataclass(frozen=True)
class RequestOptions:
    """The options that name a model and describe a request, as far as they are given."""

    model: str | None
    tp: int | None
    prompt: int | None
    output: int | None
    cached: int | None
    batch: int | None

    def checked(self, where: str, keys: Iterable[str]) -> dict[str, int]:
        """Legal values of ``keys``, by default nothing cached and a batch of one. Raises InputError."""
        values = {"cached": 0, "batch": 1} | {k: v for k, v in vars(self).items() if v is not None}
        for key in keys:
            if key not in values:
                raise InputError(where, f"--{key}", "is missing: give it or vary it")
            check.number(where, f"--{key}", values[key], REQUEST_RANGES[key])
        return {key: values[key] for key in keys}
