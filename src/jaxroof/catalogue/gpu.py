"""A hardware file of ``configs/hardware/``, and what an engine's server file says otherwise → the GPU."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.catalogue.names import find
from jaxroof.catalogue.sourced_tree import check_part, inherited_tables, merged, read_inherited, read_tree
from jaxroof.files import check
from jaxroof.parameters import Hardware
from jaxroof.parameters.hardware import Kernels

GPU = "gpu"  # the table of a server file


def read_gpu(path: Path, server: str | None) -> Hardware:
    """A hardware file with the constants that ``server``'s engine has on that GPU. Raises InputError."""
    return read_tree(path, Hardware, gpu_table(path, server))


def gpu_table(path: Path, server: str | None) -> Mapping[str, Any]:
    """The table that :func:`read_gpu` reads; what a file itself says wins over the engine's constants of its base."""
    engine, table = engine_constants(server) if server else {}, dict[str, Any]()
    for file, own in reversed(inherited_tables(path, "hardware").items()):
        table = merged(merged(table, own), engine.get(file.stem, {}))
    return _with_narrow({key: value for key, value in table.items() if key != "title"})


def engine_constants(server: str) -> Mapping[str, Any]:
    """``[gpu.NAME]`` of a server file by the names of GPUs, checked. Raises InputError."""
    path = find("servers", server)
    tables = check.table_at(path, {GPU: read_inherited(path, "servers").get(GPU, {})}, GPU)
    for name, table in tables.items():
        check_part(path, Hardware, table, f"{GPU}.{name}.")
    return tables


def _with_narrow(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Kernels of narrow numbers that the file has no constants for, or not all, have those of the 16-bit ones."""
    kernels = table.get("kernels")
    if not isinstance(kernels, dict):
        return table
    wide = {field.name: field.metadata.get("narrower_than") for field in dataclasses.fields(Kernels)}
    filled = {
        name: merged(kernels[than], kernels.get(name, {}))
        for name, than in wide.items()
        if isinstance(kernels.get(than), dict) and isinstance(kernels.get(name, {}), dict)
    }
    return {**table, "kernels": kernels | filled}
