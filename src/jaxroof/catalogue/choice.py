"""The choice of a step-time model and its constants."""

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxroof import defaults
from jaxroof.catalogue.load import load_model, with_settings
from jaxroof.catalogue.names import is_original
from jaxroof.files import COUNT, InputError, check
from jaxroof.parameters import EP, TP
from jaxroof.request.limits import LEGAL, check_takes_time
from jaxroof.step import Model

REQUEST_RANGES = {"tp": TP, "ep": EP, **LEGAL, "batch": COUNT}


def option(key: str) -> str:
    """What a parameter is called on a command line."""
    return f"--{key.replace('_', '-')}"


def command_line(name: str, options: Mapping[str, object]) -> str:
    """A command with ``options``: values, lists of them, or whether; None is not given."""
    words = [
        option(key) + ("" if value is True else f"={value}")
        for key, given in options.items()
        for value in (given if isinstance(given, list) else [given])
        if value is not None and value is not False
    ]
    return shlex.join(["jaxroof", name, *words])


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """The options that choose a step-time model and its constants."""

    step_model: str
    hardware: str
    server: str | None
    formula: str | None
    mfu_tables: Path | None
    settings: Sequence[str]

    def model(self, moved: Iterable[str] = ()) -> Model:
        """The model, checked; ``moved`` are keys of constants that will have other values. Raises InputError."""
        model = load_model(self.step_model, self.hardware, self.formula, self.mfu_tables, self.server)
        model = with_settings(model, self.settings)
        check_takes_time("--step-model", model, moved)
        return model

    def command(self, name: str, **others: object) -> str:
        """The command line that chooses the same again, and ``others``: values, lists of them, or whether."""
        keys = ("step_model", "formula", "hardware", "server", "mfu_tables")
        mine = {key: others.pop(key, getattr(self, key)) for key in keys}
        return command_line(name, {**mine, "set": [*self.settings], **others})

    def overheads_source(self) -> str:
        """Where the overheads come from, before ``--set``."""
        return self.formula or (self.hardware if is_original(self.hardware) else defaults.OVERHEADS)


@dataclasses.dataclass(frozen=True)
class RequestOptions:
    """The options that name a model and describe a request, as far as they are given."""

    model: str | None
    tp: int | None
    ep: int | None
    prompt: int | None
    output: int | None
    cached: int | None
    batch: int | None
    output_cv: float | None
    sampling: str | None
    kv_cache_dtype: str | None = None

    def given(self) -> dict[str, Any]:
        """Those that are given."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def checked(self, where: str, keys: Iterable[str]) -> dict[str, Any]:
        """Legal values of ``keys``, by default one request, nothing cached, experts shared. Raises InputError."""
        values = {"ep": 1, "cached": 0, "batch": 1, "output_cv": 0.0} | self.given()
        for key in keys:
            if key not in values:
                raise InputError(where, option(key), "is missing: give it or vary it")
            check.number(where, option(key), values[key], REQUEST_RANGES[key])
        return {key: values[key] for key in keys}
