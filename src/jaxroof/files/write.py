"""Writing files: whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxroof.files.errors import InputError

DRAFT = ".draft-"


def check_writable(folder: Path | None, option: str = "--out") -> None:
    """Raise InputError where files cannot be put into ``folder``, as ``option`` asks; nothing is made yet."""
    if folder is None:
        return
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(
            folder, option, f"cannot be written: {'File exists' if there == folder else 'Not a directory'}"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(folder, option, "cannot be written: Permission denied")


def write_folder(folder: Path, files: Mapping[str, bytes], stale: Iterable[str] = ()) -> None:
    """All ``files``, by path in ``folder``, the last one last, or none of them; then ``stale`` ones go.

    Drafts of runs that were killed go too. Raises InputError.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{DRAFT}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=DRAFT) as draft:
            _fill(Path(draft), folder, files)
            for name in files:
                (folder / name).parent.mkdir(exist_ok=True)
                os.replace(Path(draft, name), folder / name)
    except OSError as error:
        raise InputError(folder, f"cannot be written: {error.strerror}") from None
    finally:
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    for name in stale:
        (folder / name).unlink(missing_ok=True)


def _fill(draft: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        if (folder / name).is_dir():
            raise InputError(folder / name, "is a folder, so no file of that name can be written")
        (draft / name).parent.mkdir(exist_ok=True)
        (draft / name).write_bytes(data)


def write(path: Path, data: Any) -> None:
    """A file that is there whole or not at all, also after a power cut."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(data)
    publish(draft, path)


def publish(draft: Path, path: Path) -> None:
    """Rename a complete file, once it is on disk."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(draft, path)
