"""Workload files → length distributions."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from msgspec import Struct

from jaxroof.files import CACHED_TOKENS, NON_NEGATIVE, POSITIVE, TOKENS, InputError, check, read_toml, to_struct, within
from jaxroof.request.workload import Lengths, Workload

# A distribution has a probability for each count, and a step for each 2048 tokens of a prompt.
LENGTH = dataclasses.replace(TOKENS, high=1e6, limit="the longest that is averaged over")


class _Lengths(Struct, frozen=True, forbid_unknown_fields=True):
    mean: Annotated[float, within(POSITIVE)]
    stdev: Annotated[float, within(NON_NEGATIVE)] | None = None
    min: Annotated[float, within(LENGTH)] | None = None
    max: Annotated[float, within(LENGTH)] | None = None


class _Workload(Struct, frozen=True, forbid_unknown_fields=True):
    prefix_tokens: Annotated[float, within(CACHED_TOKENS)]
    prompt: _Lengths
    output: _Lengths
    source: Any = None


def load_workloads(path: Path) -> dict[str, Workload]:
    """Named length distributions of a TOML file. Raises InputError."""
    workloads = {}
    for name, table in read_toml(path).items():
        read: _Workload = to_struct(path, table, _Workload, f"{name}.")
        lengths = (_checked(path, f"{name}.{key}", getattr(read, key)) for key in ("prompt", "output"))
        workloads[name] = Workload(int(read.prefix_tokens), *lengths)
    return workloads


def _checked(path: Path, where: str, x: _Lengths) -> Lengths:
    """A mean alone is the length of every request."""
    if x.stdev is None and x.min is None and x.max is None:
        fixed = int(check.number(path, f"{where}.mean", x.mean, LENGTH))
        return Lengths(x.mean, 0.0, fixed, fixed)
    if x.stdev is None or x.min is None or x.max is None:
        raise InputError(path, where, "must have stdev, min and max, or mean alone")
    if x.min > x.max:
        raise InputError(path, f"{where}.min", f"must be ≤ max, got {x.min:g} > {x.max:g}")
    return Lengths(x.mean, x.stdev, int(x.min), int(x.max))
