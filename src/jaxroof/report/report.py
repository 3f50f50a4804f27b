"""What a question answers, once; and its one writer: on a terminal, as JSON, as a folder of files."""

import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxroof.files import InputError, check_writable, read_text, write_folder
from jaxroof.report.figures import Figure
from jaxroof.report.progress import progress
from jaxroof.report.tables import Table, markdown, print_table, printable

FINDINGS, RESULTS = "FINDINGS.md", "results.json"
# The last line of FINDINGS.md: what result this is, and which files are its own.
OWN = re.compile(r'<!-- jaxroof: (\["[^<>]*"\]) -->\n\Z')


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

    def deliver(self, out: Path | None, as_json: bool) -> None:
        """The files into ``out``, if it is given; then the tables and sentences, or the JSON object, on stdout."""
        if out is not None:
            self.write(out)
        self.show(as_json)

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

    def write(self, folder: Path) -> None:
        """FINDINGS.md, results.json, CSVs and PNGs, all or none, in place of the result's former ones."""
        files = self.files()
        data = {name: _bytes(content) for name, content in progress(files.items(), "files", len(files))}
        former = _former(folder)
        write_folder(folder, data, sorted({*former[1]} - {*data}) if former else ())

    def files(self) -> dict[str, Any]:
        """Every file by its path, results.json last."""
        files: dict[str, Any] = {}
        blocks, text = list(self.document()), []
        for block in blocks:
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
        if any(isinstance(block, str) for block in blocks):
            own = json.dumps([self.result, *files, FINDINGS, RESULTS], ensure_ascii=False).replace(">", r"\u003e")
            files[FINDINGS] = "\n\n".join([*text, f"<!-- jaxroof: {own} -->\n"])
        return {**files, RESULTS: dump({**self.record, **self.beside})}


def check_out(folder: Path | None, result: str, force: bool) -> None:
    """Raise InputError where ``folder`` cannot be written, or without ``force`` holds another result than this."""
    check_writable(folder)
    if folder is None or force:
        return
    former = _former(folder)
    if former and former[0] != result:
        raise InputError(folder, "--out", f"holds another result, {former[0]}; --force replaces it")


def _former(folder: Path) -> tuple[str, list[str]] | None:
    """The name and the files of the result that a folder holds."""
    if (folder / FINDINGS).is_file():
        own = OWN.search(read_text(folder / FINDINGS))
        name, *files = json.loads(own[1]) if own else ["a FINDINGS.md of unknown origin"]
        return name, [file for file in files if ".." not in file and not file.startswith("/")]
    return ("a results.json without findings", [RESULTS]) if (folder / RESULTS).is_file() else None


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
