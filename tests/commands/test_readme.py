"""What README says that ``predict``, ``simulate`` and ``capacity`` print is what they print."""

import re
import shlex

import pytest
from command_line import ROOT, run

NUMBER = re.compile(r"-?\d+\.\d+")
CONSOLES = re.findall(r"```console\n\$ (.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
BLOCKS = [block for block in CONSOLES if block.startswith(("jaxroof predict", "jaxroof simulate", "jaxroof capacity"))]


def command_and_lines(block):
    """The arguments of a console block, and what it shows."""
    command, _, shown = re.sub(r"\\\n\s*", "", block).partition("\n")
    return shlex.split(command)[1:], [line for line in shown.splitlines() if line not in ("", "…")]


def test_there_are_such_blocks():
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: " ".join(block.split()[1:4]))
def test_blocks_are_what_is_printed(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, lines = command_and_lines(block)
    printed = run(arguments)[1].splitlines()
    for line in lines:
        assert any(same(line, other) for other in printed), line


def same(shown, printed):
    """Words are alike, numbers to their last digit."""
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(abs(float(x) - float(y)) < 1.5 * 10.0 ** -len(x.partition(".")[2]) for x, y in pairs)
