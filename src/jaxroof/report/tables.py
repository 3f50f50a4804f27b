"""Tables as text, as Markdown and on the terminal."""

import sys
from collections.abc import Iterator

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(table: pd.DataFrame, title: str, digits: int = 1) -> None:
    """A table on stdout: plain when piped; on a terminal framed, cut by columns into tables that fit its width."""
    text = formatted(table, digits)
    if not sys.stdout.isatty():
        sys.stdout.write(f"{title}\n{text.to_string(index=False)}\n\n")
        return
    console, numbers = Console(), set(table.select_dtypes("number").columns)
    console.print(Text(title, style="table.title"))
    for part in _beside(text, console.width):
        rich = Table()
        for column in text.columns[part]:
            rich.add_column(Text(column), overflow="fold", justify="right" if column in numbers else "left")
        for row in text.iloc[:, part].itertuples(index=False):
            rich.add_row(*map(Text, row))
        console.print(rich)


def markdown(table: pd.DataFrame, digits: int = 1) -> str:
    """A DataFrame as a Markdown table, numbers to ``digits`` decimals."""
    text = formatted(table, digits)
    rows = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '∣') for cell in row)} |" for row in rows)


def formatted(table: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    """Every cell as text, numbers to ``digits`` decimals."""
    return table.map(lambda x: ("–" if pd.isna(x) else f"{x:.{digits}f}") if isinstance(x, float) else str(x))


def _beside(text: pd.DataFrame, width: int) -> Iterator[list[int]]:
    """Columns of each table that ``width`` holds: the first one, then the next ones that fit, at least one."""
    rooms = [3 + max(map(cell_len, [name, *cells])) for name, cells in text.items()]  # padding and a border
    part: list[int] = []
    for index, room in enumerate(rooms):
        if len(part) > 1 and 1 + room + sum(rooms[i] for i in part) > width:
            yield part
            part = [0]
        part.append(index)
    yield part
