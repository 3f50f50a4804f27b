"""Splits, groups, sampled workloads and rounding around HG1's search."""

import dataclasses
import json
import re

import jax
import msgspec
import numpy as np
import pytest

from jaxroof.catalogue.load import load_model
from jaxroof.cli import main
from jaxroof.experiments import metrics, rounding
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.load import load_ground_truth
from jaxroof.experiments.runs import select
from jaxroof.experiments.scores import aggregate, errors, evaluate
from jaxroof.files import InputError
from jaxroof.parameters import replace
from jaxroof.request.schedule import Latency
from jaxroof.request.workload import sampled
from jaxroof.splits import sampling
from jaxroof.splits import search as splits
from jaxroof.splits.analysis import SCORINGS, analyse
from jaxroof.splits.load import tpot_digits
from jaxroof.splits.record import QUANTITIES
from jaxroof.studies.criteria import observed_mape
from jaxroof.studies.grid_search import grid_search
from jaxroof.studies.load import load_study

NONE = load_model("memory")
HG1 = load_study("hg1")
BOTH_PASSES = msgspec.structs.replace(HG1.search, step_us=HG1.search.fine_step_us)
KEYS, VALUES = HG1.search.keys, HG1.search.free[0].values()
TABLE = np.array([[0.3, 0.1, 0.1], [0.1, 0.3, 0.3], [0.2, 0.4, 0.1]])


@pytest.fixture
def jaxroof(capsys):
    """Run a command line in this process; returns exit code, stdout and stderr."""

    def run(*arguments) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return end.value.code, *capsys.readouterr()

    return run


def ape(truth, scoring):
    """TPOT APE of every experiment at every grid value."""
    return splits.tpot_ape(NONE, truth.runs, KEYS, VALUES, scoring=scoring)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("split", [0, 200, 714])
def test_a_split_recomputed_alone_by_grid_search_and_study_is_the_same(truth, scoring, split):
    masks = splits.every_split(13, 9)
    every, train = splits.search(ape(truth, scoring), VALUES, masks), masks[split]
    curve = grid_search(NONE, select(truth.runs, train), BOTH_PASSES, scoring=scoring)
    at_best = replace(NONE, dict.fromkeys(KEYS, curve.optimum))
    predicted = evaluate({"one": at_best}, truth.runs, scoring)
    tables = {"one": errors(predicted["one"], truth.runs.measured[scoring])}
    assert every.optimum_us[split] == curve.optimum
    for mask, ours in ((train, every.train), (~train, every.test)):
        alone = aggregate(tables["one"], mask)["tpot_mape_pct"]
        np.testing.assert_allclose(ours[split] * 100, alone, rtol=1e-12)


def test_there_are_715_splits_of_nine_and_four():
    masks = splits.every_split(13, 9)
    assert len(np.unique(masks, axis=0)) == len(masks) == 715
    assert set(masks.sum(axis=1)) == {9}


@pytest.mark.parametrize("experiments", [1, 9, 40])
def test_too_few_or_too_many_experiments_to_split(experiments):
    with pytest.raises(InputError, match="experiments"):
        splits.every_split(experiments, 9)


def test_the_search_by_hand():
    """Ties go to the smaller value; a weight of two counts twice; weight 0 is the test set."""
    outcomes = splits.search(TABLE, np.array([10.0, 20.0, 30.0]), np.array([[1, 0, 0], [1, 1, 0], [2, 1, 0]]))
    np.testing.assert_allclose(outcomes.optimum_us, [20, 10, 20])
    np.testing.assert_allclose(outcomes.train, [0.1, 0.2, 0.5 / 3])
    np.testing.assert_allclose(outcomes.test, [0.35, 0.2, 0.4])
    np.testing.assert_allclose(outcomes.gap, [0.25, 0.0, 0.4 - 0.5 / 3])


@pytest.mark.parametrize("train", [[0, 0, 0], [1, 1, 2]])
def test_a_split_that_leaves_train_or_test_empty_is_refused(train):
    with pytest.raises(InputError, match="empty"):
        splits.search(TABLE, np.arange(3.0), np.array([[1, 1, 0], train]))


def test_at_a_fixed_constant_the_gap_averages_zero_over_all_splits(truth):
    fixed = splits.search(ape(truth, "published")[:, [16]], VALUES[[16]], splits.every_split(13, 9))
    assert fixed.gap.mean() == pytest.approx(0, abs=1e-15)


def test_bootstrap_resamples_are_reproducible_and_leave_someone_out():
    counts = splits.bootstrap(3, resamples=500)
    assert set(counts.sum(axis=1)) == {3}
    assert (counts == 0).any(axis=1).all()
    np.testing.assert_array_equal(counts, splits.bootstrap(3, resamples=500))
    with pytest.raises(InputError, match="empty"):
        splits.bootstrap(1)


def test_groups_by_hand():
    groups = splits.search_groups(
        TABLE, np.array([10.0, 20.0, 30.0]), {"a": TABLE[:, 0] == 0.3, "b": TABLE[:, 0] != 0.3}
    )
    np.testing.assert_allclose(groups.optimum_us, [20, 10])
    np.testing.assert_allclose(groups.best, [0.1, 0.15])
    np.testing.assert_allclose(groups.worst_excess, [0.2, 0.2, 0.05])
    assert (groups.compromise_us, groups.worst_group) == (30, "b")


def test_criteria_are_those_of_hg1():
    outcomes = splits.Outcomes(np.zeros(4), np.full(4, 0.15), np.array([0.175, 0.185, 0.21, 0.11]))
    passed = [
        list(criterion.met(observed_mape(criterion, outcomes.train, outcomes.test))) for criterion in HG1.criteria
    ]
    assert passed == [[True, False, False, False], [True, True, False, True], [True, True, False, True]]


@pytest.mark.parametrize("scoring", SCORINGS)
def test_rounding_intervals_hold_every_measurement_that_rounds_to_the_record(truth, scoring):
    recorded, generator = truth.runs.measured["published"], np.random.default_rng(0)
    settings = replace(NONE, dict.fromkeys(KEYS, np.array([0.0, 85.0])))
    predicted = np.asarray(latencies(settings, truth.runs, scoring=scoring).tpot_s)
    interval = rounding.ape(predicted, rounding.scored(rounding.recorded(recorded), scoring)["tpot"])
    highest = interval.low
    for corner in (*np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T, *generator.uniform(-1, 1, (500, 3))):
        record = (recorded.ttft_s, recorded.tpot_s, recorded.e2e_s)
        moved = Latency(*(x + rounding.HALF_UNIT_S * by for x, by in zip(record, corner, strict=True)))
        tpot = metrics.by_scoring(moved)[scoring].tpot_s
        error = metrics.ape(predicted, tpot[:, None])
        assert (error >= interval.low * (1 - 1e-12)).all()
        assert (error <= interval.high * (1 + 1e-12)).all()
        highest = np.maximum(highest, error)
    np.testing.assert_allclose(highest, interval.high, rtol=1e-12)


def test_an_interval_around_the_prediction_reaches_zero():
    measured = rounding.Interval(np.array([0.9, 2.0]), np.array([1.25, 2.5]))
    interval = rounding.ape(np.array([[1.0], [1.0]]), measured)
    np.testing.assert_allclose(interval.low[:, 0], [0, 0.5])
    np.testing.assert_allclose(interval.high[:, 0], [1 - 1 / 1.25, 0.6])
    np.testing.assert_allclose(interval.mean(np.array([True, True])).low, [0.25])


def test_recovered_digits_narrow_the_recorded_tpot(truth, tmp_path):
    digits = tpot_digits(truth)
    wide, narrow = (rounding.recorded(truth.runs.measured["published"], x)["tpot"] for x in (None, digits))
    np.testing.assert_allclose([narrow.low[0], narrow.high[1]], [6.2345e-3, 8.115e-3])
    assert (narrow.low >= wide.low).all()
    assert (narrow.low[-1], narrow.high[-1]) == (wide.low[-1], wide.high[-1])
    assert tpot_digits(truth, tmp_path / "absent.csv") is None


@pytest.mark.parametrize(
    ("row", "why"),
    [("nobody,6.2,x", "nobody"), ("jan30-llama2-7b-tp1-chatsweep,6.3,x", "round"),
     ("jan30-llama2-7b-tp1-chatsweep,-1,x", "> 0"), ("jan30-llama2-7b-tp1-chatsweep,six,x", "number")],
)  # fmt: skip
def test_bad_digits_are_refused(truth, tmp_path, row, why):
    (tmp_path / "tpot_digits.csv").write_text(f"name,tpot_ms,source\n{row}\n")
    with pytest.raises(InputError, match=why):
        tpot_digits(truth, tmp_path / "tpot_digits.csv")


# What a penalty costs goes by the mean output, which is a sample's own only where it is drawn.
@pytest.mark.parametrize(
    ("step", "tolerance", "of_tpot", "seeds"), [("memory", 1e-4, 1e-12, (0, 3)), ("kernels", 2e-3, 1e-4, (1,))]
)
def test_sampled_latencies_are_those_of_the_sampled_schedules(truth, step, tolerance, of_tpot, seeds):
    model = load_model(step)
    workloads = [truth.workloads[e.workload] for e in truth.experiments]
    ours = sampling.sample(model, truth.runs, workloads, KEYS, seeds=4)
    at_85 = replace(model, dict.fromkeys(KEYS, 85.0))
    for seed in seeds:
        runs = load_ground_truth(models=[model], seed=seed).runs
        theirs = latencies(at_85, runs, scoring="published")
        one = jax.tree.map(lambda leaf, seed=seed: leaf[seed], ours.at(85.0))
        np.testing.assert_allclose(one.tpot_s, theirs.tpot_s, rtol=of_tpot)
        np.testing.assert_allclose(one.ttft_s, theirs.ttft_s, rtol=tolerance)
        np.testing.assert_allclose(one.e2e_s, theirs.e2e_s, rtol=tolerance)


def test_requests_are_drawn_as_the_schedules_draw_them(truth):
    workload = truth.workloads["chat"]
    prompts, outputs = sampling.draw(workload, 3, 50)
    shares = sampled(workload, seed=2)
    assert [len(s.output) - 1 for s in shares] == list(outputs[2])
    assert [len(s.prompt) - 1 for s in shares[1:]] == list(prompts[2, 1:])


def test_json_and_files(jaxroof, tmp_path):
    code, text, err = jaxroof("splits", "--json")
    assert (code, err) == (0, "")
    data = json.loads(text)
    assert len(data["splits"]) == 715
    assert len(data["grid_us"]) == 101
    assert all(set(row) == {"train", *QUANTITIES} and len(row["train"]) == 9 for row in data["splits"])
    for record in data["scorings"].values():
        for quantiles in (record["quantiles"], record["bootstrap"]):
            assert all(list(quantiles[name]) == ["0", "5", "25", "50", "75", "95", "100"] for name in QUANTITIES)
        assert len(record["leave_out"]) == len(record["groups"]) == 5 + 3 + 3
        assert all(row["low_pct"] <= row["mape_pct"] <= row["high_pct"] for row in record["rounding"])
    assert 0 < data["scorings"]["published"]["published_split"]["gap_percentile"] < 100
    code, shown, _ = jaxroof("splits", "--out", tmp_path / "out")
    assert (code, "70 % of all 715 splits" in shown) == (0, True)
    assert (tmp_path / "out/results.json").read_text() == text  # a second run: the same bytes
    findings = (tmp_path / "out/FINDINGS.md").read_text()
    images = re.findall(r"\]\((.*?\.png)\)", findings)
    assert set(images) == {path.name for path in (tmp_path / "out").glob("*.png")}
    assert "## Answers" in findings
    assert f"\njaxroof splits --step-model=memory --out={tmp_path}/out\n" in findings
    assert len((tmp_path / "out/splits_itl.csv").read_text().splitlines()) == 716


def test_the_published_split_is_that_of_the_study(jaxroof, truth):
    study = json.loads(jaxroof("study", "hg1", "--json")[1])
    train = truth.groups()["train"]
    one = splits.search(ape(truth, "published"), VALUES, train[None])
    assert study["search"]["optimum_us"] == one.optimum_us[0]
    theirs = study["aggregate"]["optimum"]
    for split in ("train", "test"):
        np.testing.assert_allclose(getattr(one, split)[0] * 100, theirs[split]["tpot_mape_pct"], rtol=1e-12)


@pytest.mark.parametrize(("chosen", "why"), [("train", "9 of 9 experiments"), ("chat", "a split leaves")])
def test_too_few_experiments_are_one_line(jaxroof, monkeypatch, truth, chosen, why):
    """Nothing to test on; or, where all have one workload, nothing left when it is left out."""
    mask = truth.groups()[chosen]
    some = [e for e, kept in zip(truth.experiments, mask, strict=True) if kept]
    few = dataclasses.replace(truth, experiments=some, runs=select(truth.runs, mask))
    monkeypatch.setattr("jaxroof.commands.splits.load_ground_truth", lambda **_: few)
    monkeypatch.setattr("jaxroof.commands.splits.tpot_digits", lambda _: None)
    code, out, err = jaxroof("splits", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"ground truth: split: {why}" in err


def test_a_study_without_a_search_is_refused(truth):
    with pytest.raises(InputError, match="h2b: searches nothing"):
        analyse(NONE, truth, load_study("h2b"))


def test_an_unknown_step_model_is_one_line(jaxroof, tmp_path):
    code, out, err = jaxroof("splits", "--step-model", "kernel", "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "did you mean kernels?" in err
    assert not (tmp_path / "out").exists()
