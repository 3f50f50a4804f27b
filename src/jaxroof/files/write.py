"""Writing files: whole or not at all."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    """Make ``folder`` and keep other writers off while files are put there.

    Drafts of writers that were killed go too. Raises InputError where it cannot be written.
    """
    with naming(folder), made(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a disk without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in folder.glob(f"{DRAFT}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """What goes wrong as ``path`` is written, a full disk too, is an InputError that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror or error}") from None


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make ``folder`` and those that it is to lie in; of these, all that stay empty go again."""
    missing = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty
            for path in missing:
                path.rmdir()


@contextlib.contextmanager
def drafted(folder: Path, files: Mapping[str, bytes]) -> Iterator[Callable[[], None]]:
    """Have all ``files``, by path in ``folder``, on the disk; what is yielded gives them their names, in order.

    ``folder`` is :func:`held`. Raises InputError.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=DRAFT) as draft:
        for name, data in files.items():
            if (folder / name).is_dir():
                raise InputError(folder / name, "is a folder, so no file of that name can be written")
            Path(draft, name).parent.mkdir(exist_ok=True)
            Path(draft, name).write_bytes(data)
            _sync(Path(draft, name))

        def rename() -> None:
            for name in files:
                (folder / name).parent.mkdir(exist_ok=True)
                os.replace(Path(draft, name), folder / name)

        yield rename


def remove(folder: Path, names: Iterable[str]) -> None:
    """Those files of ``folder`` that are there; folders that lose their last one go too."""
    for path in (folder / name for name in names):
        if path.is_file() or path.is_symlink():
            path.unlink()
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def write(path: Path, data: Any) -> None:
    """A file that is there whole or not at all, also after a power cut. Raises InputError."""
    draft = path.with_name(f"{DRAFT}{os.getpid()}")
    try:
        with naming(path):
            draft.write_bytes(data)
            publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def publish(draft: Path, path: Path) -> None:
    """Rename a complete file, once it is on disk."""
    _sync(draft)
    os.replace(draft, path)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
