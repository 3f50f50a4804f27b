"""Workload files → length distributions."""

from pathlib import Path
from typing import Annotated, Any

from msgspec import Struct

from jaxroof.files import CACHED_TOKENS, NON_NEGATIVE, POSITIVE, TOKENS, InputError, read_toml, to_struct, within
from jaxroof.request.workload import Lengths, Workload


class _Lengths(Struct, frozen=True, forbid_unknown_fields=True):
    mean: Annotated[float, within(POSITIVE)]
    stdev: Annotated[float, within(NON_NEGATIVE)]
    min: Annotated[float, within(TOKENS)]
    max: Annotated[float, within(TOKENS)]


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
    if x.min > x.max:
        raise InputError(path, f"{where}.min", f"must be ≤ max, got {x.min:g} > {x.max:g}")
    return Lengths(x.mean, x.stdev, int(x.min), int(x.max))
