"""Columns of a CSV or Parquet file, read block by block; every problem is one line, file, row, column and why."""

import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxroof.files import check
from jaxroof.files.errors import InputError
from jaxroof.files.ranges import Range
from jaxroof.files.read import check_file

# What pyarrow says of a cell or row of a CSV file; it counts the header as row 1, from 0 the columns.
CELL = re.compile(r"In CSV column #(\d+): Row #(\d+): CSV conversion error to double: invalid value '(.*)'", re.DOTALL)
ROW = re.compile(r"CSV parse error: Row #(\d+): Expected (\d+) columns, got (\d+)")


def column_names(path: Path) -> list[str]:
    """The names of a file's columns, each once. Raises InputError."""
    import pyarrow
    from pyarrow import parquet

    if path.suffix not in (".csv", ".parquet"):
        raise InputError(path, "must end in .csv or .parquet")
    check_file(path)
    try:
        with path.open("rb") as file:
            names = list((parquet.read_schema(file) if path.suffix == ".parquet" else _open_csv(file).schema).names)
    except UnicodeDecodeError:
        raise InputError(path, "is not UTF-8 text") from None
    except pyarrow.ArrowException as error:
        raise _explained(path, [], str(error)) from None
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from None
    check.no_repeats(path, "columns", names)
    return names


def read_blocks(path: Path, keys: Mapping[str, Range | None]) -> Iterator[Any]:
    """The rows of a file as pyarrow batches of numbers, or of text where a key has no range. Raises InputError.

    ``keys`` are the columns that there may be.
    """
    import pyarrow

    names = column_names(path)
    check.unknown_key(path, names, keys)
    types = {name: pyarrow.string() if keys[name] is None else pyarrow.float64() for name in names}
    try:
        yield from filter(len, _open_csv(path, types) if path.suffix == ".csv" else _parquet_blocks(path, types))
    except (pyarrow.ArrowException, OSError) as error:  # OSError: broken pages of a Parquet file
        raise _explained(path, names, str(error)) from None


def _open_csv(file: Any, types: Mapping[str, Any] | None = None) -> Any:
    from pyarrow import csv

    in_order = csv.ReadOptions(use_threads=False)  # else errors do not say which row
    return csv.open_csv(file, read_options=in_order, convert_options=csv.ConvertOptions(column_types=types))


def _parquet_blocks(path: Path, types: Mapping[str, Any]) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for field in file.schema_arrow:
            if pyarrow.types.is_floating(types[field.name]) and not _holds_numbers(field.type):
                raise InputError(path, field.name, f"must hold numbers, got {field.type}")
        for batch in file.iter_batches():
            yield pyarrow.RecordBatch.from_arrays([batch[name].cast(t) for name, t in types.items()], names=list(types))


def _holds_numbers(kind: Any) -> bool:
    from pyarrow import types

    tests = (types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    return any(test(kind) for test in tests)


def _explained(path: Path, names: list[str], why: str) -> InputError:
    """The error of a CSV file that pyarrow could not read, in our words where they are known."""
    if cell := CELL.match(why):
        value = reprlib.repr(cell[3])  # a quote that is not closed makes a cell of all that follows
        return InputError(path, f"row {int(cell[2]) - 1}", names[int(cell[1])], f"must be a number, got {value}")
    if row := ROW.match(why):
        return InputError(path, f"row {int(row[1]) - 1}", f"has {row[3]} fields, the header {row[2]}")
    return InputError(path, why)


def legal_numbers(path: Path, batch: Any, key: str, legal: Range, first: int) -> NDArray[np.float64]:
    """A column of a batch that begins after ``first`` rows, every value in its legal range. Raises InputError."""
    values = np.asarray(batch[key].to_numpy(zero_copy_only=False), dtype=float)
    odd = ~np.isfinite(values) | (values < legal.low) | (values > legal.high) | (values == legal.low)
    for row in np.flatnonzero(odd | (values != np.rint(values)) if legal.whole else odd):
        if complaint := legal.complaint(float(values[row])):
            raise InputError(path, f"row {first + row + 1}", key, complaint)
    return values
