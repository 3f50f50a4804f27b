"""A TOML table of sourced values → a parameter tree, as its class declares its leaves."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxroof.files import InputError, check, read_toml
from jaxroof.parameters import AnalyticMfu, Efficiency, declared
from jaxroof.parameters.leaves import Leaf

Tree = TypeVar("Tree")

# What a file can hold of a branch that has several forms.
CONCRETE: dict[Any, Any] = {Efficiency: AnalyticMfu}


def load_tree(path: Path, cls: type[Tree]) -> Tree:
    """A file with a title and the tree of ``cls``. Raises InputError."""
    table = read_toml(path)
    table.pop("title", None)
    return read_tree(path, cls, table)


def read_tree(path: Path, cls: type[Tree], table: Any, where: str = "") -> Tree:
    """The tree of ``cls``: leaves are ``{ value, source }`` under their key, branches are tables.

    A key that ``cls`` gives a default may be missing. Raises InputError.
    """
    if not isinstance(table, dict):
        raise InputError(path, where.rstrip("."), "must be a table")
    leaves = declared(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    branches = {name: f.type for name, f in fields.items() if "leaf" not in f.metadata}
    check.unknown_key(path, table, [*leaves, *branches], where)

    def wanted(key: str, name: str) -> bool:
        missing = dataclasses.MISSING
        return key in table or (fields[name].default is missing and fields[name].default_factory is missing)

    values: dict[str, Any] = {
        name: _sourced(path, table, key, leaf, where) for key, (name, leaf) in leaves.items() if wanted(key, name)
    }
    for name, branch in branches.items():
        if wanted(name, name):
            inner = check.required(path, table, name, where)
            values[name] = read_tree(path, CONCRETE.get(branch, branch), inner, f"{where}{name}.")
    return cls(**values)


def _sourced(path: Path, table: Mapping[str, Any], key: str, leaf: Leaf, where: str) -> float:
    entry, key = check.required(path, table, key, where), f"{where}{key}"
    if not isinstance(entry, dict) or not isinstance(entry.get("source"), str) or not entry["source"]:
        raise InputError(path, key, 'must be { value = …, source = "…" }')
    check.unknown_key(path, entry, ["value", "source"], f"{key}.")
    return check.number(path, key, check.required(path, entry, "value", f"{key}."), leaf.range) * leaf.unit
