"""The command line in this process: what it prints, and how it refuses."""

import contextlib
import io
import json
from pathlib import Path

import pytest

from jaxroof.cli import main

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
TABLES = Path(__file__).parent / "data/roofline_parity"
DEFAULTS = {"model": "llama-2-7b", "hardware": "h100-sxm", "tp": 1, "prompt": 8, "output": 2}


def predict(**options):
    """Arguments of a ``predict`` that works, with options replaced; None leaves one out."""
    options = {key: value for key, value in (DEFAULTS | options).items() if value is not None}
    return ["predict", *(f"--{key.replace('_', '-')}={value}" for key, value in options.items())]


def run(arguments):
    """Exit code, stdout and stderr of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code, out.getvalue(), err.getvalue()


def refused(folder, arguments, says):
    """Check that a command is refused in one line that begins with ``says``, and makes no file in ``folder``."""
    before = sorted(folder.rglob("*"))
    code, out, err = run(arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"jaxroof: {says}")
    assert sorted(folder.rglob("*")) == before


def works(arguments):
    """What a command prints as JSON; it must succeed in silence."""
    code, out, err = run([*arguments, "--json"])
    assert (code, err) == (0, "")
    return json.loads(out)


def numbers(arguments):
    """What a prediction prints, but for the inputs that it repeats."""
    return {key: value for key, value in works(arguments).items() if key != "inputs"}
