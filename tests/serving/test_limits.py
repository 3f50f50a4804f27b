"""What a server cannot hold, or a model not attend to, is refused or said; so is a TPOT of another convention."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import predict, refused, run, works

from jaxroof import load_architecture, load_ground_truth, load_tier0
from jaxroof.experiments.workloads import load_workloads
from jaxroof.files import data_dir
from jaxroof.parameters import scalar
from jaxroof.request.workload import Lengths
from jaxroof.serving.capacity import gpu_bytes, held_tokens, most_requests, room_bytes

LARGE = {"model": "llama-3.1-70b", "prompt": 1000, "output": 200}


def test_weights_and_kv_cache_fit_or_what_would_is_said(tmp_path):
    works(predict(**LARGE, tp=2, batch=16))
    says = "predict: --batch: 70.6 GB of weights and 3.1 GB of KV cache per GPU exceed 73.5 GB (0.9 of its memory, less"
    refused(
        tmp_path, predict(**LARGE, tp=2, batch=17), f"{says} 3.8 GB of activations); --batch 16 or --tp 4 would fit"
    )
    refused(tmp_path, predict(**LARGE), "predict: --tp: 141.1 GB of weights and 0.4 GB of KV cache per GPU")
    works(predict(**LARGE, tp=2, batch=17, set="server.gpu_memory_utilization=0.95"))
    works(predict(**LARGE, tp=2, batch=70, cached=992))  # the same prefix in all
    refused(tmp_path, predict(**LARGE, tp=8, batch=10**7), "predict: --batch: 17.6 GB of weights")


@pytest.mark.parametrize(("tp", "kv_bytes"), [(4, 2 * 80 * 2 * 128 * 2), (8, 2 * 80 * 128 * 2)])
def test_kv_bytes_on_one_gpu(tp, kv_bytes):
    arch, tier0 = load_architecture("llama-3.1-70b"), load_tier0()
    weights = gpu_bytes(arch, scalar(tp), 0.0)
    assert float(gpu_bytes(arch, scalar(tp), 1000.0) - weights) == 1000 * kv_bytes
    most = most_requests(arch, scalar(tp), tier0, prompt=900, cached=100, output=160)
    held = [held_tokens(900, 100, 160, most + more, 16) for more in (0, 1)]
    assert [float(tokens) for tokens in held] == [100 + (most + more) * 880 for more in (0, 1)]
    within = [bool(gpu_bytes(arch, scalar(tp), tokens) <= room_bytes(arch, scalar(tp), tier0)) for tokens in held]
    assert within == [True, False]


def test_kv_heads_are_replicated_beyond_their_number():
    arch = load_architecture("qwen3-30b-a3b")  # 4 KV heads
    of = [float(gpu_bytes(arch, scalar(tp), 1.0) - gpu_bytes(arch, scalar(tp), 0.0)) for tp in (1, 2, 4, 8)]
    assert of == [98304, 49152, 24576, 24576]


def test_a_sweep_counts_what_does_not_fit_and_what_is_cached_beyond_the_prompt(tmp_path):
    request = ["--model=llama-3.1-70b", "--tp=2", "--output=200", "--step-model=memory"]
    axes = ["--vary=batch=32,33", "--vary=prompt=500,1000", "--vary=cached=0,600"]
    code, _, err = run(["sweep", *request, *axes, f"--out={tmp_path}/all.parquet"])
    assert (code, "(3 infeasible, for heads or experts that are not divided, memory," in err) == (0, True), err
    rows = pd.read_parquet(tmp_path / "all.parquet")
    large = (rows["batch"] == 33) & (rows["prompt"] == 1000) & (rows["cached"] == 0)
    beyond = (rows["cached"] > rows["prompt"]) | large
    assert (rows["itl_ms"].isna() == beyond).all()


def test_a_window_shorter_than_the_request(tmp_path):
    mistral = {"model": "mistral-7b", "prompt": 4000, "step_model": "memory"}
    works(predict(**mistral, output=96))
    says = "mistral-7b: sliding_window: the memory step time has no windows; use kernels: the window of 4096 tokens is"
    refused(tmp_path, predict(**mistral, output=97), says)
    works(predict(**mistral | {"step_model": "kernels"}, output=97))


def test_more_tokens_than_positions_are_said():
    code, out, err = run([*predict(prompt=4000, output=97), "--json"])
    note = "4097 tokens are more than the model's 4096 positions"
    assert (code, json.loads(out)["notes"], err) == (0, [note], f"jaxroof: note: {note}\n")


def test_a_client_s_own_tpot_is_said(tmp_path):
    folder = data_dir() / "ground_truth"
    lengths = "stdev = 0, min = 100, max = 100"
    (tmp_path / "workloads.toml").write_text(
        f'[fixed]\nsource = "x"\nprefix_tokens = 0\nprompt = {{ mean = 100 }}\noutput = {{ mean = 100, {lengths} }}\n'
    )
    fixed = load_workloads(tmp_path / "workloads.toml")["fixed"]
    assert fixed.prompt == fixed.output == Lengths(100, 0, 100, 100)
    header = (folder / "experiments.csv").read_text().splitlines()[0]
    rows = ["per-token,llama-2-7b,1,fixed,train,100,10.9,1090,,x", "itl,llama-2-7b,1,fixed,test,100,10,1090,,x"]
    (tmp_path / "experiments.csv").write_text("\n".join([header, *rows, ""]))
    sweep = ["sweep", "--vary=overheads.decode.base_us=0,1", "--best=1"]
    for command, lines in (["evaluate"], 1), (sweep, 2):
        code, _, err = run([*command, "--step-model=memory", f"--ground-truth={tmp_path}"])
        assert (code, err.count("\n")) == (0, lines)
        assert err.startswith("jaxroof: note: itl: tpot_ms must be E2E/n but looks like (E2E − TTFT)/(n − 1)")
    there = tmp_path / "workloads.toml"
    in_the_way = f"{there}: --out: cannot be written"
    for refusal, says in (
        (["sensitivity", f"--out={there}"], in_the_way),
        (["calibrate", "--free=overheads.decode.base_us", "--force", f"--out={there}"], in_the_way),
        ([*sweep, "--by=x"], "--by: metric: must be one of"),
    ):
        refused(tmp_path, [*refusal, "--step-model=memory", f"--ground-truth={tmp_path}"], says)
    assert load_ground_truth().notes() == []


def test_one_default_everywhere():
    data, run_ = works(["evaluate"]), works(["evaluate", "--formula=none"])
    assert (data["step_model"], data["scoring"]) == ("kernels", "itl")
    assert data == run_ == works(["evaluate", "--step-model=kernels", "--scoring=itl"])
    import jaxroof

    mape = jaxroof.tpot_mape(jaxroof.load_model(), jaxroof.load_experiments())
    assert 100 * float(mape) == pytest.approx(data["aggregate"]["run"]["all"]["tpot_mape_pct"], rel=1e-12)
    assert not np.isclose(float(mape), 0.168, atol=1e-2)
