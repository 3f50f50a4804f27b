"""A report's folder: whole or not at all, of one result at a time."""

import contextlib
import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest

from jaxroof.files import InputError, drafted, held, write
from jaxroof.report.folder import check_out
from jaxroof.report.report import File, Report, Sheet


def report(result="study one", name="table"):
    sheet = Sheet("Errors [%]", {"group": ["all"], "MAPE": [1.25]})
    blocks = ("# One", sheet, File(f"{name}.csv", sheet.table))
    return Report(result, {"study": "one"}, [sheet], ["As expected."], document=lambda: blocks, beside={"more": 1})


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_report_is_shown_and_written_from_one_description(tmp_path, capsys):
    report().deliver(tmp_path / "new/out", force=False, as_json=False)
    assert capsys.readouterr().out == "Errors [%]\ngroup MAPE\n  all  1.2\n\nAs expected.\n"
    out = tmp_path / "new/out"
    assert names(out) == {"FINDINGS.md", "results.json", "table.csv"}
    assert json.loads((out / "results.json").read_text()) == {"study": "one", "more": 1}
    assert (out / "FINDINGS.md").read_text().startswith("# One\n\n## Errors [%]\n\n| group | MAPE |\n")
    report().deliver(None, force=False, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"study": "one"}


def test_another_result_is_refused_or_replaced_whole(tmp_path):
    report().write(tmp_path, force=False)
    (tmp_path / "notes.txt").write_text("the user's own")
    check_out(tmp_path, "study one", force=False)
    with pytest.raises(InputError, match="--out: holds another result, study one; --force replaces it"):
        check_out(tmp_path, "splits", force=False)
    with pytest.raises(InputError, match="holds another result"):
        report("splits", "others").write(tmp_path, force=False)
    assert names(tmp_path) == {"FINDINGS.md", "results.json", "table.csv", "notes.txt"}
    check_out(tmp_path, "splits", force=True)
    report("splits", "others").write(tmp_path, force=True)
    assert names(tmp_path) == {"FINDINGS.md", "results.json", "others.csv", "notes.txt"}


def test_a_users_own_file_is_not_replaced(tmp_path):
    (tmp_path / "table.csv").write_text("the user's own")
    with pytest.raises(InputError, match="is there, and not of this result; --force replaces it"):
        report().write(tmp_path, force=False)
    assert (names(tmp_path), (tmp_path / "table.csv").read_text()) == ({"table.csv"}, "the user's own")
    report().write(tmp_path, force=True)
    report().write(tmp_path, force=False)


def test_members_have_folders_and_leave_none(tmp_path):
    whole = dataclasses.replace(report(), members={"a": report("study a"), "b": report("study b")})
    whole.write(tmp_path, force=False)
    assert names(tmp_path) == {"FINDINGS.md", "results.json", "table.csv", "a", "b"}
    whole.write(tmp_path, force=False)
    report("splits").write(tmp_path, force=True)
    assert names(tmp_path) == {"FINDINGS.md", "results.json", "table.csv"}
    report().write(tmp_path, force=True)
    report("study a").write(tmp_path / "a", force=False)
    report("study other").write(tmp_path / "b", force=False)
    with pytest.raises(InputError, match="b: --out: holds another result, study other"):
        whole.write(tmp_path, force=False)


@pytest.mark.parametrize("former", ["study one", "splits", None])
@pytest.mark.parametrize("steps", range(6))
def test_a_writer_that_dies_leaves_a_folder_whose_files_are_known(tmp_path, monkeypatch, former, steps):
    """At whichever step it dies: the command runs again, and of the former result nothing is left."""
    if former:
        report(former, "a/b").write(tmp_path, force=False)
    left = iter(range(steps))

    def dying(does):
        return lambda *given, **options: does(*given, **options) if next(left, None) is not None else dead()

    def dead():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr("os.replace", dying(os.replace))
        patch.setattr("pathlib.Path.unlink", dying(Path.unlink))
        report("splits", "others").write(tmp_path, force=True)
    report("splits", "third").write(tmp_path, force=former == "study one")
    assert names(tmp_path) == {"FINDINGS.md", "results.json", "third.csv"}


@pytest.mark.parametrize("there", [b"\xff", None])
def test_a_findings_file_that_cannot_be_read_is_replaced_by_force_only(tmp_path, there):
    file = tmp_path / "FINDINGS.md"
    file.write_bytes(there) if there else file.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"--out: holds another result, a FINDINGS.md of unknown origin; --force"):
        check_out(tmp_path, "splits", force=False)
    report().write(tmp_path, force=True)
    assert file.read_text().startswith("# One")


@pytest.mark.parametrize(("result", "how"), [("splits", "--force replaces it"), ("sweep", "move it, then --resume")])
def test_a_result_is_shown_also_where_its_folder_is_refused(tmp_path, capsys, result, how):
    (tmp_path / "table.csv").symlink_to("nowhere")
    with pytest.raises(InputError, match=f"table.csv: --out: is there, and not of this result; {how}"):
        report(result).deliver(tmp_path, force=False, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"study": "one"}
    (tmp_path / "table.csv").unlink()
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(InputError, match=r"table.csv: is a folder, so no file of that name can be written"):
        report(result).deliver(tmp_path, force=False, as_json=False)
    assert capsys.readouterr().out.startswith("Errors [%]")


def test_a_full_disk_is_said_of_a_file_and_a_users_draft_stays(tmp_path, monkeypatch):
    (tmp_path / "x.png.draft").touch()
    write(tmp_path / "x.png", b"1")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"y\.png: cannot be written: No space left on device"):
        write(tmp_path / "y.png", b"2")
    assert names(tmp_path) == {"x.png", "x.png.draft"}


@pytest.mark.parametrize("text", ["{}", "<!-- jaxroof: [1, -->", '<!-- jaxroof: ["a"b"] -->', "<!-- jaxroof: [] -->"])
@pytest.mark.parametrize("file", ["FINDINGS.md", "results.json"])
def test_what_is_not_known_is_another_result(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match="holds another result, a "):
        check_out(tmp_path, "splits", force=False)


def test_a_name_with_brackets_and_notes_below_are_fine(tmp_path):
    report("study <a> -->").write(tmp_path, force=False)
    with (tmp_path / "FINDINGS.md").open("a") as file:
        file.write("\nSeen by me.\n")
    check_out(tmp_path, "study <a> -->", force=False)


def test_a_findings_file_cannot_name_files_elsewhere(tmp_path):
    (tmp_path / "kept.csv").write_text("")
    folder = tmp_path / "out"
    report().write(folder, force=False)
    text = (folder / "FINDINGS.md").read_text().replace('"table.csv"', '"../kept.csv", "/dev/null"')
    (folder / "FINDINGS.md").write_text(text)
    report("splits").write(folder, force=True)
    assert (tmp_path / "kept.csv").exists()


def test_all_files_are_written_or_none_and_no_draft_stays(tmp_path):
    (tmp_path / ".jaxroof-draft-killed").mkdir()
    (tmp_path / "b").mkdir()
    says = "is a folder, so no file of that name can be written"
    with held(tmp_path), pytest.raises(InputError, match=says), drafted(tmp_path, {"a": b"1", "b": b"2"}):
        pass
    assert names(tmp_path) == {"b"}
    deep = tmp_path / "new/and/deep"
    with pytest.raises(InputError, match="cannot be written"), held(deep), drafted(deep, {"x" * 300: b""}):
        pass
    assert names(tmp_path) == {"b"}


def test_files_take_their_names_once_all_are_on_the_disk(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        does = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, does=does: (calls.append(name), does(*given)))
    with held(tmp_path), drafted(tmp_path, {"a": b"1", "b": b"2"}) as publish:
        publish()
    assert calls == ["fsync", "fsync", "replace", "replace"]
    assert names(tmp_path) == {"a", "b"}


def test_nothing_is_made_before_there_is_something_to_write(tmp_path):
    check_out(tmp_path / "new/out", "splits", force=False)
    assert names(tmp_path) == set()
    (tmp_path / "file").touch()
    for folder, why in (tmp_path / "file", "File exists"), (tmp_path / "file/out", "Not a directory"):
        with pytest.raises(InputError, match=f"--out: cannot be written: {why}"):
            check_out(folder, "splits", force=False)
