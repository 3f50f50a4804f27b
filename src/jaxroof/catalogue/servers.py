"""A server file of ``configs/servers/`` → the server on some GPU."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxroof import defaults
from jaxroof.catalogue.gpu import GPU
from jaxroof.catalogue.names import find, is_original
from jaxroof.catalogue.sourced_tree import merged, read_inherited, read_lineage, read_tree, sourced
from jaxroof.files import COUNT, POSITIVE, InputError, check
from jaxroof.parameters import Server, declared
from jaxroof.parameters.hardware import MEMORY
from jaxroof.parameters.server import TUNED_SHAPES
from jaxroof.units import GIGA

GIB = 2**30


def load_server(name: str = defaults.SERVER, hardware: str = defaults.HARDWARE) -> Server:
    """A server of the catalogue (``jaxroof list servers``) or a TOML file, as it runs on ``hardware``.

    Token budget and slots depend on the GPU's memory, tuned tiles on its name, or that of the GPU that its file is
    based on. Raises InputError.

    >>> float(jaxroof.load_server("vllm-0.15", "l40s").max_num_batched_tokens)  # 8192 on an H100
    2048.0
    """
    path, table, tuned = server_table(name, hardware)
    return dataclasses.replace(read_tree(path, Server, table), tuned_moe=tuned)


def server_table(name: str, hardware: str) -> tuple[Path, dict[str, Any], NDArray[np.float64]]:
    """A server's file, the table of its constants on a GPU, and the shapes of experts that are tuned there."""
    path = find("servers", name)
    table = read_inherited(path, "servers")
    for label in ("title", "engine", "version"):
        check.text_at(path, table, label)
        del table[label]
    small, tuned = (dict(check.table_at(path, table, key)) for key in ("small_gpu", "tuned_moe"))
    table = {key: value for key, value in table.items() if key not in ("small_gpu", "tuned_moe", GPU)}
    limit, named = small.pop("below_gib", None), small.pop("named", [])
    check.unknown_key(path, small, declared(Server), "small_gpu.")
    if not isinstance(named, list) or not all(isinstance(word, str) for word in named):
        raise InputError(path, "small_gpu.named", "must be a list of texts")
    sheet = find("hardware", defaults.HARDWARE if is_original(hardware) else hardware)
    of_sheet, gpus = read_lineage(sheet, "hardware")
    if limit is not None:
        held = sourced(sheet, of_sheet.get("hbm_gb"), "hbm_gb", MEMORY) * GIGA
        least = sourced(path, limit, "small_gpu.below_gib", POSITIVE) * GIB
        if held < least or any(word in gpu for word in named for gpu in gpus):
            table = merged(table, small)
    gpu = next((name for name in gpus if name in tuned), gpus[0])
    return path, table, _tuned(path, tuned, gpu)


def _tuned(path: Path, tuned: Mapping[str, Any], gpu: str) -> NDArray[np.float64]:
    """(experts, intermediate size) on one GPU that have a file of tuned tiles, from ``gpu.experts = [size, …]``."""
    sizes = check.table_at(path, tuned, gpu, "tuned_moe.")
    shapes = np.zeros((TUNED_SHAPES, 2))
    rows = [(experts, size) for experts, each in sizes.items() for size in (each if isinstance(each, list) else [each])]
    if len(rows) > TUNED_SHAPES:
        raise InputError(path, f"tuned_moe.{gpu}", f"has more than {TUNED_SHAPES} shapes")
    for i, (experts, size) in enumerate(rows):
        where = f"tuned_moe.{gpu}.{experts}"
        shapes[i] = check.parsed_number(path, where, experts, COUNT), check.number(path, where, size, COUNT)
    return shapes
