"""A result on stdout, as tables or as JSON."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxroof.files import InputError
from jaxroof.report.tables import Table, print_table


def show(
    data: Mapping[str, Any], tables: Mapping[str, Table], lines: Sequence[str], as_json: bool, digits: int = 1
) -> None:
    """Tables by title, then lines of text; or their JSON object, on stdout."""
    if as_json:
        sys.stdout.write(dump(data))
        return
    for title, table in tables.items():
        print_table(table, title, digits)
    sys.stdout.writelines(f"{line}\n" for line in lines)


def note(lines: Iterable[str]) -> None:
    """What a number does not say of itself, on stderr."""
    sys.stderr.writelines(f"jaxroof: note: {line}\n" for line in lines)


def dump(data: Any) -> str:
    """JSON text, the same bytes for the same data. Raises InputError where a result is no number."""
    try:
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise InputError("result", "a latency is not finite; a constant is too extreme") from None


def finite(value: float) -> float | None:
    """A number for JSON, null where there is none."""
    return float(value) if math.isfinite(value) else None
