"""Reading files: every problem is an :class:`InputError` of one line, file, key and why."""

import csv
import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxroof.files.check import unknown_key
from jaxroof.files.errors import InputError


def data_dir() -> Path:
    """Where ``configs/`` and ``ground_truth/`` lie: inside the wheel, or at the top of a checkout."""
    installed = Path(__file__).parents[1] / "data"
    return installed if installed.is_dir() else Path(__file__).parents[3]


def read_text(path: Path) -> str:
    """The file's text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(path, "is not UTF-8 text") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise InputError(path, getattr(error, "strerror", None) or str(error)) from None


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
    text = read_text(path)
    try:
        return parse(text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(path, f"malformed {kind}: {error}") from None


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
