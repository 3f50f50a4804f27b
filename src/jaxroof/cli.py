"""The process of a command line: streams, wrong input as one line, the exit code."""

import atexit
import gc
import io
import os
import sys
from typing import Any

import typer

from jaxroof.app import app
from jaxroof.commands import interruption

# Longer words are cut, so that what is said fits a line.
LONGEST_WORD, ENDS = 300, 100


def run_process() -> None:
    """The process that is this command line; to look for garbage among its imports would take a fifth of it."""
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    interruption.answer()
    _open_stderr()
    main()


def main(arguments: list[str] | None = None) -> None:
    """Entry point: wrong input is one line on stderr and exit code 2, never a traceback."""
    from jaxroof.files import InputError

    if sys.stdout is None:
        _fail("stdout: is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "µ" still gets its table
    try:
        code = app(
            _no_cache_first(sys.argv[1:] if arguments is None else arguments) or ["--help"], standalone_mode=False
        )
        sys.stdout.flush()
    except typer.Abort:
        sys.exit(130)
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        _drop_stdout()
        _fail(str(error))
    except Exception as error:
        if not hasattr(error, "format_message"):  # a command-line parser's own error has one
            raise
        _fail(error.format_message())
    sys.exit(code or 0)


def _no_cache_first(arguments: list[str]) -> list[str]:
    """``--no-cache`` may stand before or after the command."""
    others = [argument for argument in arguments if argument != "--no-cache"]
    return others if len(others) == len(arguments) else ["--no-cache", *others]


class _Lossy(io.FileIO):
    """What cannot be written is lost."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _open_stderr() -> None:
    """Have a stderr, also where it is closed or its disk is full: what is said there is no part of a result."""
    if sys.stderr is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    encoding, raw = getattr(sys.stderr, "encoding", None), io.BufferedWriter(_Lossy(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)


def _drop_stdout() -> None:
    """Where stdout cannot be written, as on a full disk, forget what is left of it: Python ends by trying again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shortened(word: str) -> str:
    """A word, or the ends of one that is too long to be read: a number may have thousands of digits."""
    return word if len(word) <= LONGEST_WORD else f"{word[:ENDS]}…{word[-ENDS:]}"


def _fail(message: str) -> None:
    from jaxroof.report.tables import printable

    sys.stderr.write(f"jaxroof: {printable(' '.join(map(_shortened, message.split())))}\n")
    sys.exit(2)
