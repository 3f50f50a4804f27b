"""What a question answers, once; and its one writer: on a terminal, as JSON, as a folder of files."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxroof.files import InputError
from jaxroof.report.figures import Figure
from jaxroof.report.folder import FINDINGS, RESULTS, replace_result, signed
from jaxroof.report.progress import progress
from jaxroof.report.tables import Table, markdown, print_table, printable


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table under its title: of ``level`` in FINDINGS.md, on a terminal ``shown_title`` if that is another one."""

    title: str
    table: Table
    level: int = 2
    shown_title: str = ""


def sheets(tables: Mapping[str, Table], level: int = 2) -> list[Sheet]:
    """Tables by title as sheets."""
    return [Sheet(title, table, level) for title, table in tables.items()]


@dataclasses.dataclass(frozen=True)
class File:
    """A file that stands in no document: a text, or a table as CSV."""

    name: str
    content: str | Table


Block = str | Sheet | Figure | File


@dataclasses.dataclass(frozen=True)
class Report:
    """A result: its name, its JSON object, and what is said of it.

    ``sheets``, then ``sentences``, then ``parts`` are shown on a terminal, numbers with ``digits`` decimals. The
    ``document`` is all that is written, in order: Markdown, sheets and figures become FINDINGS.md; it is made only
    then, since what draws is slow to load. ``members`` are written to folders of their own. ``beside`` stands in
    results.json only.
    """

    result: str
    record: Mapping[str, Any]
    sheets: Sequence[Sheet] = ()
    sentences: Sequence[str] = ()
    parts: Sequence["Report"] = ()
    document: Callable[[], Iterable[Block]] = tuple
    members: Mapping[str, "Report"] = dataclasses.field(default_factory=dict)
    beside: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    digits: int = 1

    def deliver(self, out: Path | None, force: bool, as_json: bool, shown: Mapping[str, Any] | None = None) -> None:
        """The files into ``out``, if it is given; then the tables and sentences, or the JSON object, on stdout.

        Another object may be ``shown``.
        """
        try:
            if out is not None:
                self.write(out, force)
        finally:  # also where the folder is refused, after all that was computed
            dataclasses.replace(self, record=shown or self.record).show(as_json)

    def show(self, as_json: bool) -> None:
        """Tables and sentences, or the JSON object, on stdout."""
        if as_json:
            sys.stdout.write(dump(self.record))
            return
        for sheet in self.sheets:
            print_table(sheet.table, sheet.shown_title or sheet.title, self.digits)
        sys.stdout.writelines(f"{printable(line)}\n" for line in self.sentences)
        for part in self.parts:
            part.show(as_json)

    def write(self, folder: Path, force: bool) -> None:
        """FINDINGS.md, results.json, CSVs and PNGs, in place of the result's former ones. Raises InputError.

        Another result's, and files that are nobody's, are replaced by ``force`` only.
        """
        files = self.files()
        drawn = {name: _bytes(content) for name, content in progress(files.items(), "files", len(files))}
        replace_result(folder, drawn, force)

    def files(self) -> dict[str, Any]:
        """Every file by its path, FINDINGS.md first, which knows them all, and results.json last."""
        files: dict[str, Any] = {}
        text: list[str] = []
        for block in self.document():
            if isinstance(block, File):
                files[block.name] = block.content
            elif isinstance(block, Figure):
                files[f"{block.name}.png"] = block
                text.append(f"![{block.alt}]({block.name}.png)")
            elif isinstance(block, Sheet):
                text += [f"{'#' * block.level} {block.title}", markdown(block.table, self.digits)]
            else:
                text.append(block)
        for name, member in self.members.items():
            files |= {f"{name}/{path}": content for path, content in member.files().items()}
        findings = signed("\n\n".join(text), self.result, [*files, FINDINGS, RESULTS])
        return {FINDINGS: findings, **files, RESULTS: dump({**self.record, **self.beside})}


def _bytes(content: Any) -> bytes:
    if isinstance(content, Figure):
        return content.png()
    if isinstance(content, str):
        return content.encode()
    import pandas as pd  # slow to load

    return pd.DataFrame(content).to_csv(index=False).encode()


def note(lines: Iterable[str]) -> None:
    """What a number does not say of itself, on stderr."""
    sys.stderr.writelines(f"jaxroof: note: {printable(line)}\n" for line in lines)


def dump(data: Any) -> str:
    """JSON text, the same bytes for the same data. Raises InputError where a result is no number."""
    try:
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise InputError("result", "a latency is not finite; a constant is too extreme") from None


def finite(value: float) -> float | None:
    """A number for JSON, null where there is none."""
    return float(value) if math.isfinite(value) else None
