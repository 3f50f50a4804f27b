"""Writing files: whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxroof.files.errors import InputError


def check_writable(folder: Path | None, option: str = "--out") -> None:
    """Make ``folder``, if there is one; raise InputError where files cannot be put there, as ``option`` asks."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise InputError(folder, option, f"cannot be written: {error.strerror}") from None


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """What ``fill`` puts into a draft folder, moved into ``folder`` file by file once all is complete."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        draft = Path(name)
        fill(draft)
        made = sorted(draft.iterdir())
        if taken := next((path.name for path in made if (folder / path.name).is_dir()), None):
            raise InputError(folder / taken, "is a folder, so no file of that name can be written")
        for path in made:
            os.replace(path, folder / path.name)


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
