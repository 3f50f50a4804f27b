"""Reading files: every problem is an :class:`InputError` of one line, file, key and why."""

import csv
import json
import math
import stat
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxroof.files.check import unknown_key
from jaxroof.files.errors import InputError
from jaxroof.units import MEGA

# What takes a few seconds to parse: far above what people write.
MOST_BYTES = {"TOML": 4e6, "CSV": 16e6, "JSON": 256e6}


def data_dir() -> Path:
    """Where ``configs/`` and ``ground_truth/`` lie: inside the wheel, or at the top of a checkout."""
    installed = Path(__file__).parents[1] / "data"
    return installed if installed.is_dir() else Path(__file__).parents[3]


def check_file(path: Path, most_bytes: float = math.inf) -> None:
    """Raise unless it is a regular file of at most so many bytes: pipes may never begin, devices never end."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise InputError(path, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(path, "Is a directory" if stat.S_ISDIR(status.st_mode) else "is no regular file")
    if status.st_size > most_bytes:
        raise InputError(path, f"must have at most {most_bytes / MEGA:g} MB, got {status.st_size / MEGA:.1f}")


def read_text(path: Path, kind: str = "CSV") -> str:
    """The text of a file that is small enough to be parsed as a ``kind`` of :data:`MOST_BYTES`."""
    check_file(path, MOST_BYTES[kind])
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(path, "is not UTF-8 text") from None
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict."""
    return dict(_parse(path, "TOML", tomllib.loads))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file whose top level is an object."""
    data = _parse(path, "JSON", json.loads)
    if not isinstance(data, dict):
        raise InputError(path, "must be a JSON object")
    return data


def _parse(path: Path, kind: str, parse: Callable[[str], Any]) -> Any:
    text = read_text(path, kind)
    try:
        return parse(text)
    except (ValueError, RecursionError, csv.Error) as error:
        # A bare ValueError is Python's, of a number of more digits than it reads, with advice for its programmers.
        says = "a number has too many digits" if type(error) is ValueError else error
        raise InputError(path, f"malformed {kind}: {says}") from None


def read_csv(path: Path, required: Iterable[str], optional: Iterable[str] = ()) -> list[dict[str, str]]:
    """The rows of a CSV file that has all ``required`` columns and none that is neither."""
    lines = _parse(path, "CSV", _numbered_rows)
    if len(lines) < 2:
        raise InputError(path, "has no rows")
    header = lines[0][1]
    unknown_key(path, header, [*required, *optional])
    for name in required:
        if header.count(name) != 1:
            raise InputError(path, name, "column stands twice" if name in header else "missing column")
    for line, row in lines[1:]:
        if len(row) != len(header):
            raise InputError(path, f"line {line}", f"has {len(row)} fields, the header {len(header)}")
    return [dict(zip(header, row, strict=True)) for _, row in lines[1:]]


def _numbered_rows(text: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), strict=True)
    return [(reader.line_num, row) for row in reader if row]
