"""A JSON object and the file that it stands in; what is read from it is checked."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.files import COUNT, COUNT_OR_NONE, InputError, Range
from jaxroof.files.check import number, required

Table = Mapping[str, Any]
# Each layer is looked at: far above what any model has.
LAYERS = Range(low=1, high=1000, whole=True)
# How many times something is longer or wider than something else: far above any, too.
FACTOR = Range(high=1e4)


@dataclasses.dataclass(frozen=True)
class Config:
    """``table`` without its nulls, which are as good as missing keys; ``where`` is what stands before its keys."""

    path: Path
    table: Table
    where: str = ""
    nulls: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        nulls = frozenset(key for key, value in self.table.items() if value is None)
        object.__setattr__(self, "nulls", self.nulls | nulls)
        object.__setattr__(self, "table", {key: value for key, value in self.table.items() if value is not None})

    def between(self, under: Table, over: Table) -> "Config":
        """With what stands in for missing keys, and what comes before those that are there."""
        return Config(self.path, {**under, **self.table, **over}, self.where, self.nulls)

    def error(self, key: str, why: str) -> InputError:
        """One line: file, key and why."""
        return InputError(self.path, f"{self.where}{key}", why)

    def get(self, key: str) -> Any:
        """The value as it stands, None where there is none."""
        return self.table.get(key)

    def first(self, *keys: str) -> str | None:
        """The first of the keys that says something."""
        return next((key for key in keys if self.table.get(key)), None)

    def count(self, key: str, default: float | None = None) -> float:
        """A whole number ≥ 1; ``default`` stands in for a missing one."""
        value = self._required(key) if default is None else self.table.get(key, default)
        return number(self.path, f"{self.where}{key}", value, COUNT)

    def optional(self, key: str, legal: Range = COUNT_OR_NONE) -> float:
        """A whole number ≥ 0, or what else is legal; 0 where it is missing."""
        return number(self.path, f"{self.where}{key}", self.table.get(key) or 0, legal)

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.table.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, got {value!r}")
        return value

    def part(self, key: str) -> "Config":
        """An object, empty where it is missing."""
        value = self.table.get(key, {})
        if not isinstance(value, Mapping):
            raise self.error(key, "must be an object")
        return Config(self.path, value, f"{self.where}{key}.")

    def items(self, key: str) -> list[Any]:
        """A list, empty where it is missing."""
        value = self.table.get(key, [])
        if not isinstance(value, list):
            raise self.error(key, "must be a list")
        return value

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return int(number(self.path, f"{self.where}num_hidden_layers", self._required("num_hidden_layers"), LAYERS))

    def per_layer(self, key: str) -> list[Any]:
        """A list that has an item for each layer; some files add those of layers that predict further tokens."""
        values, layers = self.items(key), self.layers
        if len(values) not in (layers, layers + self.optional("num_nextn_predict_layers")):
            raise self.error(key, f"must have an item for each of the {layers} layers, got {len(values)}")
        return values[:layers]

    def _required(self, key: str) -> Any:
        """What stands there; a null is no missing key, and no number either."""
        return None if key in self.nulls and key not in self.table else required(self.path, self.table, key, self.where)
