"""Workload files → length distributions."""

from pathlib import Path

from jaxroof.files import CACHED_TOKENS, NON_NEGATIVE, POSITIVE, TOKENS, InputError, check, read_toml
from jaxroof.request.workload import Lengths, Workload


def load_workloads(path: Path) -> dict[str, Workload]:
    """Named length distributions of a TOML file. Raises InputError."""
    workloads = {}
    for name, table in read_toml(path).items():
        if not isinstance(table, dict):
            raise InputError(path, name, "must be a table")
        check.unknown_key(path, table, ["source", "prefix_tokens", "prompt", "output"], f"{name}.")
        prefix_tokens = check.required(path, table, "prefix_tokens", f"{name}.")
        prefix = check.number(path, f"{name}.prefix_tokens", prefix_tokens, CACHED_TOKENS)
        prompt, output = (
            _lengths(path, check.required(path, table, key, f"{name}."), f"{name}.{key}")
            for key in ("prompt", "output")
        )
        workloads[name] = Workload(int(prefix), prompt, output)
    return workloads


def _lengths(path: Path, table: object, where: str) -> Lengths:
    if not isinstance(table, dict):
        raise InputError(path, where, "must be a table")
    ranges = {"mean": POSITIVE, "stdev": NON_NEGATIVE, "min": TOKENS, "max": TOKENS}
    check.unknown_key(path, table, ranges, f"{where}.")
    values = {
        key: check.number(path, f"{where}.{key}", check.required(path, table, key, f"{where}."), legal)
        for key, legal in ranges.items()
    }
    if values["min"] > values["max"]:
        raise InputError(path, f"{where}.min", f"must be ≤ max, got {values['min']:g} > {values['max']:g}")
    return Lengths(values["mean"], values["stdev"], int(values["min"]), int(values["max"]))
