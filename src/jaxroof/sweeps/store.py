"""Sweep results on disk: parts while it runs, the finished file only when complete, nothing half-written.

Until then a part folder holds a manifest of everything that determines the result, and one file per
finished chunk, or one state. A file appears under its name by renaming, after it is on disk.
"""

import contextlib
import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import parquet

from jaxroof.files import DRAFT, InputError, naming, publish, read_json, write
from jaxroof.report import report
from jaxroof.sweeps.lock import LOCK, alone
from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.space import Columns
from jaxroof.sweeps.stream import States

MANIFEST = "manifest.json"
STATE = "state.npz"
FINISHED = "finished"
NAMES = "|".join(map(re.escape, (MANIFEST, STATE, FINISHED, LOCK)))
PARTS = re.compile(rf"{NAMES}|chunk-\d{{8}}\.parquet|{re.escape(DRAFT)}\d+")
METADATA = b"jaxroof"


@dataclasses.dataclass(frozen=True)
class Store:
    """``target`` is the file of a finished sweep, ``part`` the folder where it stands until then.

    What is there may be gone on with (``resume``) or overwritten (``force``).
    """

    target: Path
    part: Path
    resume: bool
    force: bool

    @contextlib.contextmanager
    def locked(self) -> Iterator[dict[str, Any] | None]:
        """Keep others off; the manifest to go on from, if any. Raises InputError where results would be lost."""
        with alone(self.part):
            yield self._previous()

    def _previous(self) -> dict[str, Any] | None:
        there, manifest = self.target.exists(), self.part / MANIFEST
        if self.target.is_dir():
            raise InputError(self.target, "--out", "is a folder")
        if foreign := next((path for path in self.part.glob("*") if not PARTS.fullmatch(path.name)), None):
            raise InputError(foreign, "--out", "is in the way: no part of a sweep")
        if self.resume:
            return read_json(manifest) if manifest.exists() else finished_manifest(self.target)
        if there and not self.force:
            raise InputError(self.target, "--out", "is there already; --force overwrites it")
        if manifest.exists() and not self.force:
            raise InputError(self.part, "--out", "is an interrupted sweep's; --resume goes on, --force starts over")
        return None

    def begin(self, manifest: Mapping[str, Any]) -> bool:
        """Make or find this sweep's parts; False where it is finished. Raises InputError at another's."""
        if self.resume and self.target.exists():
            if finished_manifest(self.target) == plain(manifest):
                self.clear()
                return False
            if not self.force:
                raise InputError(self.target, "--resume", "is another sweep's; --force overwrites it")
        if self.resume and (self.part / MANIFEST).exists():
            if differing := difference(read_json(self.part / MANIFEST), manifest):
                raise InputError("--resume", str(self.part), f"is another sweep's: {differing} differs")
            return True
        self.clear()
        write(self.part / MANIFEST, dump(manifest).encode())
        return True

    def clear(self) -> None:
        """Remove the parts; the manifest first, so that a rest of them is never gone on with."""
        (self.part / MANIFEST).unlink(missing_ok=True)
        for path in self.part.iterdir():
            if path.name != LOCK:
                path.unlink()

    def chunk(self, index: int) -> Path:
        """The file of a finished chunk."""
        return self.part / f"chunk-{index:08}.parquet"

    def missing(self, indices: range) -> list[int]:
        """Chunks that are yet to be done."""
        return [index for index in indices if not self.chunk(index).exists()]

    def write_chunk(self, index: int, table: pyarrow.Table) -> None:
        """One chunk's rows."""
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(table, sink, row_group_size=len(table))
        write(self.chunk(index), sink.getvalue())

    def finish(self, files: Iterable[Path], schema: pyarrow.Schema, manifest: Mapping[str, Any]) -> None:
        """The chunks of ``files`` as one file, a row group each, that carries its manifest."""
        draft, schema = self.part / FINISHED, schema.with_metadata({METADATA: dump(manifest).encode()})
        with naming(self.target), parquet.ParquetWriter(draft, schema) as writer:
            for rows in map(parquet.ParquetFile, files):
                for group in range(rows.num_row_groups):
                    table = rows.read_row_group(group).replace_schema_metadata(writer.schema.metadata)
                    writer.write_table(table, row_group_size=len(table))
        publish(draft, self.target)
        self.clear()

    def printed(self) -> str:
        """What a finished sweep printed as JSON."""
        return report.dump({key: value for key, value in read_json(self.target).items() if key != "sweep"})

    def write_state(self, done: int, states: States) -> None:
        """The reductions after ``done`` chunks."""
        write(self.part / STATE, pack(states, {"done": done}))

    def read_state(self) -> tuple[dict[str, Any], States] | None:
        """Where the reductions stand."""
        path = self.part / STATE
        return unpack(path.read_bytes()) if path.exists() else None


def finished_manifest(target: Path) -> dict[str, Any] | None:
    """The manifest that a finished Parquet file, ``results.json`` or a shard's states carry."""
    try:
        if target.suffix == ".npz":
            return unpack(target.read_bytes())[0]
        if target.suffix == ".json":
            return dict(read_json(target)["sweep"])
        return dict(json.loads((parquet.read_schema(target).metadata or {})[METADATA]))
    except (pyarrow.ArrowException, zipfile.BadZipFile, OSError, KeyError, ValueError, InputError):
        return None


def same_points(previous: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether an earlier sweep had these points and metrics, so that its blocks fit."""
    return all(previous.get(key) == value for key, value in plain(identity).items() if key in ("space", "metrics"))


def table(plan: Plan, values: Columns, metrics: NDArray[np.floating]) -> pyarrow.Table:
    """Points as rows: names from their codes, numbers in the metrics' precision, no number as null."""
    columns: dict[str, Any] = {}
    for key, column in values.items():
        if key in plan.space.labels:
            names = pyarrow.array(plan.space.labels[key], pyarrow.string())
            columns[key] = pyarrow.DictionaryArray.from_arrays(pyarrow.array(column.astype(np.int32)), names)
        else:
            columns[key] = pyarrow.array(column.astype(metrics.dtype))
    rows = zip(plan.objective.metrics, metrics, strict=True)
    return pyarrow.table(columns | {name: pyarrow.array(row, mask=np.isnan(row)) for name, row in rows})


def pack(states: States, says: Mapping[str, Any]) -> bytes:
    """States and what there is to say of them as bytes."""
    arrays = {f"{name}/{key}": array for name, state in states.items() for key, array in state.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, says=np.array(dump(says)), **arrays)
    return buffer.getvalue()


def unpack(data: bytes) -> tuple[dict[str, Any], States]:
    """The inverse of :func:`pack`."""
    states: States = {}
    with np.load(io.BytesIO(data)) as arrays:
        for path in arrays.files:
            name, _, key = path.partition("/")
            if key:
                states.setdefault(name, {})[key] = arrays[path]
        return dict(json.loads(str(arrays["says"]))), states


def dump(manifest: Mapping[str, Any]) -> str:
    """The same text for the same sweep."""
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def plain(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """As it reads back from a file."""
    return dict(json.loads(dump(manifest)))


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first key at which two manifests differ."""
    return next(_differences(plain(one), plain(other)), None)


def _differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one | other:
            yield from _differences(one.get(key), other.get(key), f"{where}.{key}" if where else key)
    elif one != other:
        yield where
