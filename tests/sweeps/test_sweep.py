"""``jaxroof sweep`` in this process: figures, reductions, files, refusals."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
from command_line import refused, run, works

from jaxroof.commands import devices as devices_command
from jaxroof.files import InputError
from jaxroof.sweeps import stream
from jaxroof.sweeps.objectives import Objective
from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.reductions import Best, least_indices, pareto_front
from jaxroof.sweeps.space import Listed

FAST = "--step-model=memory"  # the memory step time compiles quickly
AXES = [
    "--vary=overheads.decode.per_layer_us=0:200:10",
    "--vary=formula=h2b,none",
    "--zip=hardware.hbm_efficiency=0.5,0.75,1",
    "--zip=hardware.peak_tflops=800,900,1000",
]
SCORED = ["sweep", FAST, *AXES, "--scoring=itl"]
SERVED = [
    "sweep", FAST, "--vary=model=llama-2-7b,llama-3.1-70b,qwen3-14b", "--vary=hardware=h100-sxm,l40s",
    "--vary=tp=1,2,3,8", "--vary=prompt=1000,3000", "--vary=output=1,100", "--vary=batch=1,32",
]  # fmt: skip
REQUEST = ["--model=llama-2-7b", "--tp=1", "--prompt=8", "--output=2"]
# What there is to say of it is said once it is not refused.
MIXED = ["--model=gpt-oss-20b", *REQUEST[1:], "--kv-cache-dtype=fp8", "--vary=batch=1,2"]
EIGHT_BITS = "jaxroof: note: the KV cache is FP8: attention has the efficiency that it has with 16 bits\n"
VARY = "--vary=overheads.decode.base_us=0:50:1"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several chunks of little, and the tests' precision again afterwards."""
    monkeypatch.setattr(stream, "BLOCK_SIZES", {"cpu": 64})
    yield
    jax.config.update("jax_enable_x64", True)


def swept(arguments):
    """What a sweep prints as JSON; on stderr there is one line, its summary."""
    code, out, err = run([*arguments, "--json"])
    assert (code, err.count("\n")) == (0, 1), err
    return json.loads(out)


def rows_of(folder, arguments):
    """All points of a sweep, from its Parquet file."""
    code, out, err = run([*arguments, f"--out={folder}/all.parquet", "--force"])
    assert (code, out, err.count("\n")) == (0, "", 1), err
    assert [path.name for path in folder.iterdir()] == ["all.parquet"]
    return pd.read_parquet(folder / "all.parquet")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    stream.BLOCK_SIZES, before = {"cpu": 64}, stream.BLOCK_SIZES
    try:
        return rows_of(tmp_path_factory.mktemp("scored"), SCORED)
    finally:
        stream.BLOCK_SIZES = before


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return rows_of(tmp_path_factory.mktemp("served"), SERVED)


def test_rows_equal_evaluate(scored):
    assert len(scored) == 21 * 2 * 3
    for i in (0, 40, 125):
        row = scored.iloc[i]
        settings = [
            f"--set={key}={row[key]}" for key in scored.columns if key.split(".")[0] in ("overheads", "hardware")
        ]
        data = works(["evaluate", FAST, f"--formula={row['formula']}", "--scoring=itl", *settings])["aggregate"]["run"][
            "all"
        ]
        for name, value in data.items():
            assert row[name] == pytest.approx(value, rel=1e-12)


def test_rows_equal_predict_and_what_cannot_be_served_is_null(served):
    assert len(served) == 3 * 2 * 4 * 2 * 2 * 2
    assert set(served[served["gpus"].isna()]["tp"]) >= {3.0}  # 32 heads
    unfit = (served["model"] == "llama-3.1-70b") & (served["hardware"] == "l40s") & (served["tp"] < 4)
    assert served[unfit]["ttft_ms"].isna().all()
    assert (served["gpus"].dropna() == served["tp"][served["gpus"].notna()]).all()
    feasible = served[served["gpus"].notna()]
    assert (feasible["itl_ms"].isna() == (feasible["output"] == 1)).all()
    for i in (1, len(feasible) // 2, len(feasible) - 1):
        row = feasible.iloc[i]
        options = [f"--{key}={row[key]:.0f}" for key in ("tp", "prompt", "output", "batch")]
        data = works(["predict", FAST, f"--model={row['model']}", f"--hardware={row['hardware']}", *options])
        for name in ("ttft_ms", "itl_ms", "e2e_ms", "tpot_e2e_per_token_ms"):
            assert row[name] == pytest.approx(np.nan if data[name] is None else data[name], rel=1e-12, nan_ok=True)


def test_a_mixture_and_architecture_leaves_that_vary(tmp_path):
    request = ["--model=qwen3-30b-a3b", "--tp=2", "--prompt=3000", "--output=9", "--batch=3"]
    rows = rows_of(tmp_path, ["sweep", *request, "--vary=architecture.num_hidden_layers=16,48"])
    data = works(["predict", "--hardware=h100-sxm", *request])
    assert rows["itl_ms"][1] == pytest.approx(data["itl_ms"], rel=1e-12)
    assert rows["ttft_ms"][1] == pytest.approx(data["ttft_ms"], rel=1e-12)
    assert rows["itl_ms"][0] < rows["itl_ms"][1]


def test_reductions_equal_brute_force(scored, tmp_path):
    keep = ["--best=5", "--by=e2e_mape_pct", "--pareto=tpot_mape_pct,ttft_mape_pct", "--marginals"]
    data = swept([*SCORED, *keep, f"--out={tmp_path}"])
    assert (data["points"], data["infeasible"], data["by"]) == (126, 0, "e2e_mape_pct")
    order = np.lexsort((np.arange(126), scored["e2e_mape_pct"]))[:5]
    assert [point["point"] for point in data["best"]] == order.tolist()
    for point in data["best"]:
        assert {key: value for key, value in point.items() if key != "point"} == dict(scored.iloc[point["point"]])
    values = scored[["tpot_mape_pct", "ttft_mape_pct"]].to_numpy()
    assert {point["point"] for point in data["pareto"]} == brute_force_front(values)
    for keys, table in data["marginals"].items():
        least = scored.groupby(keys.split(","), sort=False, observed=True)["e2e_mape_pct"].min()
        assert [row["e2e_mape_pct"] for row in table] == least.tolist()
    assert {path.name for path in tmp_path.iterdir()} >= {"results.json", "best.csv", "pareto.csv", "pareto.png"}
    results = json.loads((tmp_path / "results.json").read_text())
    assert {key: value for key, value in results.items() if key != "sweep"} == data
    assert len(pd.read_csv(tmp_path / "marginal_formula.csv")) == 2


def test_the_front_of_predictions_counts_the_infeasible(served):
    data = swept([*SERVED, "--pareto=ttft_ms,tpot_ms,gpus", "--best=3", "--by=tpot_ms"])
    assert data["infeasible"] == served["gpus"].isna().sum()
    values = served[["ttft_ms", "itl_ms", "gpus"]].to_numpy()
    assert {point["point"] for point in data["pareto"]} == brute_force_front(values)
    assert data["best"][0]["itl_ms"] == served["itl_ms"].min()


def test_tables_on_a_terminal_less_stdout():
    code, out, _ = run([*SCORED, "--best=2", "--marginals"])
    assert code == 0
    assert "least tpot_mape_pct\n" in out
    assert "at each hardware.hbm_efficiency,hardware.peak_tflops" in out


def test_latencies_of_every_run(tmp_path):
    rows = rows_of(tmp_path, ["sweep", FAST, "--vary=overheads.decode.base_us=0,100", "--metric=latencies"])
    data = works(["evaluate", FAST, "--set=overheads.decode.base_us=100"])
    for e in data["experiments"]:
        for metric in ("ttft_ms", "tpot_ms", "e2e_ms"):
            assert rows[f"{e['name']}.{metric}"][1] == pytest.approx(e["run"][metric], rel=1e-12)


def test_a_group_and_constants_that_change_nothing(tmp_path):
    rows = rows_of(tmp_path, ["sweep", "--vary=hardware.hbm_gb=80,90", "--group=test", FAST, "--scoring=itl"])
    data = works(["evaluate", FAST, "--scoring=itl"])["aggregate"]["run"]["test"]
    assert rows["tpot_mape_pct"].tolist() == pytest.approx([data["tpot_mape_pct"]] * 2, rel=1e-12)


def test_a_kv_cache_of_one_byte_is_said_whatever_says_it(tmp_path):
    # An A100 has no constants for such a cache.
    key, sweep = "architecture.kv_cache_bytes", ["sweep", FAST, *REQUEST, "--hardware=a100-sxm", "--best=1"]
    points = {name: tmp_path / f"{name}.csv" for name in ("narrow", "wide")}
    points["narrow"].write_text(f"{key}\n2\n1\n")
    points["wide"].write_text(f"{key}\n4\n2\n")
    for eight, sixteen in (
        ([f"--vary={key}=2,1"], [f"--vary={key}=2,4"]),
        ([f"--vary={key}=1:2:0.5", "--random=2"], [f"--vary={key}=2:4:0.5", "--random=2"]),
        ([f"--points={points['narrow']}"], [f"--points={points['wide']}"]),
        (["--kv-cache-dtype=fp8", "--vary=batch=1"], ["--vary=batch=1"]),
    ):
        said, not_said = (run([*sweep, *axis]) for axis in (eight, sixteen))
        assert (said[0], said[2].count("\n"), said[2].startswith(EIGHT_BITS)) == (0, 2, True)
        assert (not_said[0], not_said[2].count("\n")) == (0, 1)


def test_a_line_that_varies_may_be_measured_nowhere(tmp_path):
    """Where none of its constants has time, a point cannot be."""
    rows = rows_of(tmp_path, ["sweep", "--step-model=linear", "--vary=linear.base_us=0:2000:1000"])
    assert rows["tpot_mape_pct"].isna().tolist() == [True, False, False]
    request = ["--model=llama-2-7b", "--tp=1", "--prompt=8", "--output=2", "--zip=linear.base_us=0,0,7"]
    rows = rows_of(tmp_path, ["sweep", "--step-model=linear", *request, "--zip=linear.per_request_us=0,5,0"])
    assert rows["ttft_ms"].isna().tolist() == [True, False, False]


def test_constants_of_the_staircase_alone(tmp_path):
    axes = ["--vary=overheads.prefill.per_chunk_us=100", "--vary=overheads.prefill.chunk_tokens=2048,1"]
    rows = rows_of(tmp_path, ["sweep", FAST, *axes, "--scoring=itl"])
    for i, chunk in enumerate((2048, 1)):
        settings = ["--set=overheads.prefill.per_chunk_us=100", f"--set=overheads.prefill.chunk_tokens={chunk}"]
        data = works(["evaluate", FAST, "--scoring=itl", *settings])["aggregate"]["run"]["all"]
        for name, value in data.items():
            assert rows[name][i] == pytest.approx(value, rel=1e-12)


def test_single_precision_is_within_1e_4():
    random = [
        "sweep", FAST, "--vary=overheads.decode.per_layer_us=0:200:1", "--vary=hardware.hbm_efficiency=0.5:1:0.1",
        "--vary=hardware.hbm_tb_per_s=2:5:1", "--random=300", "--seed=3", "--best=300",
    ]  # fmt: skip
    double, single = ({p["point"]: p for p in swept([*random, f"--precision={p}"])["best"]} for p in ("f64", "f32"))
    assert set(double) == set(single)
    for number, point in double.items():
        for metric in ("tpot_mape_pct", "ttft_mape_pct", "e2e_mape_pct"):
            assert single[number][metric] == pytest.approx(point[metric], rel=1e-4)


def test_points_of_a_file_are_evaluated_in_order(tmp_path):
    file = tmp_path / "points.csv"
    file.write_text("overheads.decode.base_us,formula\n50,h2b\n0,none\n100,h2b\n")
    (tmp_path / "out").mkdir()
    rows = rows_of(tmp_path / "out", ["sweep", FAST, f"--points={file}", "--scoring=itl"])
    data = works(["evaluate", FAST, "--formula=h2b", "--scoring=itl", "--set=overheads.decode.base_us=100"])
    assert rows["formula"].tolist() == ["h2b", "none", "h2b"]
    assert rows["tpot_mape_pct"][2] == pytest.approx(data["aggregate"]["run"]["all"]["tpot_mape_pct"], rel=1e-12)


def test_nothing_is_overwritten_or_resumed_by_mistake(tmp_path):
    file, folder = tmp_path / "all.parquet", tmp_path / "kept"
    for out, extra in ((file, []), (folder, ["--best=1"])):
        arguments = ["sweep", VARY, FAST, f"--out={out}", *extra]
        assert run([*arguments, "--resume"])[0] == 0  # whether or not there is something to go on with
        target = out if out == file else out / "results.json"
        refused(tmp_path, arguments, f"{target}: --out: is there already; --force overwrites it")
        code, _, err = run([*arguments, "--resume"])
        assert (code, err) == (0, f"jaxroof: {target} is complete\n")
    (folder / "best.csv").unlink()
    gone = f"{folder}/results.json: --resume: is complete, but best.csv is gone; --force in its place computes anew"
    refused(tmp_path, [*arguments, "--resume"], gone)
    mine = tmp_path / "new.parquet.part/chunk-notes.txt"
    mine.parent.mkdir()
    mine.touch()
    refused(
        tmp_path, ["sweep", VARY, FAST, f"--out={tmp_path}/new.parquet", "--force"], f"{mine}: --out: is in the way"
    )
    refused(tmp_path, ["sweep", VARY, FAST, f"--out={mine.parent}", "--force"], f"{mine.parent}: --out: must be")
    before, other = file.read_bytes(), ["sweep", VARY.replace("50", "60"), FAST, f"--out={file}"]
    refused(tmp_path, [*other, "--resume"], f"{file}: --resume: is another sweep's; --force overwrites it")
    assert file.read_bytes() == before
    assert run([*other, "--force"])[0] == 0
    assert len(pd.read_parquet(file)) == 61


def test_a_users_own_file_is_moved_and_the_sweep_that_was_computed_goes_on(tmp_path):
    mine, arguments = tmp_path / "best.csv", ["sweep", VARY, FAST, "--best=1", f"--out={tmp_path}"]
    mine.touch()
    code, out, err = run(arguments)
    assert (code, out.count("\n")) == (2, 4)
    assert err == f"jaxroof: {mine}: --out: is there, and not of this result; move it, then --resume or --join again\n"
    mine.unlink()
    code, again, err = run([*arguments, "--resume"])
    assert (code, again) == (0, out)
    assert err.startswith("jaxroof: 0 points")


@pytest.mark.parametrize("keep", [[], ["--best=3", "--pareto=tpot_mape_pct,ttft_mape_pct"]], ids=["rows", "kept"])
def test_an_interrupted_sweep_goes_on(tmp_path, monkeypatch, keep):
    out = tmp_path / ("kept" if keep else "all.parquet")
    arguments = ["sweep", "--vary=overheads.decode.base_us=0:300:1", FAST, *keep, f"--out={out}"]
    target = out / "results.json" if keep else out
    assert run(arguments)[0] == 0
    whole = target.read_bytes()
    target.unlink()
    call = stream.Program.__call__

    def interrupted(self, index, hints):
        if index == 3:
            raise KeyboardInterrupt
        return call(self, index, hints)

    with monkeypatch.context() as patch:
        patch.setattr(stream.Program, "__call__", interrupted)
        code, printed, _ = run(arguments)
    assert (code, printed) == (130, "")
    assert not target.exists()
    part = out / ".part" if keep else out.with_name("all.parquet.part")
    refused(tmp_path, arguments, f"{part}: --out: is an interrupted sweep's; --resume goes on, --force starts over")
    other = [*arguments, "--set=server.per_step_us=1", "--resume"]
    refused(tmp_path, other, f"--resume: {part}: is another sweep's: constants.")
    done = []
    with monkeypatch.context() as patch:
        patch.setattr(
            stream.Program, "__call__", lambda self, index, hints: done.append(index) or call(self, index, hints)
        )
        assert run([*arguments, "--resume"])[0] == 0
    assert done == [3, 4]
    assert target.read_bytes() == whole
    assert not part.exists()


@pytest.mark.parametrize("keep", [[], ["--best=3"]], ids=["rows", "kept"])
def test_a_summary_counts_what_was_done_now(tmp_path, monkeypatch, keep):
    """Points of a 70B model on one or on eight GPUs, which only eight hold; the second of the two chunks is lost."""
    axes = ["--vary=tp=1,8", "--vary=prompt=1:64:1", "--model=llama-3.1-70b", "--hardware=h100-sxm", "--output=2"]
    arguments = ["sweep", FAST, *axes, *keep, f"--out={tmp_path / ('kept' if keep else 'all.parquet')}"]
    call = stream.Program.__call__

    def interrupted(self, index, hints):
        if index == 1:
            raise KeyboardInterrupt
        return call(self, index, hints)

    with monkeypatch.context() as patch:
        patch.setattr(stream.Program, "__call__", interrupted)
        assert run(arguments)[0] == 130
    assert run([*arguments, "--resume"])[2].startswith("jaxroof: 64 points (0 infeasible)")
    assert run([*arguments, "--force"])[2].startswith("jaxroof: 128 points (64 infeasible, for heads")


def test_memory_bounds_the_chunk():
    axes = ["sweep", "--vary=overheads.decode.base_us=0:99:1", FAST, "--best=1"]
    refused_ = run([*axes, "--memory=1MB"])
    assert refused_[0] == 2
    assert refused_[2].startswith("jaxroof: --memory: 64 settings need ")


def test_a_block_is_halved_until_it_fits():
    class Fake(stream.Program):
        def __init__(self, size):
            vars(self)["device_bytes"] = 1000 * size

    sizes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BLOCK_SIZES", {"cpu": 2**16})
        patch.setattr(stream, "_compile", lambda *arguments: sizes.append(arguments[-1]) or Fake(arguments[-1]))
        space, nothing = Listed(10**9, {}, lambda first, count: {}, {}, {}), Objective((), None, lambda *_: None, 1)
        patch.setattr(stream, "left_bytes", lambda memory: 5e6 + 2**12 * 4 * 8)
        stream.build(Plan(space, nothing, {}, 0, {}), None, None, same_block=False)
        with pytest.raises(InputError, match="the same --memory everywhere"):
            stream.build(Plan(space, nothing, {}, 0, {}), None, None, same_block=True)
    assert sizes == [2**16, 2**12, 2**16]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "sweep: nothing varies"),
        ([VARY], "sweep: --out: must be a FILE.parquet"),
        ([VARY, "--out=x.csv"], "x.csv: --out: must be a FILE.parquet"),
        ([VARY, "--best=1", "--out=x.parquet"], "x.parquet: --out: must be a folder"),
        ([VARY, "--json", "--out=x.parquet"], "--json: is for --best"),
        ([VARY, "--best=0"], "--best: N: must be ≥ 1, got 0"),
        ([VARY, "--best=1", "--by=itl_ms"], "--by: metric: must be one of tpot_mape_pct, ttft_mape_pct, e2e_mape_pct"),
        ([VARY, "--by=e2e_mape_pct", "--out=x.parquet"], "--by: e2e_mape_pct: is for --best and --marginals"),
        ([VARY, "--pareto=tpot_mape_pct"], "--pareto: tpot_mape_pct: must be two or more different metrics"),
        ([VARY, "--pareto=tpot_mape_pct,x"], "--pareto: metric: must be one of"),
        ([VARY, "--random=8", "--marginals"], "--marginals: needs axes"),
        ([VARY, "--best=1", "--resume"], "--out: is missing"),
        ([VARY, "--best=1", "--metric=mape"], "--metric: value: must be one of tpot_mape, latencies"),
        ([VARY, "--best=1", "--group=tset"], "--group: value: must be one of"),
        ([VARY, "--best=1", "--scoring=x"], "--scoring: value: must be one of"),
        ([VARY, "--best=1", "--metric=latencies", "--group=test"], "--group: test: is for errors"),
        ([VARY, "--best=1", "--memory=2"], "--memory: 2: must be a size like"),
        ([VARY, "--best=1", "--precision=f16"], "--precision: value: must be one of f32, f64"),
        ([VARY, "--best=1", "--set=overheads.decode.base_us=1"], "--set: overheads.decode.base_us: varies"),
        ([VARY, "--shard=2/2", "--out=x"], "--shard: 2/2: must be I/N with I from 0 to N − 1"),
        ([VARY, "--shard=1", "--out=x"], "--shard: 1: must be I/N"),
        ([VARY, "--shard=0/2"], "sweep: --out: must be a folder"),
        ([VARY, "--shard=0/2", "--out=x.parquet"], "x.parquet: --out: must be a folder"),
        ([VARY, "--shard=0/2", "--best=1", "--json", "--out=x"], "--json: is for"),
        ([VARY, "--join=x"], "--join: x: knows its sweep"),
        (["--join=x", "--best=0"], "--join: x: knows its sweep"),
        (["--join=x", "--hardware=l40s", "--force"], "--join: x: knows its sweep"),
        (["--join=x", "--precision=f32"], "--join: x: knows its sweep"),
        (["--join=no/such/folder"], "--join: no/such/folder: no finished shard is there"),
        ([VARY, "--best=1", "--scheduler=local:0"], "--scheduler: N of local:N: must be ≥ 1"),
        ([VARY, "--best=1", "--scheduler=here"], "--scheduler: here: "),
        (["--vary=tp=1,2", "--best=1"], "--vary: tp: needs --model"),
        (["--vary=formula=h2b,x", "--best=1"], "overheads: x: not in the catalogue"),
        (["--vary=formula=h2b", "--formula=h2b", "--best=1"], "--formula: h2b: varies"),
        (["--vary=server.graph_tokens=0:512:16", "--best=1"], "--vary: server.graph_tokens: must be at most 16 values"),
        (["--vary=tp=1,2", "--model=llama-2-7b", "--best=1"], "sweep: --prompt: is missing: give it or vary it"),
        (["--vary=tp=1,2", "--model=llama-2-7b", "--tp=1", "--best=1"], "--tp: 1: varies"),
        (["--vary=tp=1,2", "--model=llama-2-7b", "--group=all", "--best=1"], "--group: all: is for the measured runs"),
        (["--vary=server.per_step_us=1,2", "--best=1", "--kv-cache-dtype=fp8"], "--kv-cache-dtype: fp8: needs --model"),
        (["--vary=server.per_step_us=1,2", "--best=1", "--output-cv=1"], "--output-cv: 1.0: needs --model"),
        (["--vary=output_cv=0,1", "--model=llama-2-7b", "--output-cv=1", "--best=1"], "--output-cv: 1.0: varies"),
        (
            ["--vary=architecture.kv_cache_bytes=1,2", *REQUEST, "--kv-cache-dtype=fp8", "--best=1"],
            "--kv-cache-dtype: fp8: varies, so it cannot be given too",
        ),
        (["--vary=hardware=h100-sxm,", "--best=1"], "--vary: hardware: a name is empty, got 'h100-sxm,'"),
        ([*MIXED, "--best=1", "--by=x"], "--by: metric: must be one of ttft_ms"),
        ([*MIXED], "sweep: --out: must be a FILE.parquet"),
        ([*MIXED, "--best=1", "--memory=1MB"], "--memory: 64 settings need"),
        (
            [*MIXED, "--vary=architecture.head_dim=64,128", "--best=1"],
            "--vary: architecture.head_dim: gpt-oss-20b has a value for each kind of layer, and these differ",
        ),
        (["--vary=model=llama-2-7b,x", "--best=1"], "models: x: not in the catalogue"),
        (["--vary=model=mixtral-8x7b", FAST, "--best=1"], "mixtral-8x7b: num_experts: the memory step"),
        (
            ["--vary=architecture.kv_lora_rank=0,512", "--model=llama-2-7b", "--tp=1", FAST, "--best=1"],
            "--vary: architecture.kv_lora_rank: the memory step time is for plain layers; use kernels",
        ),
        (
            ["--vary=model=llama-3.1-70b,llama-3.1-70b-fp8", "--step-model=roofline", "--best=1"],
            "llama-3.1-70b-fp8: attention_input_bytes: the roofline step time is for products of 16 bits; use kernels",
        ),
        (["--vary=prompt=0", "--model=llama-2-7b", "--best=1"], "--vary: prompt: must be ≥ 1, got 0"),
    ],
)  # fmt: skip
def test_wrong_sweep(tmp_path, options, says):
    refused(tmp_path, ["sweep", *options], says)


def test_devices(monkeypatch):
    monkeypatch.setattr(devices_command, "SECONDS_PER_MODEL", 0.01)
    monkeypatch.setattr(devices_command, "STEP_MODELS", ("memory",))
    data = works(["devices"])
    assert set(data) == {"devices", "precision", "cores", "evaluations_per_s"}
    assert data["devices"][0]["platform"] == jax.devices()[0].platform
    assert all(rate > 0 for rate in data["evaluations_per_s"].values())


@pytest.mark.parametrize("size", [100, 256 * 40])
def test_the_least_of_many_with_ties(size):
    values = np.random.default_rng(0).integers(0, 50, size).astype(float)
    values[::7] = np.inf
    order = np.lexsort((np.arange(size), values))
    for count in (1, 20, 300):
        assert np.asarray(least_indices(values, count)).tolist() == order[:count].tolist()


def test_merging_does_not_depend_on_the_order():
    best, generator = Best(4, 0, 2), np.random.default_rng(1)
    parts = [
        {"numbers": np.arange(10 * i, 10 * i + 10), "metrics": generator.integers(0, 4, (2, 10)).astype(float)}
        for i in range(5)
    ]
    joined = []
    for order in (parts, parts[::-1]):
        state = best.start()
        for part in order:
            state = best.join(state, part)
        joined.append(state)
    assert all((joined[0][key] == joined[1][key]).all() for key in joined[0])


def test_the_front_of_random_points_with_ties():
    values = np.random.default_rng(2).integers(0, 12, (500, 3)).astype(float)
    assert set(pareto_front(values, np.arange(500)).tolist()) == brute_force_front(values)


def brute_force_front(values):
    """Numbers of the points that no other beats; of equal ones the first."""
    front = set()
    for i, mine in enumerate(values):
        no_worse = (values <= mine).all(axis=1)
        beaten = (no_worse & (values < mine).any(axis=1)).any()
        if not (np.isnan(mine).any() or beaten or (values[:i] == mine).all(axis=1).any()):
            front.add(i)
    return front
