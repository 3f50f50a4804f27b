"""Writing files: whole or not at all."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxroof.files.errors import InputError

DRAFT = ".jaxroof-draft-"


def check_writable(folder: Path | None, option: str = "--out") -> None:
    """Raise InputError where files cannot be put into ``folder``, as ``option`` asks; nothing is made yet."""
    if folder is None:
        return
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
    if not there.is_dir():
        raise InputError(
            folder, option, f"cannot be written: {'File exists' if there == folder else 'Not a directory'}"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(folder, option, "cannot be written: Permission denied")


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make ``folder`` and keep other writers off while files are put there; one that stays empty goes.

    Drafts of writers that were killed go too. Raises InputError where it cannot be written.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a disk without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in folder.glob(f"{DRAFT}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(folder, f"cannot be written: {error.strerror}") from None
    finally:
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def write_folder(folder: Path, files: Mapping[str, bytes], stale: Iterable[str] = ()) -> None:
    """All ``files``, by path in ``folder``, the last one last, once all are on the disk; then ``stale`` ones go.

    ``folder`` is :func:`held`. Raises InputError.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=DRAFT) as draft:
        _fill(Path(draft), folder, files)
        for name in files:
            (folder / name).parent.mkdir(exist_ok=True)
            os.replace(Path(draft, name), folder / name)
    for path in (folder / name for name in stale):
        if path.is_file():
            path.unlink()
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _fill(draft: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        if (folder / name).is_dir():
            raise InputError(folder / name, "is a folder, so no file of that name can be written")
        (draft / name).parent.mkdir(exist_ok=True)
        (draft / name).write_bytes(data)
        _sync(draft / name)


def write(path: Path, data: Any) -> None:
    """A file that is there whole or not at all, also after a power cut."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(data)
    publish(draft, path)


def publish(draft: Path, path: Path) -> None:
    """Rename a complete file, once it is on disk."""
    _sync(draft)
    os.replace(draft, path)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
