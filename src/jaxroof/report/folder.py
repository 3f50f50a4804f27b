"""The folder of a result: one result's at a time, of files that it knows as its own."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxroof.files import InputError, check_writable, drafted, held, read_text, remove

FINDINGS, RESULTS = "FINDINGS.md", "results.json"
# What a sweep is called as a result, and where it stands until it is finished.
SWEEP, PART = "sweep", ".part"
OWN = re.compile(r"<!-- jaxroof: (\[.*\]) -->")


class Owner(NamedTuple):
    """The result that a folder is of, None where that is not known, and its files."""

    result: str | None
    files: Sequence[str]


def signed(text: str, result: str, files: Iterable[str]) -> str:
    """``text`` with a last line that says whose it and its ``files`` are, for :func:`check_out`."""
    own = json.dumps([result, *files]).replace("<", r"\u003c").replace(">", r"\u003e")
    return f"{text}\n\n<!-- jaxroof: {own} -->\n"


def check_out(folder: Path | None, result: str, force: bool) -> None:
    """Raise InputError where ``folder`` cannot be written, or without ``force`` holds another result than this."""
    check_writable(folder)
    if folder is None or force:
        return
    if result != SWEEP and (folder / PART).is_dir():
        raise InputError(folder, "--out", "holds a sweep that is not finished; --force writes beside it")
    if (there := _owner(folder)) and there.result != result:
        other = there.result or f"a {there.files[0]} of unknown origin"
        raise InputError(folder, "--out", f"holds another result, {other}; --force replaces it")


def replace_result(folder: Path, files: Mapping[str, bytes], force: bool) -> None:
    """Put ``files`` into ``folder``, FINDINGS.md first, and take away what its former result had beside them.

    What is there and not the same result's is kept, unless ``force``. FINDINGS.md knows all files that are there, also
    after a writer was killed: those of the former result go while it lists them and this one's. Raises InputError.
    """
    text = files[FINDINGS].decode()
    result = _signature(text).result or ""
    with held(folder):
        former: set[str] = set()
        for path in (Path(name) for name in files if Path(name).name == FINDINGS):
            check_out(folder / path.parent, _signature(files[str(path)].decode()).result or "", force)
            there = _owner(folder / path.parent)
            former |= {str(path.parent / name) for name in there.files} if there else set()
        if not force and (taken := next((n for n in files if n not in former and _is_file(folder / n)), None)):
            how = "move it, then --resume or --join again" if result == SWEEP else "--force replaces it"
            raise InputError(folder / taken, "--out", f"is there, and not of this result; {how}")
        stale = sorted(former - {*files})
        first = {FINDINGS: signed(text, result, [*files, *stale]).encode()}
        with drafted(folder, files) as publish, drafted(folder, first if stale else {}) as announce:
            announce()
            remove(folder, stale)
            publish()


def missing(folder: Path) -> list[str]:
    """Files that the result in ``folder`` had, and that are not there."""
    owner = _owner(folder)
    return [name for name in owner.files if not _is_file(folder / name)] if owner else []


def _owner(folder: Path) -> Owner | None:
    """Whose a folder is."""
    if _is_file(folder / FINDINGS):
        try:
            return _signature(read_text(folder / FINDINGS))
        except InputError:  # no text, or a link to nowhere
            return _signature("")
    return Owner(None, [RESULTS]) if _is_file(folder / RESULTS) else None


def _is_file(path: Path) -> bool:
    """Whether something is there that a file would replace, a link to nowhere too; a folder stays."""
    return os.path.lexists(path) and not path.is_dir()


def _signature(text: str) -> Owner:
    """What the last signature in a text says; a file that lies elsewhere is nobody's own."""
    try:
        result, *files = json.loads(OWN.findall(text)[-1])
        return Owner(str(result), [f for f in files if ".." not in Path(f).parts and not Path(f).is_absolute()])
    except (ValueError, TypeError, IndexError):
        return Owner(None, [FINDINGS])
