"""Gradients against finite differences, kinks and jumps, and the ``sensitivity`` command."""

import dataclasses
import json
import re
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest
from quick import jit, replace_anywhere

import jaxroof
from jaxroof.catalogue.choice import ModelOptions
from jaxroof.cli import main
from jaxroof.experiments.runs import settled
from jaxroof.parameters import get, numbers, replace, walk
from jaxroof.sensitivity import record as json_record
from jaxroof.sensitivity.analysis import analyse
from jaxroof.sensitivity.derivatives import METRICS_AND_ITL, by_metric, sensitivities
from jaxroof.sensitivity.identifiability import identifiability, indistinguishable
from jaxroof.sensitivity.tables import tables

ROOT = Path(__file__).parents[2]
TABLES = Path(__file__).parents[1] / "data/roofline_parity"
OFFSETS = np.array([-2, -1, 1, 2])
WEIGHTS = np.array([1, -8, 8, -1]) / 12
# Of a log-constant, and of one that is 0, in its unit: small, so that no kink lies within.
STEP, ZERO_STEP = 1e-4, 0.01
PER_LAYER = "overheads.decode.per_layer_us"
CHUNK = "overheads.prefill.chunk_tokens"
grad_of_mape = jit(jax.grad(jaxroof.tpot_mape), static_argnames="scoring")
SPLITS = ("train", "test", "all")


@pytest.fixture
def jaxroof_(capsys):
    """Run a command line in this process; returns exit code, stdout and stderr."""

    def run(line: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(line.split())
        return end.value.code, *capsys.readouterr()

    return run


def real(model):
    """Path and declaration of the constants that are no counts and no flags, by key."""
    return {key: (path, leaf) for key, path, leaf in walk(model) if not leaf.range.whole}


def along_each(model, truth, scoring):
    """Latencies ``[experiment point constant]`` by metric on a stencil along each constant, or its logarithm."""
    keys = real(model)
    values = [numbers(model)[key] for key in keys]
    count, values = len(keys), np.array(values)
    steps = OFFSETS[:, None] * np.where(values > 0, STEP, ZERO_STEP)
    moved = np.where(values > 0, values * np.exp(steps), steps)
    points = np.where(np.eye(count, dtype=bool), moved[:, :, None], values).reshape(-1, count)
    settings = replace_anywhere(model, dict(zip(keys, points.T, strict=True)))
    latencies = [jaxroof.latencies(settings, truth.runs, scoring=name) for name in (scoring, "itl")]
    return {m: np.asarray(x).reshape(-1, len(OFFSETS), count) for m, x in by_metric(*latencies).items()}


def close(ours, theirs, step):
    """The bar: 1e-5 of the gradient or of a millionth of the largest, beside what rounding does to a difference."""
    tolerance = 1e-5 * np.maximum(abs(theirs), 1e-6 * abs(theirs).max()) + 1e-15 / step
    assert (abs(ours - theirs) <= tolerance).all()


def check_gradients(model, truth, scorings=("published", "itl")):
    """Every MAPE gradient and log-slope of ``sensitivities`` against the stencil and ``jax.grad``."""
    model = settled(model, truth.runs)
    for scoring in scorings:
        s = sensitivities(model, truth.runs, scoring=scoring)
        zero, stencil = s.values == 0, along_each(model, truth, scoring)
        scale, step = np.where(zero, 1.0, s.values), np.where(zero, ZERO_STEP, STEP)
        for metric in METRICS_AND_ITL:
            error = abs(stencil[metric] / s.measured[metric][:, None, None] - 1)
            logs = np.einsum("p,epc->ce", WEIGHTS, np.log(stencil[metric])) / step[:, None]
            for group in SPLITS:
                mask = truth.groups()[group]
                theirs = np.einsum("p,epc->c", WEIGHTS, error[mask]) / mask.sum() / step
                below, above = s.mape_gradient(metric, mask) * scale
                for ours, which in ((above, zero), (above, ~zero), (below, ~zero)):
                    close(ours[which], theirs[which], step[which])
            np.testing.assert_allclose(s.log_slopes(metric)[~zero], logs[~zero], rtol=1e-5, atol=1e-9)
        one = {"schedules": {"one": truth.runs.schedules[scoring]}, "measured": {"one": truth.runs.measured[scoring]}}
        runs = dataclasses.replace(truth.runs, **one)
        gradient = grad_of_mape(model, runs, scoring="one")
        theirs = np.array([float(get(gradient, path)) * leaf.unit for path, leaf in real(model).values()]) * scale
        ours = s.mape_gradient("tpot", truth.groups()["all"])[1] * scale
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)
    return s


def one_sided(f, x, step):
    """Left and right derivative of ``f`` at ``x``, second order."""
    return tuple(sign * (-3 * f(x) + 4 * f(x + sign * step) - f(x + 2 * sign * step)) / (2 * step) for sign in (-1, 1))


def mape(model, truth, key):
    """TPOT MAPE of all as a function of one constant."""
    return lambda x: float(jaxroof.tpot_mape(replace_anywhere(model, {key: x}), truth.runs))


def record(model, truth):
    """The JSON object, per split."""
    return json_record.record(analyse(model, truth, scoring="itl", per="split"))


def test_memory_gradients_kinks_and_jumps(truth, h2b):
    check_gradients(h2b, truth)
    everything = truth.groups()["all"]

    # A prediction meets its measurement: TPOT is affine in the overhead, so the kink is solved for.
    def itl_s(us):
        at = replace(h2b, {PER_LAYER: us})
        return float(jaxroof.latencies(at, truth.runs).tpot_s[0])

    wanted = float(truth.runs.measured["itl"].tpot_s[0])
    us = (wanted - itl_s(0.0)) / (itl_s(1.0) - itl_s(0.0))
    at = replace(h2b, {PER_LAYER: us})
    s = sensitivities(at, truth.runs)
    sides = s.mape_gradient("tpot", everything)[:, s.keys.index(PER_LAYER)]
    np.testing.assert_allclose(sides, one_sided(mape(h2b, truth, PER_LAYER), us, 1e-3), rtol=1e-5)
    assert sides[1] - sides[0] > 1e-5
    data = record(at, truth)
    row = data["metrics"]["tpot"]["groups"]["all"]["constants"][PER_LAYER]
    assert row["gradient_pp_per_unit"] is row["elasticity_pp"] is None
    assert (row["left_pp_per_unit"], row["right_pp_per_unit"]) == pytest.approx(sides * 100)
    assert data["metrics"]["tpot"]["notes"][PER_LAYER] == "kink"
    shown = next(table for title, table in tables(data, "tpot").items() if title.startswith("What moves"))
    cells = shown.set_index("constant").loc[PER_LAYER]
    assert cells["note"] == "kink"
    assert all(" | " in cells[name] for name in ("dMAPE/dθ", "train", "all"))
    assert " | " not in cells["test"]  # that experiment is in train

    # ⌈prompt / chunk⌉ jumps where the chunk divides a step's tokens; elsewhere it is flat.
    full = float(truth.runs.schedules["itl"].chunk_new_tokens.max())
    for chunk, note in ((full / 4, "jump"), (full / 4.2, "flat here")):
        chunked = replace(h2b, {"overheads.prefill.per_chunk_us": 50.0, CHUNK: chunk})
        ttft = record(chunked, truth)["metrics"]["ttft"]
        assert ttft["notes"][CHUNK] == note
        assert ttft["groups"]["all"]["constants"][CHUNK]["gradient_pp_per_unit"] == (0 if note != "jump" else None)
        assert (None in ttft["log_slopes"][CHUNK].values()) == (note == "jump")

    # At an end of its range a constant has one side; a term at zero the forward one.
    ideal = replace(h2b, {"hardware.hbm_efficiency": 1.0})
    data = record(ideal, truth)["metrics"]["tpot"]
    assert data["notes"]["hardware.hbm_efficiency"] == "end of range"
    row = data["groups"]["all"]["constants"]["hardware.hbm_efficiency"]
    left, _ = one_sided(mape(h2b, truth, "hardware.hbm_efficiency"), 1.0, 1e-5)
    assert row["right_pp_per_unit"] is None
    assert row["gradient_pp_per_unit"] == row["left_pp_per_unit"] == pytest.approx(100 * left, rel=1e-5)
    key = "overheads.decode.per_layer_replicated_us"
    row = record(h2b, truth)["metrics"]["tpot"]["groups"]["all"]["constants"][key]
    _, right = one_sided(mape(h2b, truth, key), 0.0, 1e-3)
    assert row["left_pp_per_unit"] is None
    assert row["right_pp_per_unit"] == pytest.approx(100 * right, rel=1e-5)
    assert row["pp_per_pct_of_latency"] < 0

    told = record(h2b, truth)["identifiability"]
    pair = ["hardware.hbm_tb_per_s", "hardware.hbm_efficiency"]
    assert [found["constants"] for found in told["indistinguishable"]] == [pair]
    assert set(pair) < set(told["not_identified_together"])
    assert all(told["together_half_interval_pct"][key] is None for key in pair)
    assert told["alone_half_interval_pct"][pair[0]] == pytest.approx(told["alone_half_interval_pct"][pair[1]])


def test_roofline_gradients_and_a_tie_of_compute_and_memory(truth, h2b):
    model = dataclasses.replace(h2b, step="roofline")
    check_gradients(model, truth)
    # One token: 2kn / (P·mfu) = kn·b / BW at this MFU, in every GEMM; slow attention makes compute bind the phase.
    hardware, key = model.constants.hardware, "hardware.mfu.gemm"
    tie = float(2 * hardware.effective_bytes_per_s / (hardware.peak_flops_per_s * 2))
    at = replace(model, {key: tie, "hardware.mfu.attention": 1e-4})
    s = sensitivities(at, truth.runs)
    below, above = s.slopes["tpot"][:, s.keys.index(key)]
    predicted = lambda x: np.asarray(  # noqa: E731
        jaxroof.latencies(replace(at, {key: x}), truth.runs).tpot_s
    )
    left, right = one_sided(predicted, tie, 1e-5 * tie)
    np.testing.assert_allclose(below, left, rtol=1e-5)
    np.testing.assert_allclose(right, 0, atol=1e-9)
    assert (above == 0).all()
    data = record(at, truth)
    row = data["metrics"]["tpot"]["groups"]["all"]["constants"][key]
    sides = one_sided(mape(at, truth, key), tie, 1e-5 * tie)
    assert row["gradient_pp_per_unit"] is None
    assert data["metrics"]["tpot"]["notes"][key] == "kink"
    assert row["left_pp_per_unit"] == pytest.approx(100 * sides[0], rel=1e-5)
    assert row["right_pp_per_unit"] == 0
    assert {(b["phase"], b["part"]) for b in data["binding"]} == {("prefill", "prefill"), ("decode", "decode")}
    assert all(b["memory"] + b["compute"] == 13 for b in data["binding"])


def test_kernels_gradients_and_the_default_command(truth, jaxroof_):
    check_gradients(jaxroof.load_model(), truth)
    code, out, err = jaxroof_("sensitivity --per tp --json")
    data = json.loads(out)
    assert (code, err, data["step_model"], data["scoring"]) == (0, "", "kernels", "itl")
    assert list(data["groups"]) == ["tp1", "tp2", "tp4", "all"]
    told = data["identifiability"]
    assert {"constants": ["server.per_step_us", "server.per_request_us"], "cosine": pytest.approx(1)} in told[
        "indistinguishable"
    ]
    assert told["directions_seen"] < len(told["constants"])


def check_json(data):
    """The contract: names, units, no constant lost, the numbers consistent with each other."""
    assert set(data["metrics"]) == {"tpot", "itl", "ttft", "e2e"}
    names = [e["name"] for e in data["experiments"]]
    for metric, part in data["metrics"].items():
        overall = part["groups"]["all"]
        assert sorted([*overall["constants"], *part["no_effect"]]) == sorted(data["constants"])
        assert set(part["groups"]) == set(data["groups"])
        errors = [abs(e[f"{metric}_ms"] / e[f"{metric}_measured_ms"] - 1) * 100 for e in data["experiments"]]
        assert overall["mape_pct"] == pytest.approx(np.mean(errors))
        for key, row in overall["constants"].items():
            value = data["constants"][key]
            if value:
                assert row["elasticity_pp"] == pytest.approx(row["gradient_pp_per_unit"] * value)
                assert set(part["swings"][key]) == {"lower_mape_pct", "higher_mape_pct"}
                assert set(part["log_slopes"][key]) == set(names)
            assert not set(row["up"]) & set(row["down"])
            shares = {group: len(data["groups"][group]) / len(names) for group in data["groups"] if group != "all"}
            each = [part["groups"][group]["constants"][key]["right_pp_per_unit"] * n for group, n in shares.items()]
            assert sum(each) == pytest.approx(row["right_pp_per_unit"], rel=1e-9, abs=1e-15)


def test_the_command_its_files_and_the_scripts(jaxroof_, tmp_path, capsys):
    """One compiled program: ``memory``."""
    line = "sensitivity --step-model memory --formula h2b"
    data = json.loads(jaxroof_(f"{line} --json")[1])
    check_json(data)
    assert list(data["groups"]) == ["train", "test", "all"]
    check_json(json.loads(jaxroof_(f"{line} --per family --json --out {tmp_path}/out")[1]))
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {
        "results.json", "sensitivity.csv", "log_slopes.csv", "FINDINGS.md",
        "tornado.png", "heatmap.png", "eigenvalues.png",
    }  # fmt: skip
    findings = (tmp_path / "out/FINDINGS.md").read_text()
    assert set(re.findall(r"\]\((.*?\.png)\)", findings)) == {name for name in made if name.endswith("png")}
    command = findings.split("```bash\njaxroof ")[1].split("\n")[0]
    assert (
        json.loads(jaxroof_(f"{command} --json")[1])["groups"]
        == json.loads((tmp_path / "out/results.json").read_text())["groups"]
    )
    assert (tmp_path / "out/sensitivity.csv").read_text().startswith("metric,group,constant,value,gradient_pp_per_unit")

    code, shown, _ = jaxroof_(f"{line} --per experiment --metric ttft")
    assert code == 0
    for text in ("TTFT", "[13] = dec17-tp1-qwen7-summarization", "asks for it", "no max", "have no effect on TTFT",
                 "hardware.hbm_tb_per_s and hardware.hbm_efficiency (+1.0000)", "± 100 %): 6 (traffic.decode_kv, ",
                 "overheads.prefill.per_layer_us, …).", "at once: 3 (hardware.hbm_tb_per_s, "):  # fmt: skip
        assert text in shown
    assert "against it" not in shown

    runpy.run_path(str(ROOT / "scripts/sensitivity_report.py"))["report"]("memory")
    assert "asked for most: overheads.decode.per_layer_replicated_us" in capsys.readouterr().out
    runpy.run_path(str(ROOT / "docs/gradients.py"))
    assert "pp per µs above" in capsys.readouterr().out


def test_the_first_cell_of_the_example_is_short():
    cell = (ROOT / "docs/gradients.py").read_text().split("# %%")[1]
    code = [line for line in cell.splitlines()[1:] if line.strip() and not line.strip().startswith('"""')]
    assert sum("print" not in line for line in code) <= 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--step-model kernel", "--step-model: value: must be one of kernels, linear, memory, roofline, got 'kernel'"),
        ("--scoring itls", "--scoring: value: must be one of"),
        ("--metric tpots", "--metric: value: must be one of tpot, itl, ttft, e2e, got 'tpots'; did you mean tpot?"),
        ("--per families", "--per: value: must be one of split, experiment, family, tp, got 'families'"),
        ("--set overheads.decode.bass_us=1", "--set: overheads.decode.bass_us: unknown key"),
        ("--set hardware.hbm_efficiency=2", "--set: hardware.hbm_efficiency: must be ≤ 1, got 2"),
        ("--formula h2bb", "overheads: h2bb: not in the catalogue; did you mean h2b?"),
        ("--hardware h100", "hardware: h100: not in the catalogue"),
        ("--mfu-tables x", "--mfu-tables: kernels: uses no MFU tables"),
        ("--ground-truth /nowhere", "/nowhere/experiments.csv: No such file or directory"),
        ("--out /dev/null/x", "/dev/null/x: --out: cannot be written: Not a directory"),
        ("--step-model memory --set hardware.hbm_tb_per_s=1e-320", "result: a latency is not finite"),
        ("--step", "No such option"),
    ],
)
def test_wrong_input_is_one_line(jaxroof_, options, says):
    code, out, err = jaxroof_(f"sensitivity {options}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"jaxroof: {says}")


def test_parallel_columns_are_indistinguishable():
    jacobian = np.array([[1.0, -2.0, 0.0, 1.0], [1.0, -2.0, 0.0, 0.0]])
    assert indistinguishable("abcd", jacobian) == [("a", "b", pytest.approx(-1))]
    seen = identifiability("abcd", jacobian, np.ones(2)).seen
    assert list(seen) == [True, True, False, False]


def test_the_reproducing_command_quotes_and_repeats_what_was_asked():
    constants = ModelOptions("memory", "h100-sxm", None, "my formula.toml", None, ["a=1", "b=2"])
    text = constants.command("sensitivity", scoring="itl", ground_truth=None)
    assert text == (
        "jaxroof sensitivity --step-model=memory '--formula=my formula.toml' --hardware=h100-sxm "
        "--set=a=1 --set=b=2 --scoring=itl"
    )
