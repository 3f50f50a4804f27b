"""The folder of a result: one result's at a time, of files that it knows as its own."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from jaxroof.files import InputError, check_writable, held, read_text, write_folder

FINDINGS, RESULTS = "FINDINGS.md", "results.json"
# Where a sweep stands until it is finished.
PART = ".part"
OWN = re.compile(r"<!-- jaxroof: (\[.*\]) -->")


class Own(NamedTuple):
    """A result's name, and its files."""

    result: str
    files: frozenset[str]


def signed(text: str, result: str, files: Iterable[str]) -> str:
    """``text`` with a last line that says whose it and its ``files`` are, for :func:`check_out`."""
    own = json.dumps([result, *files]).replace("<", r"\u003c").replace(">", r"\u003e")
    return f"{text}\n\n<!-- jaxroof: {own} -->\n"


def check_out(folder: Path | None, result: str, force: bool) -> None:
    """Raise InputError where ``folder`` cannot be written, or without ``force`` holds another result than this."""
    check_writable(folder)
    if folder is None or force:
        return
    if result != "sweep" and (folder / PART).is_dir():
        raise InputError(folder, "--out", "holds a sweep that is not finished; --force writes beside it")
    if (there := _own(folder)) and there.result != result:
        raise InputError(folder, "--out", f"holds another result, {there.result}; --force replaces it")


def replace_result(folder: Path, files: Mapping[str, bytes], force: bool) -> None:
    """Put ``files`` into ``folder``, FINDINGS.md among them, and take away what its former result had beside them.

    What is there and not the same result's is kept, unless ``force``. Raises InputError.
    """
    with held(folder):
        stale: set[str] = set()
        for name, data in files.items():
            if Path(name).name == FINDINGS:
                stale |= _replaced(folder / Path(name).parent, Path(name).parent, data, force)
        if not force and (taken := next((n for n in files if (folder / n).exists() and n not in stale), None)):
            raise InputError(folder / taken, "--out", "is there, and not of this result; --force replaces it")
        if more := sorted(stale - {*files}):  # whoever comes after a crash is to know them all
            text = files[FINDINGS].decode()
            mine = _parsed(text)
            write_folder(folder, {FINDINGS: signed(text, mine.result, [*files, *more]).encode()})
        write_folder(folder, files, more)


def _replaced(folder: Path, below: Path, findings: bytes, force: bool) -> set[str]:
    """The files of the result in ``folder``, which the one of these ``findings`` may replace. Raises InputError."""
    check_out(folder, _parsed(findings.decode()).result, force)
    there = _own(folder)
    return {str(below / name) for name in there.files} if there else set()


def _own(folder: Path) -> Own | None:
    """Whose a folder is."""
    if (folder / FINDINGS).is_file():
        return _parsed(read_text(folder / FINDINGS))
    return Own("a results.json without findings", frozenset([RESULTS])) if (folder / RESULTS).is_file() else None


def _parsed(text: str) -> Own:
    """What the last signature in a text says; a file that lies elsewhere is nobody's own."""
    try:
        result, *files = json.loads(OWN.findall(text)[-1])
        inside = (file for file in files if ".." not in Path(file).parts and not Path(file).is_absolute())
        return Own(str(result), frozenset(inside))
    except (ValueError, TypeError, IndexError):
        return Own("a FINDINGS.md of unknown origin", frozenset([FINDINGS]))
