"""A CSV or Parquet file of points → a space. It is read once, block by block, into a scratch file of plain numbers."""

import contextlib
import hashlib
import os
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxroof.files import InputError, Range
from jaxroof.files.columns import legal_numbers, read_blocks
from jaxroof.sweeps.space import Columns, Listed


def read_points(path: Path, keys: Mapping[str, Range | None]) -> Listed:
    """The points of a file with keys as columns, every value checked. Raises InputError."""
    with contextlib.ExitStack() as scratch:
        points = _copied(path, keys, scratch.enter_context(tempfile.TemporaryFile()))
        weakref.finalize(points, scratch.pop_all().close)  # the space reads it as long as it lives
        return points


def _copied(path: Path, keys: Mapping[str, Range | None], scratch: Any) -> Listed:
    digest, size = hashlib.sha256(), 0
    codes: dict[str, dict[str, int]] = {}
    ends: dict[str, tuple[float, float]] = {}
    for batch in read_blocks(path, keys):
        table = np.stack([_numbers(path, batch, key, keys[key], codes, size) for key in batch.schema.names], axis=1)
        scratch.write(table.tobytes())
        digest.update(table.tobytes())
        size += len(table)
        for key, column in zip(batch.schema.names, table.T, strict=True):
            least, most = ends.get(key, (np.inf, -np.inf))
            ends[key] = min(least, float(column.min())), max(most, float(column.max()))
    if not size:
        raise InputError(path, "has no rows")
    scratch.flush()
    columns = list(ends)

    def block(first: int, count: int) -> Columns:
        row = 8 * len(columns)
        table = np.frombuffer(os.pread(scratch.fileno(), count * row, first * row)).reshape(count, len(columns))
        return {key: table[:, i].astype(int) if key in codes else table[:, i] for i, key in enumerate(columns)}

    labels = {key: tuple(names) for key, names in codes.items()}
    return Listed(size, labels, block, ends, {"points": digest.hexdigest(), "columns": columns})


def _numbers(
    path: Path, batch: Any, key: str, legal: Range | None, codes: dict[str, dict[str, int]], first: int
) -> NDArray[np.float64]:
    """A column as numbers: names as the order in which they first stand."""
    if legal is None:
        known = codes.setdefault(key, {})
        return np.array([known.setdefault(name or "", len(known)) for name in batch[key].to_pylist()], dtype=float)
    return legal_numbers(path, batch, key, legal, first)
