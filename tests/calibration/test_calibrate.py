"""Calibration by gradient: exact minima, planted constants, what cannot be identified, the command and the study."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
from scipy.optimize import linprog

from jaxroof.calibration.bounds import Bounded, box, starting_points
from jaxroof.calibration.fit import calibrate, most_free
from jaxroof.catalogue.load import load_model, load_overheads
from jaxroof.cli import main
from jaxroof.experiments.affine import affine_tpot
from jaxroof.experiments.evaluate import latencies
from jaxroof.files import data_dir
from jaxroof.parameters import numbers, replace
from jaxroof.sensitivity.identifiability import identifiability, in_words
from jaxroof.studies.load import load_study

MEMORY = ["--step-model", "memory", "--formula", "h2b", "--scoring", "published"]
NONE = load_model("memory")
PER_LAYER, BASE = ((f"overheads.prefill.{term}_us", f"overheads.decode.{term}_us") for term in ("per_layer", "base"))
EFFICIENCY = Bounded(("hardware.hbm_efficiency",), 0.0, 1.0, 0.7)


def run(*arguments):
    """Exit code, stdout and stderr of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code, out.getvalue(), err.getvalue()


def train(truth):
    return truth.groups()["train"]


def measured(truth):
    return np.asarray(truth.runs.measured["published"].tpot_s)[train(truth)]


def affine(truth, *free):
    """The train experiments' affine TPOT."""
    return affine_tpot(NONE, truth.runs, free, scoring="published").select(train(truth))


def test_transforms_are_inverse_and_starts_lie_inside():
    free = [Bounded(("overheads.decode.base_us",), 0, np.inf, 0), EFFICIENCY, Bounded(PER_LAYER, 0, 500, 500)]
    points = starting_points(free, 64, seed=0)
    assert points.shape == (64, 3)
    assert (points >= box(free).low).all()
    assert (points <= box(free).high).all()
    for point in points:
        kept = np.clip(point, box(free).low + box(free).margin, box(free).high - box(free).margin)
        np.testing.assert_allclose(box(free).values(box(free).unbounded(point)), kept, rtol=1e-12)
    assert [f.name for f in free] == ["overheads.decode.base_us", "hardware.hbm_efficiency", "overheads.*.per_layer_us"]


def test_one_constant_reaches_the_exact_minimum_from_any_start(truth):
    values = np.arange(0, 500, 0.01)
    loss = abs(affine(truth, PER_LAYER).tpot_s(values[None]) / measured(truth)[:, None] - 1).mean(axis=0)
    for own in (0, 1, 499, 500):
        (fit,) = calibrate(NONE, truth.runs, [Bounded(PER_LAYER, 0, 500, own)], train(truth)[None], scoring="published")
        np.testing.assert_allclose(fit.path.values[:, -1, 0], values[loss.argmin()], atol=0.5)
        assert fit.after[fit.train].mean() <= loss.min() + 1e-6


def test_three_constants_reach_the_minimum_of_the_linear_programme(truth):
    """MAPE is piecewise linear in overheads, so its exact minimum is that of a linear programme."""
    free = [Bounded(f.keys, f.start, f.stop, 100) for f in load_study("idea_ac").grid.free]
    model, target = affine(truth, *(f.keys for f in free)), measured(truth)
    slopes, rest, eye = model.slopes_s / target[:, None], 1 - model.base_s / target, np.eye(len(target))
    rows, right = np.block([[slopes, -eye], [-slopes, -eye]]), np.concatenate([rest, -rest])
    costs = np.concatenate([np.zeros(3), np.full(len(target), 1 / len(target))])
    bounds = [(f.low, f.high) for f in free] + [(0, None)] * len(target)
    best = linprog(costs, A_ub=rows, b_ub=right, bounds=bounds).fun
    (fit,) = calibrate(NONE, truth.runs, free, train(truth)[None], scoring="published")
    assert best - 1e-9 <= fit.after[fit.train].mean() <= best + 1e-5
    assert np.mean(fit.path.mape[:, -1] <= best + 1e-4) > 0.9


def planted(truth, generator):
    """Runs whose ITL is that of known constants, with 1 % of noise."""
    exact = np.asarray(latencies(replace(NONE, PLANTED), truth.runs).tpot_s)
    noisy = exact * np.exp(0.01 * generator.standard_normal(len(exact)))
    itl = dataclasses.replace(truth.runs.measured["itl"], tpot_s=noisy)
    return dataclasses.replace(truth.runs, measured={**truth.runs.measured, "itl": itl})


PLANTED = dict.fromkeys(PER_LAYER, 60.0) | dict.fromkeys(BASE, 800.0) | {EFFICIENCY.keys[0]: 0.8}
FREE = [Bounded(PER_LAYER, 0, np.inf, 50), Bounded(BASE, 0, np.inf, 1000), EFFICIENCY]


@pytest.mark.parametrize("loss", ["mape", "huber"])
def test_planted_constants_lie_in_their_intervals(truth, loss):
    generator, inside = np.random.default_rng(1), []
    planted_values = np.array([PLANTED[free.keys[0]] for free in FREE])
    for _ in range(100):
        runs = planted(truth, generator)
        (fit,) = calibrate(NONE, runs, FREE, train(truth)[None], loss=loss, starts=1)
        inside.append((fit.interval[0] <= planted_values) & (planted_values <= fit.interval[1]))
        assert (fit.interval[1] - fit.interval[0] < planted_values).all()
    assert (np.sum(inside, axis=0) >= 90).all(), np.sum(inside, axis=0)


def test_a_pair_that_only_acts_together_is_not_identified():
    slopes = np.random.default_rng(0).uniform(0.1, 1, (9, 1)) * np.array([1.0, 1.0, 0.0]) + np.eye(9, 3, -2) * 0.3
    found = identifiability(
        ["a", "b", "c"], np.column_stack([slopes[:, 0], slopes[:, 0], slopes[:, 2]]), np.full(9, 0.01)
    )
    assert found.identified.tolist() == [False, False, True]
    assert np.isinf(found.half_widths[:2]).all()
    assert np.isfinite(found.half_widths[2])
    assert np.isnan(found.correlation[:2]).all()
    assert {word for word in in_words(found.names, found.directions[:, -1]).split() if word.isalpha()} == {"a", "b"}


def test_least_squares_intervals_and_trade_offs():
    """Against the textbook: covariance s² (JᵀJ)⁻¹, and two nearly parallel columns."""
    generator = np.random.default_rng(0)
    column = generator.uniform(0.5, 1.5, 20)
    jacobian = np.column_stack([column, 1 + 0.3 * column])
    residuals = 0.02 * generator.standard_normal(20)
    found = identifiability(["a", "b"], jacobian, residuals)
    covariance = residuals @ residuals / 18 * np.linalg.inv(jacobian.T @ jacobian)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-9)
    np.testing.assert_allclose(found.half_widths, 2.10092 * np.sqrt(np.diag(covariance)), rtol=1e-5)
    ((a, b, correlation),) = found.trade_offs()
    assert (a, b) == ("a", "b")
    assert correlation == pytest.approx(covariance[0, 1] / np.sqrt(np.prod(np.diag(covariance))))


def test_the_command_and_its_files(tmp_path):
    options = ["calibrate", *MEMORY, "--starts", "4", "--free", "overheads.*.per_layer_us=0:500"]
    options += ["--free", "hardware.hbm_tb_per_s", "--free", "hardware.hbm_efficiency"]
    code, out, err = run(*options, "--out", tmp_path, "--json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert out == (tmp_path / "results.json").read_text()
    assert [c["identified"] for c in data["free"]] == [True, False, False]
    assert data["identifiability"]["not_identified"] == ["hardware.hbm_tb_per_s", "hardware.hbm_efficiency"]
    assert all(c["interval_low"] is None for c in data["free"][1:])
    assert data["calibrated"]
    assert len(data["criteria"]) == 3
    assert next(fold["fold"] for fold in data["left_out"]) == "without llama-2-7b"
    assert {path.name for path in tmp_path.iterdir()} == {
        "FINDINGS.md", "results.json", "constants.csv", "folds.csv", "correlation.png", "overheads.toml"
    }  # fmt: skip
    overheads = numbers(load_overheads(str(tmp_path / "overheads.toml")))
    assert overheads["decode.per_layer_us"] == pytest.approx(data["free"][0]["value"], rel=1e-14)
    assert "calibrated on 9 train experiments" in (tmp_path / "overheads.toml").read_text()
    command, made = (
        block.removeprefix("bash\njaxroof ").split()
        for block in (tmp_path / "FINDINGS.md").read_text().split("```")[1::2]
    )
    assert made == [
        "calibrate", "--step-model=memory", "--formula=h2b", "--hardware=h100-sxm", "--scoring=published",
        "'--free=overheads.*.per_layer_us=0:500'", "--free=hardware.hbm_tb_per_s", "--free=hardware.hbm_efficiency",
        "--metric=tpot", "--loss=mape", "--starts=4", "--seed=0", f"--out={tmp_path}",
    ]  # fmt: skip
    again = json.loads(run(*command, "--json")[1])["aggregate"]["run"]
    for split in ("train", "test"):
        assert again[split]["tpot_mape_pct"] == pytest.approx(data["after"][f"{split}_mape_pct"], rel=1e-12)


def test_more_free_constants_than_half_the_train_set_are_refused():
    assert [most_free(train) for train in (9, 8, 1)] == [4, 4, 0]
    terms = ("base", "per_layer", "per_layer_replicated", "per_vocab", "per_request")
    free = [word for term in terms for word in ("--free", f"overheads.decode.{term}_us")]
    code, out, err = run("calibrate", *MEMORY, *free)
    assert (code, out) == (2, "")
    assert err.startswith("jaxroof: --free: 5 constants: 9 train experiments calibrate at most 4")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--free: KEY: nothing is free"),
        (["--free", "overheads.decode.base"], "--free: overheads.decode.base: unknown key; did you mean"),
        (["--free", "overheads.decode.base_us=9:3"], "--free: overheads.decode.base_us: bounds must be LOW:HIGH with"),
        (
            ["--free", "overheads.decode.base_us=3"],
            "--free: overheads.decode.base_us: bounds must be LOW:HIGH, got '3'",
        ),
        (["--free", "overheads.decode.base_us=a:3"], "--free: overheads.decode.base_us: must be a number"),
        (["--free", "overheads.decode.base_us=3:9"], "--free: overheads.decode.base_us: starts at 0, outside 3 to 9"),
        (["--free", "hardware.hbm_efficiency=0:2"], "--free: hardware.hbm_efficiency: must be ≤ 1"),
        (
            ["--free", "overheads.*.base_us", "--free", "overheads.decode.base_us"],
            "--free: KEY: overheads.decode.base_us",
        ),
        (["--free", "overheads.decode.base_us", "--loss", "mse"], "--loss: value: must be one of mape, huber"),
        (["--free", "overheads.decode.base_us", "--metric", "itl"], "--metric: value: must be one of ttft, tpot, e2e"),
        (["--free", "overheads.decode.base_us", "--starts", "0"], "--starts: value: must be ≥ 1"),
        (["--free", "overheads.decode.base_us", "--starts", "100000000"], "--starts: value: must be ≤ 10000"),
        (["--free", "overheads.decode.base_us", "--scoring", "x"], "--scoring: value: must be one of"),
    ],
)
def test_bad_input_is_one_line(tmp_path, options, says):
    code, out, err = run("calibrate", *MEMORY, "--out", tmp_path / "out", *options)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"jaxroof: {says}")
    assert not (tmp_path / "out").exists()


def test_all_experiments_in_test_are_refused(tmp_path):
    folder = data_dir() / "ground_truth"
    for name in ("experiments.csv", "workloads.toml"):
        (tmp_path / name).write_text((folder / name).read_text().replace(",train,", ",test,"))
    code, out, err = run("calibrate", *MEMORY, "--free", "overheads.decode.base_us", "--ground-truth", tmp_path)
    assert (code, out) == (2, "")
    assert err == f"jaxroof: {tmp_path}: split: no experiment is in train, so a calibration cannot be judged\n"


def test_gradient_against_grid(tmp_path):
    code, out, _ = run("study", "gradient_vs_grid", "--out", tmp_path, "--json")
    data = json.loads(out)
    assert (code, data["verdict"]) == (0, "confirmed")
    one, three = data["problems"]["hg1"], data["problems"]["idea_ac"]
    assert one["grid_us"] == [85.0]
    assert one["steps_apart"][0] < 0.1
    assert three["grid_points"] > 125_000
    assert three["descent_mape_pct"] < three["grid_mape_pct"]
    assert three["evaluations_median"] < 500
    names = {"FINDINGS.md", "results.json", "landscape_hg1.png", "landscape_idea_ac.png"}
    assert {path.name for path in tmp_path.iterdir()} == names


TEXTS = "\n".join(f'{key} = "x"' for key in ("name", "title", "source", "hypothesis", "differences"))


def test_a_comparison_takes_a_study_of_ones_own(tmp_path):
    hg1 = (data_dir() / "configs/studies/hg1.toml").read_text()
    (tmp_path / "mine.toml").write_text(hg1.replace('name = "hg1"', 'name = "mine"'))
    (tmp_path / "x.toml").write_text(f'{TEXTS}\nproblems = ["{tmp_path}/mine.toml"]\n')
    code, out, _ = run("study", tmp_path / "x.toml", "--json")
    assert (code, json.loads(out)["problems"]["mine"]["grid_us"]) == (0, [85.0])


def test_a_comparison_needs_studies_that_search(tmp_path):
    path, text = tmp_path / "x.toml", TEXTS
    for problems, says in (
        ("[]", "must be one or more studies, got []"),
        ('["h1"]', "h1 searches nothing"),
        ('["hg1", "hg1"]', "hg1 stands"),
    ):
        path.write_text(f"{text}\nproblems = {problems}\n")
        code, _, err = run("study", path)
        assert (code, err.startswith(f"jaxroof: {path}: problems: {says}")) == (2, True), err
