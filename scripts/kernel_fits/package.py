"""The operator tables of the package: where one lies, and reading it."""

import argparse
import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from kernel_fits.least import Table

PACKAGE = "aiconfigurator-core"


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """The options that choose the package's tables."""
    parser.add_argument("--framework", default="vllm", help="vllm (default), sglang or trtllm")
    parser.add_argument("--version", help="version of the framework (default: the newest of each table)")
    parser.add_argument("--tables", type=Path, metavar="DIR", help=f"where a wheel of {PACKAGE} is unpacked")


def find_package(folder: Path | None) -> metadata.Distribution:
    """The package that is unpacked in ``folder``, else the installed one."""
    package = next(metadata.distributions(name=PACKAGE, path=[str(folder)] if folder else sys.path), None)
    if package is None:
        raise ValueError(f"no {PACKAGE} {f'unpacked in {folder}' if folder else 'installed'}: pip install it")
    return package


def find_tables(package: metadata.Distribution, gpu: str, op: str, name: str, args: argparse.Namespace) -> list[Path]:
    """Tables of ``args.version``, else of all that have it, the newest first; h100-sxm's folder is h100_sxm."""
    data = Path(str(package.locate_file("aiconfigurator_core/systems/data")))
    folders = (data / system / op / args.framework for system in (gpu.replace("-", "_"), f"{gpu}_sxm"))
    found = [path for folder in folders for path in folder.glob(f"{args.version or '*'}/{name}.parquet")]
    if not found:
        raise ValueError(f"no {name} of {gpu}, {args.framework} {args.version or '(any version)'} in {data}")
    return sorted(found, key=lambda path: [int(part) for part in re.findall(r"\d+", path.parent.name)], reverse=True)


def described(package: metadata.Distribution, path: Path, kind: str = "bf16") -> str:
    """Where the rows of a table come from."""
    framework = path.parents[1].name
    return f"{PACKAGE} {package.version} (PyPI), {framework} {path.parent.name}, {kind} rows of {path.stem}"


def used_table(path: Path, use: Callable[[Table], Any]) -> Any:
    """What ``use`` makes of the table at ``path``; what is wrong with the table is a ValueError of one line."""
    try:
        import pandas as pd

        return use(pd.read_parquet(path))
    except (AttributeError, ImportError, KeyError, OSError, ValueError) as error:
        raise ValueError(f"{path}: {type(error).__name__}: {str(error).splitlines()[0]}") from error
