"""``jaxroof simulate``: numbers that can be worked out, those of the Python API, files, what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import refused, run
from matplotlib.figure import Figure

from jaxroof import Deployment, InputError, load_architecture, load_model, with_settings
from jaxroof.commands.simulate_plots import plot_cdf, plot_queue
from jaxroof.serving.arrivals import generate_load
from jaxroof.serving.options import LoadOptions
from jaxroof.serving.queueing import Queue
from jaxroof.serving.setting import make_setting
from jaxroof.serving.simulate import simulate
from jaxroof.serving.summary import simulated, spread
from jaxroof.serving.token_counts import fixed

LATENCIES = ("itl", "ttft", "e2e", "time_between_tokens")
KEYS = {
    *(f"{name}{part}_ms" for name in LATENCIES for part in ("", "_p50", "_p90", "_p99", "_p99_9")),
    "requests_per_s", "tokens_per_s", "batch", "utilisation", "kv_share", "preemptions", "saturated", "saturated_by",
    "requests_served", "inputs", "notes",
}  # fmt: skip
# A step takes 10 ms whatever is in it.
LINE = ["simulate", "--step-model=linear", "--set=linear.base_us=10000", "--server=vllm-sync"]
LENGTHS = ["--prompt=64", "--output=5"]
LLAMA = ["simulate", "--model=llama-3.1-8b", "--hardware=h100-sxm", "--tp=1"]
TRACE = "arrival_s,prompt_tokens,cached_tokens,output_tokens\n0,64,0,5\n0.005,64,16,1\n3,64,0,5\n"
FILES = {"FINDINGS.md", "results.json", "requests.csv", "latency_cdf.png", "over_time.png", "timeline.png"}


def prints(arguments):
    """What it prints as JSON; its notes stand on stderr too."""
    code, out, err = run([*arguments, "--json"])
    data = json.loads(out)
    assert code == 0
    assert err.splitlines() == [f"jaxroof: note: {note}" for note in data["notes"]]
    return data


def axes():
    """Empty ones."""
    return Figure().subplots()


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def test_a_lone_request(tmp_path):
    data = prints([*LINE, *LENGTHS, "--rate=1", "--requests=1"])
    assert set(data) == KEYS
    expected = {"ttft_ms": 10, "itl_ms": 10, "e2e_ms": 50, "itl_p50_ms": 10, "time_between_tokens_p90_ms": 10}
    assert {key: data[key] for key in expected} == pytest.approx(expected)
    expected = {"requests_per_s": 20, "tokens_per_s": 100, "batch": 1, "utilisation": 1, "preemptions": 0}
    assert {key: data[key] for key in expected} == pytest.approx(expected)
    assert (data["requests_served"], data["saturated"], data["saturated_by"], data["kv_share"]) == (
        1,
        False,
        None,
        None,
    )
    assert data["notes"][0].startswith(
        "no p99 of fewer than 100 values, no p99.9 of fewer than 1000: TTFT (1), ITL (1)"
    )
    assert all(data[f"{name}_{part}_ms"] is None for name in LATENCIES for part in ("p99", "p99_9"))
    assert data["inputs"] | {"model": None, "rate": 1.0, "prompt": "64", "requests": 1, "seed": 0} == data["inputs"]


def test_a_request_of_one_token_has_no_itl():
    data = prints([*LINE, "--prompt=64", "--output=1", "--rate=1", "--requests=1"])
    assert (data["itl_ms"], data["time_between_tokens_ms"]) == (None, None)
    assert data["e2e_ms"] == data["ttft_ms"] == pytest.approx(10)


def test_a_trace_request_by_request(trace):
    data = prints([*LINE, f"--trace={trace}", "--requests-json", "--kv-blocks=10"])
    rows = [tuple(row.values()) for row in data["requests"]]
    assert list(data["requests"][0]) == ["arrival_s", "first_token_s", "last_token_s", "preemptions"]
    assert rows == [pytest.approx(row) for row in [(0, 0.01, 0.05, 0), (0.005, 0.02, 0.02, 0), (3, 3.01, 3.05, 0)]]
    assert data["inputs"]["trace"] == str(trace)
    assert data["requests_per_s"] == pytest.approx(3 / 3.05)
    assert data["tokens_per_s"] == pytest.approx(11 / 3.05)
    assert data["utilisation"] == pytest.approx(0.1 / 3.05)
    assert data["kv_share"] == pytest.approx(0.52)  # in 10 steps 4, 9, 5, 5, 5 and 4, 5, 5, 5, 5 blocks of 10


def test_few_blocks_preempt_and_saturate():
    data = prints([*LINE, "--prompt=16", "--output=100", "--concurrency=4", "--requests=8", "--kv-blocks=14"])
    assert data["preemptions"] > 0
    assert (data["saturated"], data["saturated_by"]) == (True, "KV cache")
    assert 0.5 < data["kv_share"] <= 1
    assert "clients wait most of the time" in data["notes"][-1]


@pytest.mark.parametrize(("rate", "by"), [(20, None), (1000, "slots")])
def test_an_open_loop_saturates_the_slots(rate, by):
    data = prints([*LINE, *LENGTHS, f"--rate={rate}", "--requests=40", "--set=server.max_num_seqs=2"])
    assert (data["saturated"], data["saturated_by"]) == (by is not None, by)
    assert any("its queue grows on" in note for note in data["notes"]) == (by is not None)


def test_prompts_saturate_the_steps():
    load = [*LENGTHS, "--rate=1000", "--requests=40", "--set=server.max_num_batched_tokens=64"]
    data = prints([*LINE, *load, "--set=server.max_num_seqs=64"])
    assert (data["saturated"], data["saturated_by"]) == (True, "steps")


@pytest.mark.parametrize(("slots", "by"), [(2, "slots"), (4, None)])
def test_clients_wait_for_slots_or_not(slots, by):
    data = prints([*LINE, *LENGTHS, "--concurrency=4", "--requests=40", f"--set=server.max_num_seqs={slots}"])
    assert (data["saturated"], data["saturated_by"]) == (by is not None, by)
    assert data["requests_per_s"] == pytest.approx(20 * slots)
    assert data["batch"] == pytest.approx(slots)


def test_numbers_are_those_of_python():
    data = prints([*LLAMA, "--rate=4", "--prompt=512", "--output=128", "--requests=100", "--seed=3"])
    load = generate_load(fixed(512), fixed(128), requests=100, seed=3, rate_per_s=4.0)
    served = simulate(load_model(), load, load_architecture("llama-3.1-8b"), Deployment(1.0))
    for name, values_s in {"ttft": served.ttft_s, "itl": served.itl_s, "e2e": served.e2e_s}.items():
        assert data[f"{name}_ms"] == pytest.approx(1000 * values_s.mean(), rel=1e-12)
        assert data[f"{name}_p99_ms"] == pytest.approx(1000 * np.percentile(values_s, 99), rel=1e-12)
    assert data["time_between_tokens_ms"] == pytest.approx(data["itl_ms"])  # as all have as many gaps
    assert data["time_between_tokens_p99_9_ms"] > data["time_between_tokens_p50_ms"]
    assert data["itl_p99_9_ms"] is None
    assert data["batch"] == pytest.approx(float(served.batch))
    assert data["kv_share"] == pytest.approx(float(served.used_blocks / served.kv_blocks))


def test_the_same_seed_gives_the_same_bytes():
    load = ["--rate=20", "--prompt=64~20%", "--output=lognormal:5,1", "--requests=40", "--requests-json"]
    first, again, other = (run([*LINE, *load, f"--seed={seed}"])[1] for seed in (1, 1, 2))
    assert first == again != other


def test_a_line_of_a_file(tmp_path):
    (tmp_path / "line.toml").write_text('base_us = { value = 20000, source = "made up" }\n')
    data = prints(["simulate", f"--step-model={tmp_path}/line.toml", *LENGTHS, "--rate=1", "--requests=1"])
    assert data["ttft_ms"] == pytest.approx(20)


def test_tables_say_what_stands_behind_them(trace):
    _, out, _ = run([*LINE, f"--trace={trace}"])
    assert out.startswith("linear step time, vllm-sync\n")
    assert {"TTFT", "ITL", "time between tokens", "E2E"} <= {line[:19].strip() for line in out.splitlines()}
    assert "Load: requests of trace.csv." in out
    assert "All 3 served requests count, from the first one on" in out
    assert "of all 8 gaps" in out


def test_files(tmp_path, trace):
    out = tmp_path / "out"
    data = prints([*LINE, f"--trace={trace}", f"--out={out}"])
    assert {path.name for path in out.iterdir()} == FILES
    assert json.loads((out / "results.json").read_text()) == data
    table = pd.read_csv(out / "requests.csv")
    assert list(table) == [
        "request", "arrival_s", "prompt_tokens", "cached_tokens", "output_tokens", "first_token_s", "last_token_s",
        "ttft_ms", "itl_ms", "e2e_ms", "preemptions",
    ]  # fmt: skip
    assert list(table["cached_tokens"]) == [0, 16, 0]
    assert list(table["ttft_ms"]) == pytest.approx([10, 15, 10])
    assert np.isnan(table["itl_ms"][1])
    findings = (out / "FINDINGS.md").read_text()
    assert all(f"({name})" in findings for name in FILES if name.endswith(".png"))
    assert f"--trace={trace}" in findings
    assert all((out / name).stat().st_size > 10_000 for name in FILES if name.endswith(".png"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "needs one of --rate, --concurrency and --trace, got none of them"),
        (
            ["--rate=1", "--concurrency=1"],
            "needs one of --rate, --concurrency and --trace, got --rate and --concurrenc",
        ),
        (["--rate=0"], "--rate: must be ≥ 1e-06, got 0"),
        (["--rate=-1"], "--rate: must be ≥ 1e-06, got -1"),
        (["--rate=nan"], "--rate: must be finite, got nan"),
        (["--concurrency=0"], "--concurrency: must be ≥ 1, got 0"),
        (["--rate=1", "--requests=0"], "--requests: must be ≥ 1, got 0"),
        (["--rate=1", "--seed=-1"], "--seed: must be ≥ 0, got -1"),
        (["--rate=1", "--arrivals=poison"], "--arrivals: must be one of poisson, poisson-count, gamma, constant, got"),
        (["--rate=1", "--burstiness=2"], "--burstiness: is for --arrivals gamma"),
        (["--rate=1", "--think=1"], "--think: has no meaning with --rate"),
        (["--concurrency=1", "--arrivals=gamma"], "--arrivals: has no meaning with --concurrency"),
        (["--rate=1", "--cached=65"], "--cached: must be ≤ --prompt 64, got 65"),
        (["--rate=1", "--cached=x"], "--cached: must be a count"),
        (["--rate=1", "--kv-blocks=0"], "--kv-blocks: must be ≥ 1, got 0"),
        (["--rate=1", "--kv-blocks=4"], "kv_blocks: a request needs 5 blocks of 16 tokens, and 4 fit"),
        (["--rate=1", "--sampling=greedy"], "--sampling: has no meaning without --model, --hardware, --tp"),
        (
            ["--rate=1", "--set=server.max_num_seqs=5000"],
            "server.max_num_batched_tokens: must be ≥ server.max_num_seqs: 2048 tokens for 5000 requests",
        ),
        (["--rate=1", "--steady", "--requests-json"], "--requests-json: the steady state has means only"),
        (["--rate=1", "--steady", "--kv-blocks=4"], "kv_blocks: a request needs 5 blocks of 16 tokens, and 4 fit"),
    ],
)
def test_refused(tmp_path, options, says):
    refused(tmp_path, [*LINE, *LENGTHS, *options, f"--out={tmp_path}/out"], f"simulate: {says}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*LINE, "--rate=1", "--prompt=5"], "--output: is missing"),
        (["simulate", "--rate=1", *LENGTHS], "--model and --hardware and --tp are missing: only --step-model linear"),
        ([*LLAMA[:3], "--rate=1", *LENGTHS], "--tp is missing: only --step-model linear needs none of them"),
        ([*LLAMA, "--rate=1", *LENGTHS, "--step-model=roofline"], "step model: roofline is not simulated"),
        (
            [*LLAMA, "--rate=1", "--prompt=200000", "--output=5"],
            "prompt: 200000 tokens are more than the model's 131072",
        ),
        (
            [*LLAMA, "--rate=1", "--prompt=64", "--output=500000"],
            "kv_blocks: a request needs 31254 blocks of 16 tokens",
        ),
        (
            ["simulate", "--model=llama-3.1-70b", "--hardware=h100-sxm", "--tp=1", "--rate=1", *LENGTHS],
            "--tp: 141.1 GB of weights per GPU leave no KV cache in 73.5 GB (0.9 of its memory, less",
        ),
        ([*LLAMA[:3], "--tp=3", "--rate=1", *LENGTHS], "tp: 32 attention heads cannot be divided by 3"),
    ],
)
def test_servers_that_cannot_be_are_refused(tmp_path, arguments, says):
    refused(tmp_path, [*arguments, f"--out={tmp_path}/out"], f"simulate: {says}")


def test_traces_are_refused(tmp_path, trace):
    for option in ("--seed=1", "--prompt=5", "--requests=3", "--arrivals=constant", "--think=1"):
        name = option.partition("=")[0]
        refused(tmp_path, [*LINE, f"--trace={trace}", option], f"simulate: {name}: has no meaning with --trace")
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n1,64,5\n0.5,64,5\n")
    refused(tmp_path, [*LINE, f"--trace={trace}"], f"{trace}: row 2: arrival_s: must be ≥ that of the row before, 1.0")
    refused(tmp_path, [*LINE, f"--trace={tmp_path}/none.csv"], f"{tmp_path}/none.csv: No such file")


def test_a_folder_that_cannot_be_written(tmp_path, trace):
    (tmp_path / "out").write_text("a file")
    refused(tmp_path, [*LINE, f"--trace={trace}", f"--out={tmp_path}/out"], f"{tmp_path}/out: --out: cannot be written")


def test_answers_beyond_the_models_positions_are_noted():
    data = prints([*LLAMA, "--rate=1", "--prompt=131070", "--output=5", "--requests=1"])
    assert data["notes"][0] == "131075 tokens are more than the model's 131072 positions"


@pytest.mark.parametrize(
    ("count", "known"),
    [
        (0, set()),
        (99, {"mean", "p50", "p90"}),
        (100, {"mean", "p50", "p90", "p99"}),
        (999, {"mean", "p50", "p90", "p99"}),
        (1000, {"mean", "p50", "p90", "p99", "p99_9"}),
    ],
)
def test_percentiles_of_too_few_values(count, known):
    assert {name for name, value in spread(np.arange(float(count))).items() if not np.isnan(value)} == known


def test_gaps_and_queue_agree_with_the_simulation():
    """With preemptions: gaps add up to E2E − TTFT, running requests and blocks to the simulation's own means."""
    model = with_settings(load_model("linear", server="vllm-0.15"), ["linear.base_us=10000"])
    load = generate_load(fixed(16), fixed(100), requests=8, clients=4)
    made = simulated(make_setting(model, load, None, None, 14.0))
    assert made.summary.preemptions > 0
    total_s = (made.simulation.last_s - made.simulation.first_s).sum()
    assert made.latencies_s["time_between_tokens"].sum() == pytest.approx(total_s)
    seconds = np.diff(made.queue.time_s)
    running, kv_share = (x[:-1] @ seconds / seconds.sum() for x in (made.queue.running, made.queue.kv_share))
    assert running == pytest.approx(made.summary.batch * made.summary.utilisation, rel=1e-9)
    assert kv_share == pytest.approx(made.summary.kv_share, rel=0.1)
    # A request that has ended keeps its slot for a step, when its client has sent the next one.
    assert 4 <= (made.queue.running + made.queue.waiting).max() <= 5
    assert np.all(made.simulation.arrival_s <= made.admission_s)
    assert np.all(made.admission_s < made.simulation.first_s)


def test_demand_of_options(trace):
    options = LoadOptions(concurrency=8, think=2.0, prompt="90..110", output="lognormal:128,0.5", cached="16")
    demand = options.demand()
    assert (demand.clients, demand.think_s, demand.rate_per_s) == (8, 2, 0)
    assert (demand.prompt_tokens, demand.cached_tokens) == pytest.approx((100, 16))
    assert demand.output_cv == pytest.approx(0.5, rel=0.01)
    demand = LoadOptions(trace=trace).demand()
    assert demand.rate_per_s == pytest.approx(2 / 3)
    assert (demand.cached_tokens, demand.output_tokens) == pytest.approx((16 / 3, 11 / 3))
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n1,64,5\n1,64,5\n")
    with pytest.raises(InputError, match="all requests arrive at once"):
        LoadOptions(trace=trace).demand()
    with pytest.raises(InputError, match="of Poisson arrivals, got constant"):
        LoadOptions(rate=1.0, arrivals="constant", prompt="5", output="5").demand()


def test_the_steady_state(tmp_path):
    load = [*LLAMA, "--rate=4", "--prompt=512", "--output=128"]
    means, drawn = prints([*load, "--steady", f"--out={tmp_path}"]), prints([*load, "--requests=500"])
    assert set(means) == KEYS
    for key in ("ttft_ms", "itl_ms", "e2e_ms", "batch", "utilisation", "requests_per_s", "tokens_per_s"):
        assert means[key] == pytest.approx(drawn[key], rel=0.12), key
    assert means["itl_p50_ms"] is None
    assert means["notes"][0].startswith("the steady state has means only")
    assert {path.name for path in tmp_path.iterdir()} == {"FINDINGS.md", "results.json"}
    assert prints([*load[:-3], "--rate=1000", *load[-2:], "--steady"])["saturated"]


def test_the_steady_state_draws_no_load():
    """Only the mean request has to fit the blocks, and requests that are drawn do not matter."""
    load = ["--prompt=lognormal:64,1", "--output=5", "--kv-blocks=10", "--steady"]
    few, many = (prints([*LINE, *load, "--rate=1", f"--requests={n}", f"--seed={n}"]) for n in (1, 10**7))
    assert {key: few[key] for key in KEYS - {"inputs"}} == {key: many[key] for key in KEYS - {"inputs"}}
    means = "the steady state has means only, of a load without end: "
    assert few["notes"] == [means + "--requests and --seed do not matter"]
    clients = prints([*LINE, *load[:-2], "--concurrency=2000", "--steady", "--set=server.max_num_seqs=2048"])
    assert clients["notes"] == [means + "--requests, --seed and --stagger do not matter"]


def test_the_steady_state_of_a_trace(trace):
    data = prints([*LINE, f"--trace={trace}", "--steady"])
    assert data["requests_per_s"] == pytest.approx(2 / 3)
    assert [note.partition(": ")[2] for note in data["notes"]] == [
        "of the trace only its rate and the means and spreads of its lengths matter"
    ]
    refused(trace.parent, [*LINE, f"--trace={trace}", "--steady", "--seed=1"], "simulate: --seed: has no meaning with")


def test_what_a_steady_state_does_not_have():
    """A time between tokens where there is only one, and a share of blocks without end."""
    load = [*LINE, "--prompt=64", "--output=1", "--rate=1", "--steady"]
    data = prints(load)
    assert (data["itl_ms"], data["time_between_tokens_ms"], data["kv_share"]) == (None, None, None)
    assert data["e2e_ms"] == pytest.approx(data["ttft_ms"])
    assert 0 < prints([*load, "--kv-blocks=10"])["kv_share"] < 1
    lines = run(load)[1].splitlines()
    assert next(line for line in lines if line.split()[0] == "ITL").split() == ["ITL", *"–––––"]


def test_more_clients_than_requests_are_no_open_loop():
    data = prints([*LINE, *LENGTHS, "--concurrency=50", "--requests=40", "--set=server.max_num_seqs=2"])
    assert (data["saturated"], data["saturated_by"]) == (False, None)
    assert data["notes"][0] == "only 40 of 50 clients send: there are no more requests"
    assert not [note for note in data["notes"] if "grow" in note]


def test_reproducing_names_no_hardware_that_is_not_used(tmp_path, trace):
    prints([*LINE, f"--trace={trace}", "--steady", f"--out={tmp_path}"])
    command = (tmp_path / "FINDINGS.md").read_text().split("```")[1]
    assert "--step-model=linear" in command
    assert "--hardware" not in command


def test_latencies_rise_in_steps():
    """0 below the least one, 1/3 at it, 1 from the largest one on."""
    ax = plot_cdf({"ttft": np.array([0.03, 0.01, 0.02]), "itl": np.zeros(0), "e2e": np.arange(1.0, 2001)}, ax=axes())
    curve, _, many, _ = ax.lines
    assert curve.get_drawstyle() == many.get_drawstyle() == "steps-post"
    assert list(curve.get_xdata()) == pytest.approx([10, 10, 20, 30])
    assert list(curve.get_ydata()) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert list(many.get_xdata()[[0, 1, 2, -1]]) == pytest.approx([1e3, 2e3, 4e3, 2e6])


def test_the_queue_over_time_shows_means_and_every_peak():
    """Of 10 000 changes, one of which lasts a millionth of the time."""
    time_s, running = np.arange(10_000.0), np.arange(10_000.0) % 3
    time_s[5001], running[5000] = 5000.01, 7
    waiting = np.zeros(10_000)
    ax = plot_queue(Queue(time_s, running, waiting, waiting), ax=axes())
    assert ax.lines[0].get_ydata() == pytest.approx(1, abs=0.05)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0, 7)
    few = plot_queue(Queue(time_s[:9], running[:9], waiting[:9], waiting[:9]), ax=axes())
    assert (list(few.lines[0].get_ydata()), len(few.collections)) == (list(running[:9]), 0)
