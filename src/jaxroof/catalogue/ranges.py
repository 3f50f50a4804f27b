"""What each constant of a model lies between, as the files of its values say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof import defaults
from jaxroof.catalogue.gpu import gpu_table
from jaxroof.catalogue.names import find, is_original
from jaxroof.catalogue.servers import server_table
from jaxroof.catalogue.sourced_tree import Ranged, read_ranges, titled_table
from jaxroof.files import data_dir
from jaxroof.parameters import Line, Overheads, Server
from jaxroof.parameters.constants import Traffic
from jaxroof.parameters.hardware import Hardware


def load_ranges(
    hardware: str = defaults.HARDWARE, overheads: str | None = None, server: str = defaults.SERVER,
    line: Path | None = None,
) -> dict[str, Ranged]:  # fmt: skip
    """The ranges that the files of a model's constants state, by the constants' keys and in their files' units.

    A range is what 90 % of the cases lie between, ``{ value, source, low, high, range_source }``; a constant without
    one is not in the result. Arguments as for :func:`jaxroof.load_tier0`. Raises InputError.

    >>> spread = load_ranges("h100-sxm")["server.per_step_us"]
    >>> spread.low < spread.value < spread.high
    True
    """
    gpu = find("hardware", defaults.HARDWARE if is_original(hardware) else hardware)
    formula, traffic = find("overheads", overheads or defaults.OVERHEADS), data_dir() / "configs/traffic.toml"
    of_server, constants, _ = server_table(server, hardware)
    tables: list[tuple[str, Path, Any, Mapping[str, Any]]] = [
        ("hardware", gpu, Hardware, gpu_table(gpu, server)),
        ("traffic", traffic, Traffic, titled_table(traffic, "traffic")),
        ("server", of_server, Server, constants),
        ("overheads", formula, Overheads, titled_table(formula, "overheads")),
    ]
    if line is not None:
        tables.append(("linear", line, Line, titled_table(line, "linear")))
    return {key: of for name, path, cls, table in tables for key, of in read_ranges(path, cls, table, f"{name}.")}
