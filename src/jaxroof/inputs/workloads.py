"""Workload files → length distributions."""

import dataclasses
from pathlib import Path

from jaxroof.inputs import files
from jaxroof.inputs.errors import InputError
from jaxroof.leaves import NON_NEGATIVE, POSITIVE, Range
from jaxroof.schedule import Lengths, Workload

# Arrays are as long as the longest context: far above any model's, below what memory holds.
TOKENS = Range(low=1, high=1e7, whole=True)
CACHED_TOKENS = dataclasses.replace(TOKENS, low=0)


def load_workloads(path: Path) -> dict[str, Workload]:
    """Named length distributions of a TOML file. Raises InputError."""
    workloads = {}
    for name, table in files.read_toml(path).items():
        if not isinstance(table, dict):
            raise InputError(path, name, "must be a table")
        files.unknown_key(path, table, ["source", "prefix_tokens", "prompt", "output"], f"{name}.")
        prefix_tokens = files.required(path, table, "prefix_tokens", f"{name}.")
        prefix = files.number(path, f"{name}.prefix_tokens", prefix_tokens, CACHED_TOKENS)
        prompt, output = (
            _lengths(path, files.required(path, table, key, f"{name}."), f"{name}.{key}")
            for key in ("prompt", "output")
        )
        workloads[name] = Workload(int(prefix), prompt, output)
    return workloads


def _lengths(path: Path, table: object, where: str) -> Lengths:
    if not isinstance(table, dict):
        raise InputError(path, where, "must be a table")
    ranges = {"mean": POSITIVE, "stdev": NON_NEGATIVE, "min": TOKENS, "max": TOKENS}
    files.unknown_key(path, table, ranges, f"{where}.")
    values = {
        key: files.number(path, f"{where}.{key}", files.required(path, table, key, f"{where}."), legal)
        for key, legal in ranges.items()
    }
    if values["min"] > values["max"]:
        raise InputError(path, f"{where}.min", f"must be ≤ max, got {values['min']:g} > {values['max']:g}")
    return Lengths(values["mean"], values["stdev"], int(values["min"]), int(values["max"]))
