"""Studies of mechanisms: what is switched off, groups, what criteria see, files that cannot be, and what is shown."""

import csv
import dataclasses
import json

import msgspec
import numpy as np
import pytest
from command_line import CONFIGS, ROOT, refused, run, works

from jaxroof import load_model
from jaxroof.experiments import loaded
from jaxroof.files import read_toml
from jaxroof.mechanisms.analysis import Scored, harm, observe
from jaxroof.mechanisms.load import load_mechanisms
from jaxroof.mechanisms.sources import IdleRuns, Interval, LoadedPoints, Measured, switched
from jaxroof.mechanisms.spec import GroupCriterion, MechanismsStudy, Source, Switch, joined, without
from jaxroof.parameters import numbers

STUDY = msgspec.convert(read_toml(CONFIGS / "studies/servers.toml"), MechanismsStudy)
SWITCHES = STUDY.mechanisms
# Two rows that every mechanism of a loaded server shows in: a mixture on two GPUs and a dense model.
SHOWING = ("qwen3-30b-a3b-tp2-ep2-slots128", "llama-3.1-8b-tp1-slots64")
SMALL = """
name = "small"
title = "Two points"
source = "here"
hypothesis = "They are right."
differences = "None was published."
batch_bins = [64]

[sources.two]
title = "two points"
file = "points.csv"

[[criteria]]
name = "MAPE"
metric = "mape_pct"
source = "two"
comparison = "<="
threshold = 50
unit = "%"

[[criteria]]
name = "harm to dense models"
metric = "harm_pp"
source = "two"
group = "dense"
comparison = "<="
threshold = 0.3
unit = "pp"

[mechanisms.penalties.sampling]
repetition_penalty = 1

[mechanisms."whole experts".point]
ep = 1

[mechanisms."attention, large caches".constants]
"hardware.kernels.decode_attention.large_floor_us" = "hardware.kernels.decode_attention.floor_us"
"""


@pytest.fixture(scope="module")
def sources():
    """The sources of the catalogue's study, which its file fits."""
    study, sources = load_mechanisms("servers")
    assert study.mechanisms == SWITCHES
    return sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study file and its two points."""
    folder = tmp_path_factory.mktemp("study")
    with (ROOT / "ground_truth/mlenergy_h100.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["name"] in SHOWING]
    with (folder / "points.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "small.toml").write_text(SMALL)
    return folder


@pytest.fixture(scope="module")
def two(folder):
    """The two rows."""
    return LoadedPoints(folder / "points.csv")


@pytest.fixture(scope="module")
def everything(two):
    """What is predicted of them with all mechanisms [ms]."""
    return two.predicted_ms(Switch())


def test_copies_are_of_what_is_set():
    one_row, regimes = (SWITCHES[name] for name in ("GEMM of one row", "GEMM constants by regime"))
    known = numbers(load_model())
    key = "hardware.kernels.gemm.floor_us"
    assert f"hardware.kernels.gemm.gemv_floor_us={known[key]}" in one_row.settings(known)
    assert "hardware.kernels.gemm.gemv_floor_us=3.7" in joined([one_row, regimes]).settings(known)


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ("temperature=0.8,top_p=0.95", "temperature=0.8,top_p=1.0,top_k=0.0"),
        ("", "top_p=1.0,top_k=0.0"),
        (
            "greedy",
            "temperature=0.0,top_p=1.0,top_k=0.0,min_p=0.0,repetition_penalty=1.0,presence_penalty=0.0,"
            "frequency_penalty=0.0",
        ),
    ],
)
def test_sampling_keeps_what_is_not_switched(two, given, then):
    point = dataclasses.replace(two.points[0], sampling=given)
    assert switched(point, SWITCHES["sorting for top-p and top-k"]).sampling == then


def test_rows_are_all_all_but_each_each_alone_and_none():
    rows = STUDY.rows()
    assert len(rows) == 2 * len(SWITCHES) + 2
    assert rows["all"] == Switch()
    assert rows["without penalties"] == SWITCHES["penalties"]
    assert not {*rows["only penalties"].sampling} & {*SWITCHES["penalties"].sampling}
    assert {*rows["none"].constants} == {key for switch in SWITCHES.values() for key in switch.constants}


def test_with_all_on_predictions_are_those_of_the_points(two, everything):
    np.testing.assert_array_equal(everything, loaded.predicted_itl_ms(two.path, two.points, None, []))


# No measured point has what these are about: tests/step/test_small_kernels.py has models that do.
UNSEEN = ("quantised inputs", "routers beyond a top-k", "launches outside a graph")


@pytest.mark.parametrize("name", [name for name in SWITCHES if name not in ("GEMM of one row", *UNSEEN)])
def test_each_mechanism_shows_in_a_row(two, everything, name):
    assert np.any(two.predicted_ms(SWITCHES[name]) != everything)


@pytest.mark.parametrize("name", UNSEEN)
def test_what_no_point_has_shows_in_none(two, everything, name):
    np.testing.assert_array_equal(two.predicted_ms(SWITCHES[name]), everything)


def test_one_row_shows_in_idle_runs_only(sources, two, everything):
    idle, off = sources["idle"], SWITCHES["GEMM of one row"]
    assert isinstance(idle, IdleRuns)
    assert np.all(idle.predicted_ms(off) != idle.predicted_ms(Switch()))
    np.testing.assert_array_equal(two.predicted_ms(off), everything)


def test_groups_part_the_rows_and_only_all_holds_every_one(sources):
    groups = sources["mlenergy"].measured.groups(STUDY.batch_bins)
    assert list(groups) == ["all", "kind and batch", "batch", "kind", "model"]
    for by, masks in groups.items():
        assert (np.sum([*masks.values()], axis=0) == 1).all(), by
        assert all(mask.any() for mask in masks.values())
    assert list(groups["batch"]) == [
        "batch ≤ 8", "8 < batch ≤ 32", "32 < batch ≤ 64", "64 < batch ≤ 128", "batch > 128",
    ]  # fmt: skip
    idle = sources["idle"].measured.groups(STUDY.batch_bins)
    assert [len(masks) for masks in idle.values()] == [1, 0, 0, 0, 5]


MECHANISMS = {"a": Switch(point={"ep": 1}), "b": Switch(point={"ep": 1})}
MEASURED_MS = np.array([10.0, 20.0, 40.0])
SCORED = Scored(
    Measured(["x", "y", "z"], ["m", "m", "n"], np.array([False, False, True]), np.array([1.0, 2.0, 99.0]), MEASURED_MS),
    {
        "all": np.array([11.0, 20.0, 36.0]), "without a": np.array([10.5, 20.0, 36.0]),
        "without b": np.array([14.0, 20.0, 30.0]), "none": np.array([15.0, 10.0, 20.0]),
    },
    Interval(np.array([10.5, 19.0, 30.0]), np.array([12.0, 21.0, 38.0]), []),
    Measured(["x", "y", "z"], ["m", "m", "n"], np.array([False, False, True]), np.array([1.0, 2.0, 99.0]), MEASURED_MS)
    .groups([64]),
)  # fmt: skip
BY_HAND = MechanismsStudy(
    name="", title="", source="", hypothesis="", differences="", batch_bins=[64], sources={"s": Source("", "")},
    criteria=[], mechanisms=MECHANISMS,
)  # fmt: skip


def test_errors_beyond_the_interval_are_distances_to_its_nearest_end():
    np.testing.assert_array_equal(SCORED.inside(), [False, True, False])
    np.testing.assert_allclose(SCORED.beyond(), [0.05, 0.0, 0.05], rtol=1e-12)
    np.testing.assert_allclose(SCORED.signed(), [0.1, 0.0, -0.1], rtol=1e-12)


@pytest.mark.parametrize(
    ("metric", "group", "observed"),
    [
        ("mape_pct", "all", 20 / 3),
        ("mape_pct", "dense", 5),
        ("inside_pct", "all", 100 / 3),
        ("inside_pct", "batch > 64", 0),
        ("harm_pp", "all", 5 / 3),
        ("harm_pp", "mixture", 0),
        ("mape_without_all_pct", "all", 50),
    ],
)
def test_what_a_criterion_observes(metric, group, observed):
    c = GroupCriterion(name="", metric=metric, source="s", group=group, comparison="<", threshold=1.0, unit="%")
    assert observe(c, BY_HAND, SCORED) == pytest.approx(observed)


def test_harm_is_what_leaving_a_mechanism_out_takes_from_the_error():
    assert harm(BY_HAND, SCORED, "all") == pytest.approx({"a": 5 / 300, "b": -45 / 300})
    assert without("a") in BY_HAND.rows()


def test_a_study_shows_every_row_group_and_mechanism(folder, everything):
    data = works(["study", folder / "small.toml"])
    assert set(data) == {"study", "verdict", "criteria", "interval", "groups", "rows", "mechanisms"}
    assert [c["name"] for c in data["criteria"]] == ["MAPE", "harm to dense models"]
    assert {"observed", "passed", "threshold", "comparison", "unit"} < set(data["criteria"][0])
    scored = works(["evaluate", f"--ground-truth={folder / 'points.csv'}"])["points"]
    for row, other, itl_ms in zip(data["rows"], scored, everything, strict=True):
        assert row["itl_ms"] == itl_ms == pytest.approx(other["itl_ms"], rel=1e-12)
        assert row["name"] == other["name"]
        keys = ("batch", "measured_ms", "itl_low_ms", "itl_high_ms", "inside", "itl_signed_pct")
        assert [row[key] for key in keys] == pytest.approx([other[key] for key in keys], rel=1e-9)
    whole = data["groups"][0]
    signed = np.array([row["itl_signed_pct"] for row in data["rows"]])
    assert (whole["group"], whole["points"]) == ("all", 2)
    assert whole["itl_mape_pct"] == pytest.approx(abs(signed).mean())
    assert whole["itl_worst_pct"] == pytest.approx(abs(signed).max())
    assert [row["group"] for row in data["groups"] if row["by"] == "batch"] == ["batch ≤ 64", "batch > 64"]
    assert len(data["mechanisms"]) == 8 * 2


def test_a_study_writes_what_it_shows(folder, tmp_path):
    code, shown, _ = run(["study", folder / "small.toml", "--out", tmp_path / "out"])
    assert code == 0
    assert "small: " in shown
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "FINDINGS.md", "results.json", "rows.csv", "groups.csv", "mechanisms.csv", "itl.png", "mechanisms.png",
    }  # fmt: skip
    findings = (tmp_path / "out/FINDINGS.md").read_text()
    head = "| measured | points | batch | ITL MAPE [%] | mean signed error [%] | worst [%] | in the 90 % interval [%] |"
    for words in (
        "**Status:** ",
        "## Hypothesis",
        "## Criteria",
        "## By model",
        head,
        "| two points: dense | 1 | 64 |",
    ):
        assert words in findings
    assert json.loads((tmp_path / "out/results.json").read_text())["study"] == "small"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "Two points"\n', "", "title: missing key"),
        ("[64]", "[]", "batch_bins: must be a list of numbers, got []"),
        ("[64]", "[64, 8]", "batch_bins: must rise"),
        ("[64]", "[0]", "batch_bins: must be > 0, got 0 (batch_bins 1)"),
        ("points.csv", "nothing.csv", "sources.two.file: {folder}/nothing.csv: No such file or directory"),
        ('"mape_pct"', '"mape"', "criteria.metric: must be one of mape_pct, inside_pct, harm_pp, mape_without_all_pct"),
        ('source = "two"', 'source = "too"', "criteria.source: must be one of two, got 'too'; did you mean two?"),
        ('group = "dense"', 'group = "dens"', "criteria.harm to dense models.group: must be one of all, "),
        ('"harm to dense models"', '"MAPE"', "criteria.name: MAPE stands twice"),
        ("threshold = 50", "threshold = inf", "criteria.threshold: must be finite, got inf (criteria 1)"),
        ("repetition_penalty", "repetition", "mechanisms.penalties.sampling.repetition: unknown key; did you mean "),
        ("repetition_penalty = 1", "top_p = 2", "mechanisms.penalties.sampling.top_p: must be ≤ 1, got 2"),
        ("ep = 1", "tp = 1", "mechanisms.whole experts.point.tp: unknown key"),
        ("ep = 1", "ep = 0.5", "mechanisms.whole experts.point.ep: must be ≥ 1, got 0.5"),
        ("large_floor_us", "larg_floor_us", "mechanisms.attention, large caches.constants.hardware.kernels.decode_"),
        ('"hardware.kernels.decode_attention.floor_us"', '"x"', "mechanisms.attention, large caches.constants.x: unk"),
        ('"hardware.kernels.decode_attention.floor_us"', "-1", "mechanisms.attention, large caches.constants: hardw"),
        ('"hardware.kernels.decode_attention.floor_us"', "true", "mechanisms.attention, large caches.constants.hard"),
        ("[mechanisms.penalties.sampling]\nrepetition_penalty = 1", "[mechanisms.penalties]", "mechanisms.penalties: "),
        ("[mechanisms.penalties.sampling]", "[mechanisms.penalties.samplings]", "mechanisms.penalties.samplings: unk"),
        ('name = "small"', 'name = "a/b"', "name: must be a name that a folder can have"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be(folder, tmp_path, old, new, says):
    path = tmp_path / "mine.toml"
    assert old in SMALL
    text = SMALL.replace(old, new, 1)
    path.write_text(text.replace('"points.csv"', f'"{folder}/points.csv"'))
    refused(tmp_path, ["study", path], f"{path}: {says.format(folder=tmp_path)}")


def test_a_point_that_cannot_be_switched(folder, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SMALL.replace("ep = 1", "ep = 3").replace('"points.csv"', f'"{folder}/points.csv"'))
    refused(tmp_path, ["study", path, "--out", tmp_path / "out"], f"{folder}/points.csv: {SHOWING[0]}: deployment: ")


@pytest.mark.parametrize("key", ["members", "problems"])
def test_a_study_of_mechanisms_is_no_member(tmp_path, key):
    path = tmp_path / "mine.toml"
    text = (CONFIGS / f"studies/{'ideas' if key == 'members' else 'gradient_vs_grid'}.toml").read_text()
    path.write_text(f'{text[: text.index(f"{key} = ")]}{key} = ["servers"]\n')
    file = CONFIGS / "studies/servers.toml"
    refused(tmp_path, ["study", path], f"{path}: {key}: {file}: mechanisms: is a study of mechanisms")
