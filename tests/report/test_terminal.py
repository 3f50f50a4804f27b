"""On a terminal every cell of every table is shown whole, however narrow the terminal is."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len

import jaxroof
from jaxroof.cli import main
from jaxroof.report import tables as report

pty = pytest.importorskip("pty", reason="a terminal of Unix")

# What numbers hold for: a terminal breaks text by itself.
SENTENCES = ("one request, ", "at least, at most: ", "tpot_low_ms, tpot_high_ms: ", "100 % of the measurements ")
WIDTHS = [40, 50, 80, 120]
COMMANDS = [
    "evaluate",
    "list overheads",
    "list models",
    "predict --model llama-3.1-8b --hardware h100-sxm --tp 1 --prompt 512 --output 128 --breakdown",
]
CHILD = """
import sys, termios
from jaxroof.cli import main
for width in {widths}:
    termios.tcsetwinsize(sys.stdout.fileno(), (50, width))
    for line in {commands}:
        try:
            main(line.split())
        except SystemExit as exit_:
            assert not exit_.code
    print(chr(12))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands run."""
    return tmp_path_factory.mktemp("terminal")


@pytest.fixture(scope="module")
def piped(folder):
    """Title and cells of every table that the commands write into a pipe."""
    tables, out, print_table = [], io.StringIO(), report.print_table

    def record(table, title, digits=1):
        tables.append((title, report.formatted(table, digits)))
        print_table(table, title, digits)

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(folder)
        for module in [
            m for name, m in sys.modules.items() if name.startswith("jaxroof") and hasattr(m, "print_table")
        ]:
            patch.setattr(module, "print_table", record)
        for line in COMMANDS:
            with pytest.raises(SystemExit):
                main(line.split())
    shown = "".join(line for line in out.getvalue().splitlines(True) if not line.startswith(SENTENCES))
    assert shown == "".join(f"{title}\n{pd.DataFrame(table).to_string(index=False)}\n\n" for title, table in tables)
    return tables


@pytest.fixture(scope="module")
def screens(folder):
    """What the commands write on a terminal of each width, without colours."""
    here, there = pty.openpty()
    environment = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(widths=WIDTHS, commands=COMMANDS)],
        stdin=subprocess.DEVNULL, stdout=there, stderr=subprocess.PIPE, cwd=folder,
        env=environment | {"TERM": "xterm-256color", "PYTHONPATH": str(Path(jaxroof.__file__).parents[1])},
    )  # fmt: skip
    os.close(there)
    written = b""
    with contextlib.suppress(OSError):  # the terminal is gone with its last writer
        while data := os.read(here, 65536):
            written += data
    os.close(here)
    _, errors = child.communicate()
    assert child.returncode == 0, errors.decode()
    pages = re.sub(r"\x1b\[[0-9;]*m", "", written.decode()).split("\f")
    return dict(zip(WIDTHS, pages, strict=False))


@pytest.mark.parametrize("width", WIDTHS)
def test_every_cell_is_shown(piped, screens, width):
    lines = [line for line in screens[width].split("\r\n") if not line.startswith(SENTENCES)]
    assert max(map(cell_len, lines)) <= width
    shown, titles = [], ""
    for line in lines:
        if line.startswith("┏"):
            shown.append([""] * (line.count("┳") + 1))
        elif line.startswith(("┃", "│")):
            cells = re.split("[┃│]", line)[1:-1]
            shown[-1] = [text + squeezed(cell) for text, cell in zip(shown[-1], cells, strict=True)]
        elif not line.startswith(("┡", "└")):
            titles += squeezed(line)
    assert titles == squeezed("".join(title for title, _ in piped))
    expected = [[squeezed("".join([name, *cells])) for name, cells in table.items()] for _, table in piped]
    assert beside_first(shown) == beside_first(expected)


def beside_first(tables):
    """Every column after the first, together with the first of its table; further parts may repeat some."""
    return list(dict.fromkeys((first, column) for first, *others in tables for column in others))


def test_parts_of_a_wide_table_repeat_what_tells_rows_apart(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    rows = [{"group": "all", "N": 13, "name": name, "first column": 1.0, "second column": 2.0} for name in "ab"]
    report.print_table(report.columns(rows), "wide")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).split("\n")
    heads = [re.sub("[ ┃]+", " ", line).strip() for line in shown if line.startswith("┃")]
    assert heads == ["group N name first column", "group N name second column"]


def squeezed(text):
    """Without white space, which folding moves."""
    return "".join(text.split())
