"""A TOML table of sourced values → a parameter tree, as its class declares its leaves."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jaxroof.catalogue.names import beside, find
from jaxroof.files import InputError, Range, check, read_toml
from jaxroof.parameters import AnalyticMfu, Efficiency, declared

Tree = TypeVar("Tree")

# What a sourced value may have further: within which two values it lies in 90 % of the cases, and who says so.
RANGE = ("low", "high", "range_source")
# What a file can hold of a branch that has several forms.
CONCRETE: dict[Any, Any] = {Efficiency: AnalyticMfu}


def read_inherited(path: Path, kind: str) -> dict[str, Any]:
    """A file of ``configs/<kind>/``, over the one that its ``base`` names, if any. Raises InputError."""
    return read_lineage(path, kind)[0]


def titled_table(path: Path, kind: str) -> dict[str, Any]:
    """As :func:`read_inherited`, without the title."""
    return {key: value for key, value in read_inherited(path, kind).items() if key != "title"}


def read_lineage(path: Path, kind: str) -> tuple[dict[str, Any], list[str]]:
    """As :func:`read_inherited`, and the names of the file and of those that it is based on, itself first."""
    tables = inherited_tables(path, kind)
    table, *below = tables.values()
    for other in below:
        table = merged(other, table)
    return table, [file.stem for file in tables]


def inherited_tables(path: Path, kind: str) -> dict[Path, dict[str, Any]]:
    """Tables of a file and of those that it is based on, without ``base``; itself first."""
    table = read_toml(path)
    tables = {path: table}
    while (base := table.pop("base", None)) is not None:
        last = list(tables)[-1]
        if not isinstance(base, str):
            raise InputError(last, "base", f"must be text, got {base!r}")
        file = find(kind, beside(last, base))
        if file in tables:
            raise InputError(path, "base", f"{base} is based on itself")
        table = tables[file] = read_toml(file)
    return tables


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` and what only ``below`` has; tables of sourced values key by key, a sourced value as a whole."""

    def both(key: str) -> Any:
        tables = [table[key] for table in (below, above) if key in table]
        merge = len(tables) == 2 and all(isinstance(t, dict) and "value" not in t for t in tables)
        return merged(*tables) if merge else tables[-1]

    return {key: both(key) for key in [*below, *(key for key in above if key not in below)]}


def read_tree(path: Path, cls: type[Tree], table: Mapping[str, Any]) -> Tree:
    """The tree of ``cls``: leaves are ``{ value, source }`` under their key, branches are tables.

    A key that ``cls`` gives a default may be missing. Raises InputError; all missing keys are named at once.
    """
    missing = list(_missing(path, cls, table, ""))
    if missing:
        raise InputError(path, ", ".join(missing), f"missing key{'s' if len(missing) > 1 else ''}")
    return _branch(path, cls, table, "")


def check_part(path: Path, cls: Any, table: Any, where: str) -> None:
    """Raise InputError unless ``table`` is a part of the tree of ``cls``: of known keys and legal values."""
    for _ in _missing(path, cls, table, where):
        pass  # what is missing stays as it is elsewhere
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key, entry in table.items():
        if key in declared(cls):
            sourced(path, entry, f"{where}{key}", declared(cls)[key][1].range)
        else:
            check_part(path, _class(fields[key]), entry, f"{where}{key}.")


def _missing(path: Path, cls: Any, table: Any, where: str) -> Iterator[str]:
    """Dotted keys that must be given and are not. Raises InputError for one that is not known."""
    if not isinstance(table, dict):
        raise InputError(path, where.rstrip("."), "must be a table")
    leaves = {name: key for key, (name, _) in declared(cls).items()}
    fields = {leaves.get(field.name, field.name): field for field in dataclasses.fields(cls)}
    check.unknown_key(path, table, fields, where)
    for key, field in fields.items():
        if field.name not in leaves and (key in table or _wanted(field)):
            yield from _missing(path, _class(field), table.get(key, {}), f"{where}{key}.")
        elif key not in table and _wanted(field):
            yield f"{where}{key}"


def _branch(path: Path, cls: type[Tree], table: Mapping[str, Any], where: str) -> Tree:
    leaves = declared(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]

    def value(key: str) -> tuple[str, Any]:
        if key in leaves:
            name, leaf = leaves[key]
            return name, sourced(path, table[key], f"{where}{key}", leaf.range) * leaf.unit
        return key, _branch(path, _class(fields[key]), table[key], f"{where}{key}.")

    return cls(**dict(map(value, table)))


class Ranged(NamedTuple):
    """A constant, and the two values that it lies between in 90 % of the cases, in the unit of its file."""

    value: float
    low: float
    high: float


def read_ranges(path: Path, cls: Any, table: Mapping[str, Any], where: str) -> Iterator[tuple[str, Ranged]]:
    """(dotted key below ``where``, range) of the constants that state one, of a table that :func:`read_tree` takes."""
    leaves, fields = declared(cls), {field.name: field for field in dataclasses.fields(cls)}
    for key, entry in table.items():
        if key not in leaves:
            yield from read_ranges(path, _class(fields[key]), entry, f"{where}{key}.")
        elif any(name in entry for name in RANGE):
            yield f"{where}{key}", sourced_range(path, entry, key, leaves[key][1].range)


def _class(field: "dataclasses.Field[Any]") -> Any:
    return CONCRETE.get(field.type, field.type)


def _wanted(field: "dataclasses.Field[Any]") -> bool:
    """Whether the field must be given."""
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def sourced(path: Path, entry: Any, key: str, legal: Range) -> float:
    """The value of ``{ value, source }``, with a range or without, in the unit of its file. Raises InputError."""
    if not isinstance(entry, dict) or not isinstance(entry.get("source"), str) or not entry["source"]:
        raise InputError(path, key, 'must be { value = …, source = "…" }')
    check.unknown_key(path, entry, ["value", "source", *RANGE], f"{key}.")
    if any(name in entry for name in RANGE):
        return sourced_range(path, entry, key, legal).value
    return check.number(path, key, check.required(path, entry, "value", f"{key}."), legal)


def sourced_range(path: Path, entry: Mapping[str, Any], key: str, legal: Range) -> Ranged:
    """``low`` and ``high`` beside the value of ``{ value, source, low, high, range_source }``. Raises InputError."""
    for name in RANGE:
        check.required(path, entry, name, f"{key}.")
    if not check.text_at(path, entry, "range_source", f"{key}."):
        raise InputError(path, f"{key}.range_source", "must be text, got none")
    value = check.number(path, key, check.required(path, entry, "value", f"{key}."), legal)
    low, high = (check.number(path, f"{key}.{name}", entry[name], legal) for name in ("low", "high"))
    if not low <= value <= high or low == high:
        raise InputError(path, key, f"low and high must be on both sides of {value:g}, got {low:g} and {high:g}")
    return Ranged(value, low, high)
