"""A CSV or Parquet file of points → a space. It is read once, block by block, into a scratch file of plain numbers."""

import contextlib
import hashlib
import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxroof.files import InputError, Range, check
from jaxroof.sweeps.space import Columns, Listed


def read_points(path: Path, keys: Mapping[str, Range | None]) -> Listed:
    """The points of a file with keys as columns, every value checked. Raises InputError."""
    with contextlib.ExitStack() as scratch:
        points = _copied(path, keys, scratch.enter_context(tempfile.TemporaryFile()))
        weakref.finalize(points, scratch.pop_all().close)  # the space reads it as long as it lives
        return points


def _copied(path: Path, keys: Mapping[str, Range | None], scratch: Any) -> Listed:
    import pyarrow

    digest, size = hashlib.sha256(), 0
    codes: dict[str, dict[str, int]] = {}
    most: dict[str, float] = {}
    try:
        for batch in filter(len, _batches(path, keys)):
            table = np.stack([_numbers(path, batch, key, keys[key], codes, size) for key in batch.schema.names], axis=1)
            scratch.write(table.tobytes())
            digest.update(table.tobytes())
            size += len(table)
            highs = zip(batch.schema.names, table.max(axis=0), strict=True)
            most = {key: max(most.get(key, -np.inf), float(high)) for key, high in highs}
    except pyarrow.ArrowException as error:
        raise InputError(path, str(error)) from None
    if not size:
        raise InputError(path, "has no rows")
    scratch.flush()
    columns = list(most)

    def block(first: int, count: int) -> Columns:
        row = 8 * len(columns)
        table = np.frombuffer(os.pread(scratch.fileno(), count * row, first * row)).reshape(count, len(columns))
        return {key: table[:, i].astype(int) if key in codes else table[:, i] for i, key in enumerate(columns)}

    labels = {key: tuple(names) for key, names in codes.items()}
    return Listed(size, labels, block, most, {"points": digest.hexdigest(), "columns": columns})


def columns_of(path: Path) -> list[str]:
    """The names of a file's columns. Raises InputError."""
    import pyarrow
    from pyarrow import csv, parquet

    if path.suffix not in (".csv", ".parquet"):
        raise InputError(path, "--points", "must end in .csv or .parquet")
    try:
        with path.open("rb") as file:
            return list((parquet.read_schema(file) if path.suffix == ".parquet" else csv.open_csv(file).schema).names)
    except pyarrow.ArrowException as error:
        raise InputError(path, str(error)) from None
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from None


def _batches(path: Path, keys: Mapping[str, Range | None]) -> Iterator[Any]:
    import pyarrow
    from pyarrow import csv, parquet

    names = columns_of(path)
    check.unknown_key(path, names, keys)
    check.no_repeats(path, "columns", names)
    types = {name: pyarrow.string() if keys[name] is None else pyarrow.float64() for name in names}
    if path.suffix == ".csv":
        yield from csv.open_csv(path, convert_options=csv.ConvertOptions(column_types=types))
        return
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield pyarrow.RecordBatch.from_arrays([batch[name].cast(t) for name, t in types.items()], names=list(types))


def _numbers(
    path: Path, batch: Any, key: str, legal: Range | None, codes: dict[str, dict[str, int]], first: int
) -> NDArray[np.float64]:
    """A column as numbers: names as the order in which they first stand."""
    if legal is None:
        known = codes.setdefault(key, {})
        return np.array([known.setdefault(name or "", len(known)) for name in batch[key].to_pylist()], dtype=float)
    values = np.asarray(batch[key].to_numpy(zero_copy_only=False), dtype=float)
    odd = ~np.isfinite(values) | (values < legal.low) | (values > legal.high) | (values == legal.low)
    for row in np.flatnonzero(odd | (values != np.rint(values)) if legal.whole else odd):
        if complaint := legal.complaint(float(values[row])):
            raise InputError(path, f"row {first + row + 1}", key, complaint)
    return values
