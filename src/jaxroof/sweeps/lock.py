"""One sweep at a time on an output."""

import contextlib
import datetime
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from jaxroof.files import InputError, check_writable, made, naming

LOCK = "lock"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold ``folder`` and make it where it is missing; afterwards nothing is left of an empty one.

    The operating system lets go of the lock when its process ends, however it ends. Raises InputError
    where another process holds it.
    """
    check_writable(folder.parent)
    with made(folder.parent):
        with naming(folder):
            file = _locked(folder)
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)
            file.close()
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


def _locked(folder: Path) -> TextIO:
    """The locked file that says who has it. Another holder may just have removed the one that was opened: again."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as closing:
            file = closing.enter_context((folder / LOCK).open("a+", encoding="utf-8"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise InputError(folder, "--out", f"is another sweep's, which runs: {file.read()}") from None
            if os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat()):
                closing.pop_all()
                break
    file.truncate(0)
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {since}")
    file.flush()
    return file
