"""Operator tables that tests write for scripts/: a folder laid out like the package's unpacked wheel."""

import importlib.util
import itertools
import sys
from pathlib import Path

import pandas as pd

SCRIPTS = Path(__file__).parents[1] / "scripts"


def load_script(name):
    """scripts/ is no package: running one puts it on the path."""
    sys.path.insert(0, str(SCRIPTS))
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def grid(**axes):
    """All combinations, one row each; a scalar is a constant column."""
    values = [axis if isinstance(axis, list) else [axis] for axis in axes.values()]
    return pd.DataFrame(list(itertools.product(*values)), columns=list(axes))


def unpack(folder, gpu, tables):
    """Write ``tables``, by what is measured and the file's name; pickles stand in for parquet: pyarrow is not needed.

    An older version has every kernel seven times slower.
    """
    info = folder / "aiconfigurator_core-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: aiconfigurator-core\nVersion: 9.9\n")
    for (op, file), table in tables.items():
        for version, factor in (("0.24.0", 1), ("0.9.0", 7)):
            path = folder / f"aiconfigurator_core/systems/data/{gpu}/{op}/vllm/{version}/{file}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            table.assign(latency=factor * table.latency).to_pickle(path)
