"""The command line's compilation cache: where it is, when it is not, and what it must not break."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxroof.app import app
from jaxroof.cli import main
from jaxroof.commands.program_cache import cache_folder


def command_line(line, **environment):
    """stdout of a process of its own."""
    command = [sys.executable, "-c", "from jaxroof.cli import main; main()", *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_folder_is_the_users_unless_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert cache_folder({}) == tmp_path / "home/.cache/jaxroof"
    assert cache_folder({"XDG_CACHE_HOME": f"{tmp_path}/xdg"}) == tmp_path / "xdg/jaxroof"
    named = {"XDG_CACHE_HOME": f"{tmp_path}/xdg", "JAXROOF_CACHE": f"{tmp_path}/mine"}
    assert cache_folder(named) == tmp_path / "mine"
    assert (tmp_path / "mine").is_dir()


def test_no_folder_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    assert cache_folder({"JAXROOF_CACHE": f"{tmp_path}/file/cache"}) is None
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cache_folder({"JAXROOF_CACHE": str(tmp_path)}) is None

    def homeless():
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder({}) is None


def test_no_folder_where_others_may_put_programs(tmp_path, monkeypatch, capsys):
    folder, named = tmp_path / "mine", {"JAXROOF_CACHE": f"{tmp_path}/mine"}
    umask = os.umask(0)
    try:
        assert cache_folder(named) == folder
    finally:
        os.umask(umask)
    assert folder.stat().st_mode & 0o777 == 0o700
    for mode in (0o770, 0o702):
        folder.chmod(mode)
        assert cache_folder(named) is None
        assert capsys.readouterr().err.startswith(f"jaxroof: note: {folder}: others may write there")
    folder.chmod(0o700)
    assert cache_folder(named) == folder
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert cache_folder(named) is None


def test_programs_are_kept_and_change_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    cold, warm = (command_line("study h1 --json", JAXROOF_CACHE=f"{tmp_path}/kept") for _ in range(2))
    assert list((tmp_path / "kept").iterdir())
    uncached = command_line("study h1 --json", JAXROOF_CACHE=f"{tmp_path}/file/unwritable")
    assert cold == warm == uncached
    assert json.loads(cold)["study"] == "h1"


@pytest.mark.parametrize("line", ["--no-cache evaluate --json", "evaluate --json --no-cache"])
def test_no_cache_before_or_after_the_command(line, tmp_path):
    assert json.loads(command_line(line, JAXROOF_CACHE=f"{tmp_path}/none"))["scoring"] == "itl"
    assert not (tmp_path / "none").exists()


def test_help_shows_it(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--no-cache" in capsys.readouterr().out
    assert app.registered_callback is not None
