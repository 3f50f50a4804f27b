"""Tables as text, as Markdown and on the terminal: a table is its columns by name, a dict or a DataFrame."""

import re
import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any, Protocol, runtime_checkable

Columns = dict[str, Iterable[Any]]


@runtime_checkable
class Table(Protocol):
    """Columns by name, all of one length."""

    def items(self) -> Iterable[tuple[Hashable, Iterable[Any]]]:
        """Name and cells of each."""


def columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """The table of ``rows``: a cell that a row lacks is NaN."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, float("nan")) for row in rows] for name in names}


def records(table: Table) -> list[dict[str, Any]]:
    """The rows of a table for JSON; what is no number is null."""
    plain = {str(k): [None if isinstance(x, float) and not isfinite(x) else x for x in xs] for k, xs in table.items()}
    return [dict(zip(plain, cells, strict=True)) for cells in zip(*plain.values(), strict=True)]


def without_empty(table: Mapping[str, Iterable[Any]]) -> Columns:
    """A table without the columns in which no cell is known."""
    return {name: cells for name, cells in table.items() if any(cell == cell for cell in cells)}


def print_table(table: Table, title: str, digits: int = 1) -> None:
    """A table on stdout: plain when piped; on a terminal framed, cut by columns into tables that fit its width."""
    title, text = printable(title), formatted(table, digits)
    if sys.stdout.isatty():
        numbers = [all(isinstance(x, Real) and not isinstance(x, bool) for x in cells) for _, cells in table.items()]
        return _print_framed(text, dict(zip(text, numbers, strict=True)), title)
    cells = [[name, *cells] for name, cells in text.items()]
    widths = [max(map(len, column)) for column in cells]
    lines = [" ".join(map(str.rjust, row, widths)) for row in zip(*cells, strict=True)]
    sys.stdout.writelines(f"{line}\n" for line in [title, *lines, ""])


def markdown(table: Table, digits: int = 1) -> str:
    """A table in Markdown, numbers to ``digits`` decimals."""
    text = formatted(table, digits)
    rows = [list(text), ["---"] * len(text), *zip(*text.values(), strict=True)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '∣') for cell in row)} |" for row in rows)


def formatted(table: Table, digits: int = 1) -> dict[str, list[str]]:
    """Every cell as text, numbers to ``digits`` decimals."""
    return {printable(str(name)): [_text(cell, digits) for cell in cells] for name, cells in table.items()}


def printable(text: str) -> str:
    """``text`` with its control characters escaped: a name from a file must not steer the terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def number(x: float | None, digits: int = 3) -> str:
    """A number to some significant digits, "–" for none."""
    return "–" if x is None else f"{x:.{digits}g}"


def _text(cell: Any, digits: int) -> str:
    if not isinstance(cell, float):
        return printable(str(cell))
    return "–" if cell != cell else f"{cell:.{digits}f}"


def _print_framed(text: Mapping[str, Sequence[str]], numeric: Mapping[str, bool], title: str) -> None:
    from rich.console import Console
    from rich.table import Table as Frame
    from rich.text import Text

    console = Console()
    console.print(Text(title, style="table.title"))
    for part in _beside(text, console.width, _labels(numeric)):
        framed = Frame()
        for name in part:
            framed.add_column(Text(name), overflow="fold", justify="right" if numeric[name] else "left")
        for row in zip(*(text[name] for name in part), strict=True):
            framed.add_row(*map(Text, row))
        console.print(framed)


def _labels(numeric: Mapping[str, bool]) -> list[str]:
    """What tells rows apart: of the first three columns those up to the last that is text, at least one."""
    first = list(numeric)[:3]
    return first[: max((place for place, name in enumerate(first, 1) if not numeric[name]), default=1)]


def _beside(text: Mapping[str, Sequence[str]], width: int, labels: Sequence[str]) -> Iterator[list[str]]:
    """Columns of each table that ``width`` holds: what labels a row, then the next ones that fit, at least one.

    Labels that take more than half of the width are the first one alone.
    """
    from rich.cells import cell_len

    rooms = {name: 3 + max(map(cell_len, [name, *cells])) for name, cells in text.items()}  # padding and a border
    first = list(labels if sum(rooms[name] for name in labels) <= width / 2 else labels[:1])
    part = first[:]
    for name, room in rooms.items():
        if name in first:
            continue
        if len(part) > len(first) and 1 + room + sum(rooms[other] for other in part) > width:
            yield part
            part = first[:]
        part.append(name)
    yield part
