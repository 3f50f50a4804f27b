"""Measured points of loaded servers: what is read, how far predictions may be off, and what is refused in one line."""

import csv

import numpy as np
import pytest
from command_line import ROOT, refused, works

import jaxroof
from jaxroof.experiments import metrics
from jaxroof.experiments.loaded import COLUMNS, groups, load_points, predicted_itl_ms
from jaxroof.experiments.recorded import SAMPLING, is_loaded
from jaxroof.parameters import Sampling, declared

TRUTH = ROOT / "ground_truth"
FILES = {name: TRUTH / f"{name}_h100.csv" for name in ("mlenergy", "serving")}
POINTS = {name: load_points(path) for name, path in FILES.items()}
# Mean absolute errors that the project holds itself to.
# Mixtures at small batches were within 6 % (5.8) before norms of queries and keys were kernels: these may cost 0.3.
BARS = {
    "mlenergy": {"dense, batch ≤ 64": 3, "dense, batch > 64": 6, "mixture, batch ≤ 64": 6.1, "mixture, batch > 64": 5},
    "serving": {"all": 4},
}


def test_there_are_42_and_19_points_of_which_each_stands_once():
    assert {name: len(points) for name, points in POINTS.items()} == {"mlenergy": 42, "serving": 19}
    names = [point.name for points in POINTS.values() for point in points]
    assert len(set(names)) == 61
    assert all(map(is_loaded, FILES.values()))
    assert not is_loaded(TRUTH / "experiments.csv")


@pytest.mark.parametrize("command", ["sensitivity", "sweep --vary=overheads.decode.base_us=0,1"])
def test_only_evaluate_scores_points(tmp_path, command):
    path = next(iter(FILES.values()))
    says = f"{path}: has points of loaded servers, which only evaluate scores"
    refused(tmp_path, [*command.split(), f"--ground-truth={path}"], says)


def test_the_columns_of_a_row_s_sampling_are_its_parameters():
    assert tuple(declared(Sampling)) == SAMPLING


def test_groups_are_kinds_of_models_and_sizes_of_batches():
    masks = groups(POINTS["mlenergy"])
    apart = [mask for name, mask in masks.items() if name != "all"]
    assert list(masks) == [*BARS["mlenergy"], "all"]
    assert (np.sum(apart, axis=0) == 1).all()
    assert masks["all"].all()
    for point, large in zip(POINTS["mlenergy"], masks["dense, batch > 64"] | masks["mixture, batch > 64"], strict=True):
        assert (point.batch > 64) == large


@pytest.fixture(scope="module")
def scored():
    """What ``evaluate`` says of each file."""
    return {name: works(["evaluate", f"--ground-truth={path}"]) for name, path in FILES.items()}


@pytest.mark.parametrize(("name", "group"), [(name, group) for name, bars in BARS.items() for group in bars])
def test_mean_itl_errors_of_loaded_servers_stay_within_their_bars(scored, name, group):
    means = {row["group"]: row for row in scored[name]["aggregate"]}
    assert means[group]["itl_mape_pct"] <= BARS[name][group]


def test_errors_of_the_13_runs_stay_within_their_bars(truth):
    model, measured = jaxroof.load_model(), truth.runs.measured["itl"]
    predicted = jaxroof.latencies(model, truth.runs)
    tpot, ttft = (
        100 * np.asarray(metrics.ape(getattr(predicted, key), getattr(measured, key))) for key in ("tpot_s", "ttft_s")
    )
    assert tpot.mean() <= 2.8
    assert tpot.max() <= 8
    assert ttft.mean() <= 17


def test_an_aggregate_is_the_mean_of_its_points(scored):
    data, points = scored["mlenergy"], POINTS["mlenergy"]
    assert [row["name"] for row in data["points"]] == [point.name for point in points]
    signed = np.array([row["itl_ms"] / row["measured_ms"] - 1 for row in data["points"]]) * 100
    for row in data["aggregate"]:
        mask = groups(points)[row["group"]]
        expected = [mask.sum(), abs(signed[mask]).mean(), signed[mask].mean(), abs(signed[mask]).max()]
        assert [row[key] for key in ("points", "itl_mape_pct", "itl_signed_pct", "itl_worst_pct")] == pytest.approx(
            expected
        )


def test_a_point_is_the_prediction_of_its_request(scored):
    point, row = POINTS["mlenergy"][0], scored["mlenergy"]["points"][0]
    model = jaxroof.with_settings(jaxroof.load_model(server=point.server), point.set.split(";"))
    arch = jaxroof.load_architecture(point.model)
    sampling = jaxroof.Sampling(temperature=0.8, top_p=0.95, top_k=20, repetition_penalty=1.1)
    found = jaxroof.predict(
        model, arch, jaxroof.Deployment(point.tp), prompt=500, cached=300, output=927, batch=7.97, output_cv=1.058,
        sampling=sampling,
    )  # fmt: skip
    assert 1e3 * float(found.latency["tpot"]) == pytest.approx(row["itl_ms"], rel=1e-12)


def test_a_named_server_and_settings_win_over_a_points_own(scored):
    path, point, before = FILES["serving"], POINTS["serving"][0], scored["serving"]["points"][0]["itl_ms"]
    (sync,) = predicted_itl_ms(path, [point], "vllm-sync", [])
    (itself,) = predicted_itl_ms(path, [point], point.server, [])
    (alone,) = predicted_itl_ms(path, [point], None, ["server.async_scheduling=0"])
    assert itself == pytest.approx(before, rel=1e-12)
    assert before < sync == pytest.approx(alone, rel=1e-12)


def damaged(folder, **cells):
    """The first point of a file with cells replaced."""
    with FILES["serving"].open() as file:
        row = next(csv.DictReader(file)) | cells
    path = folder / "points.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    return path


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"batch": "0"}, "{name}.batch: must be ≥ 1, got 0"),
        ({"batch": "x"}, "{name}.batch: must be a number, got 'x'"),
        ({"tp": "3"}, "{name}: deployment: tp: 32 attention heads cannot be divided by 3"),
        ({"ep": "2"}, "{name}: deployment: ep: must be 1 or the tp of 1"),
        ({"prompt_tokens": "1.5"}, "{name}.prompt_tokens: must be a whole number, got 1.5"),
        ({"cached_tokens": "593"}, "{name}: predict: cached: must be ≤ prompt 592, got 593"),
        ({"output_cv": "-1"}, "{name}.output_cv: must be ≥ 0, got -1"),
        ({"output_cv": "11"}, "{name}.output_cv: must be ≤ 10, got 11"),
        ({"itl_ms": "0"}, "{name}.itl_ms: must be > 0, got 0"),
        ({"itl_ms": "nan"}, "{name}.itl_ms: must be finite, got nan"),
        ({"sampling": "top_q=1"}, "{name}: sampling: top_q: unknown key; did you mean top_p?"),
        ({"set": "server.max_num_seq=1"}, "{name}: set: server.max_num_seq: unknown key; did you mean"),
        ({"set": "server.max_num_seqs"}, "{name}: set: server.max_num_seqs: must be KEY=VALUE"),
        ({"model": "llama-2-7bb"}, "{name}: models: llama-2-7bb: not in the catalogue; did you mean llama-2-7b?"),
        ({"hardware": "h100"}, "{name}: hardware: h100: not in the catalogue; did you mean h100-sxm?"),
        ({"server": "vllm-0.16"}, "{name}: servers: vllm-0.16: not in the catalogue; did you mean vllm-0.15?"),
        ({"batchs": "1"}, "batchs: unknown key; did you mean batch?"),
    ],
)
def test_a_point_that_cannot_be(tmp_path, cells, says):
    path, name = damaged(tmp_path, **cells), POINTS["serving"][0].name
    refused(tmp_path, ["evaluate", f"--ground-truth={path}"], f"{path}: {says.format(name=name)}")


@pytest.mark.parametrize(
    ("text", "says"), [(",".join(COLUMNS) + "\n", "has no rows"), ("name,batch\n1,2\n", "model: missing column")]
)
def test_a_file_that_cannot_be(tmp_path, text, says):
    path = tmp_path / "points.csv"
    path.write_text(text)
    refused(tmp_path, ["evaluate", f"--ground-truth={path}"], f"{path}: {says}")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (
            "--step-model=memory",
            "{path}: --step-model: is not for points of loaded servers: they name all but --server and --set",
        ),
        (
            "--formula=h2b",
            "{path}: --formula: is not for points of loaded servers: they name all but --server and --set",
        ),
        ("--set=server.per_stp_us=1", "{path}: {name}: set: server.per_stp_us: unknown key"),
    ],
)
def test_options_that_points_do_not_take(tmp_path, option, says):
    path = FILES["serving"]
    says = says.format(path=path, name=POINTS["serving"][0].name)
    refused(tmp_path, ["evaluate", f"--ground-truth={path}", option], says)
