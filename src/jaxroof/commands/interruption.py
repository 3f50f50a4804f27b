"""Ctrl-C ends a process where it stands; files are whole or not there at any moment.

An exception would be lost, or fatal, where JAX or an import has called back into Python.
"""

import contextlib
import contextvars
import os
import signal

# What a command leaves behind for another one to go on with.
LAST_WORDS = contextvars.ContextVar("LAST_WORDS", default="")


def answer() -> None:
    """Have this process end when interrupted, unless a shell wants that ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(*_: object) -> None:
    shows_cursor = "\x1b[?25h\n" if os.isatty(2) else ""  # which a progress bar hides
    with contextlib.suppress(OSError):  # a closed stderr, or a full one
        os.write(2, (shows_cursor + LAST_WORDS.get()).encode())
    os._exit(130)
