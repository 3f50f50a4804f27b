"""Servers, sampling, and what a file takes from its ``base``: what is read, what wins, what is refused in one line."""

import json
import shutil

import jax
import numpy as np
import pytest
from command_line import CONFIGS, ROOT, predict, refused, run, works

import jaxroof
from jaxroof import InputError
from jaxroof.catalogue.names import catalogue
from jaxroof.catalogue.sampling import load_sampling
from jaxroof.experiments.evaluate import stack
from jaxroof.experiments.runs import settled
from jaxroof.parameters import Sampling, numbers, replace

SERVERS = ("sglang-0.5", "trtllm-1.0", "vllm-0.11-async", "vllm-0.15", "vllm-sync")
GPUS = catalogue("hardware")
# Token budget and slots of large GPUs, of small ones, and of an A100, whose 80 GB are more than 70 GiB.
LIMITS = {
    "vllm-sync": ((2048, 256), (2048, 256), (2048, 256)),
    "vllm-0.11-async": ((8192, 1024), (2048, 256), (2048, 256)),
    "vllm-0.15": ((8192, 1024), (2048, 256), (2048, 256)),
    "sglang-0.5": ((8192, 2048), (4096, 2048), (8192, 2048)),
}
SIZES = {"l40s": 1, "a100-sxm": 2}


def server_numbers(model):
    return {key: value for key, value in numbers(model).items() if key.startswith("server.")}


def test_the_catalogue_is_these_five():
    assert tuple(catalogue("servers")) == SERVERS
    listed = works(["list", "servers"])["servers"]
    assert tuple(row["name"] for row in listed) == SERVERS
    assert all(row["title"] for row in listed)
    code, out, err = run(["list", "servers"])
    assert (code, err) == (0, "")
    assert all(name in out for name in SERVERS)


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_loads_on_every_gpu(name):
    for gpu in GPUS:
        server = jaxroof.load_server(name, gpu)
        assert server.async_scheduling == (name != "vllm-sync")
        assert server.penalties.supported == (name != "trtllm-1.0")
        assert all(np.isfinite(leaf).all() and (leaf >= 0).all() for leaf in jax.tree.leaves(server))
        if name in LIMITS:
            limits = float(server.max_num_batched_tokens), float(server.max_num_seqs)
            assert limits == LIMITS[name][SIZES.get(gpu, 0)]


def test_tuned_tiles_are_inherited_and_added_to():
    tiles = {
        (name, gpu): {tuple(row) for row in np.asarray(jaxroof.load_server(name, gpu).tuned_moe) if row.any()}
        for name in ("vllm-sync", "vllm-0.15")
        for gpu in ("h100-sxm", "b200", "gb200")
    }
    assert (128.0, 192.0) in tiles["vllm-sync", "h100-sxm"]
    assert tiles["vllm-sync", "h100-sxm"] == tiles["vllm-0.15", "h100-sxm"]
    assert tiles["vllm-0.15", "b200"] - tiles["vllm-sync", "b200"] == {(128.0, 768.0)}
    assert not tiles["vllm-0.15", "gb200"]


def written(folder, text, name="mine.toml"):
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return path


MINE = 'title = "Mine"\nengine = "mine"\nversion = "1"\nbase = "vllm-0.15"\n'


def test_a_servers_file_is_its_base_but_for_what_it_says(tmp_path):
    path = written(tmp_path, f'{MINE}per_step_us = {{ value = 99, source = "x" }}\n')
    mine, theirs = (server_numbers(jaxroof.load_model(server=name)) for name in (str(path), "vllm-0.15"))
    assert mine == theirs | {"server.per_step_us": pytest.approx(99)}
    assert jaxroof.load_server(str(path), "l40s").max_num_batched_tokens == 2048


def test_a_hardware_file_is_its_base_but_for_what_it_says(tmp_path):
    changed = "[kernels.gemm]\nmfu = { value = 0.5, source = 'x' }\n"
    path = written(tmp_path, f'title = "Mine"\nbase = "h100-sxm"\n{changed}')
    ours, h100 = (numbers(jaxroof.load_hardware(name)) for name in (str(path), "h100-sxm"))
    # No FP4 on an H100: those products have the constants of 16 bits.
    assert ours == h100 | {"kernels.gemm.mfu": 0.5, "kernels.gemm_fp4.mfu": 0.5}


@pytest.mark.parametrize("gpu", ["h100-sxm", "a100-sxm"])
def test_a_server_takes_a_hardware_file_for_its_base(tmp_path, gpu):
    """Tuned tiles and limits are those of the GPU that the file describes a variant of."""
    path = written(tmp_path, f'title = "Mine"\nbase = "{gpu}"\nhbm_tb_per_s = {{ value = 3, source = "x" }}\n')
    ours, theirs = (jaxroof.load_server("vllm-0.15", name) for name in (str(path), gpu))
    for mine, its in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_base_by_path_is_relative_to_its_file(tmp_path, monkeypatch):
    below = written(tmp_path / "a", f'{MINE}per_step_us = {{ value = 99, source = "x" }}\n', "below.toml")
    above = written(tmp_path / "b", MINE.replace("vllm-0.15", "../a/below.toml"))
    monkeypatch.chdir(ROOT)
    assert float(jaxroof.load_server(str(above)).per_step_s) == float(jaxroof.load_server(str(below)).per_step_s)


BAD = {
    "circular": ('base = "mine.toml"', "base: mine.toml is based on itself"),
    "no text": ("base = 3", "base: must be text, got 3"),
}


@pytest.mark.parametrize(("base", "says"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("option", ["server", "hardware"])
def test_a_base_that_cannot_be(tmp_path, option, base, says):
    path = written(tmp_path, MINE.replace('base = "vllm-0.15"', base))
    refused(tmp_path, predict(**{option: path}), f"{path}: {says}")


def test_a_base_that_is_not_there(tmp_path):
    for option, kind in (("server", "servers"), ("hardware", "hardware")):
        path = written(tmp_path, MINE.replace("vllm-0.15", "vllm-0.16"))
        refused(tmp_path, predict(**{option: path}), f"{kind}: vllm-0.16: not in the catalogue")


def test_files_based_on_each_other(tmp_path):
    path = written(tmp_path, MINE.replace("vllm-0.15", "other.toml"))
    written(tmp_path, MINE.replace("vllm-0.15", "mine.toml"), "other.toml")
    refused(tmp_path, predict(server=path), f"{path}: base: mine.toml is based on itself")


def test_all_missing_keys_are_named_in_one_message(tmp_path):
    text = (CONFIGS / "servers/vllm-sync.toml").read_text()
    for key in ("per_step_us", "block_size", "sort_floor_us", "supported"):
        text = text.replace(f"\n{key} = ", "\n# ")
    path = written(tmp_path, text)
    keys = "per_step_us, block_size, sampler.sort_floor_us, penalties.supported"
    refused(tmp_path, predict(server=path), f"{path}: {keys}: missing keys\n")
    alone = written(tmp_path, (CONFIGS / "servers/vllm-sync.toml").read_text().replace("\nadmission_ms = ", "\n# "))
    refused(tmp_path, predict(server=alone), f"{alone}: admission_ms: missing key\n")


VALUE = '{{ value = {}, source = "x" }}'
DAMAGED = [
    (f"per_stp_us = {VALUE.format(1)}", "per_stp_us: unknown key; did you mean per_step_us?"),
    (f"[sampler]\ngreedy_pases = {VALUE.format(1)}", "sampler.greedy_pases: unknown key; did you mean greedy_passes?"),
    (f"async_scheduling = {VALUE.format(2)}", "async_scheduling: must be ≤ 1, got 2"),
    (f"async_scheduling = {VALUE.format(0.5)}", "async_scheduling: must be a whole number, got 0.5"),
    (f"[penalties]\nsupported = {VALUE.format(2)}", "penalties.supported: must be ≤ 1, got 2"),
    (f"per_request_us = {VALUE.format(-1)}", "per_request_us: must be ≥ 0, got -1"),
    (f"max_num_seqs = {VALUE.format(0)}", "max_num_seqs: must be ≥ 1, got 0"),
    (f"gpu_memory_utilization = {VALUE.format(1.1)}", "gpu_memory_utilization: must be ≤ 1, got 1.1"),
    (f"untuned_moe_slowdown = {VALUE.format(0.9)}", "untuned_moe_slowdown: must be ≥ 1, got 0.9"),
    ("per_step_us = 3", "per_step_us: must be { value = …, source"),
    ("sampler = 3", "sampler: must be a table"),
    ("tuned_moe = 3", "tuned_moe: must be a table"),
    ("[tuned_moe]\nh100-sxm = 3", "tuned_moe.h100-sxm: must be a table"),
    ("[tuned_moe.h100-sxm]\neight = [7]", "tuned_moe.h100-sxm.eight: must be a number, got 'eight'"),
    ("[tuned_moe.h100-sxm]\n8 = ['7']", "tuned_moe.h100-sxm.8: must be a number, got '7'"),
    ("[tuned_moe.h100-sxm]\n8 = [-7]", "tuned_moe.h100-sxm.8: must be ≥ 1, got -7"),
    (f"[tuned_moe.h100-sxm]\n8 = {list(range(1, 70))}", "tuned_moe.h100-sxm: has more than 64 shapes"),
    ("[small_gpu]\nnamed = 'a100'", "small_gpu.named: must be a list of texts"),
    ("[small_gpu]\nnamed = [3]", "small_gpu.named: must be a list of texts"),
    (f"[small_gpu]\nbelow_gib = {VALUE.format(0)}", "small_gpu.below_gib: must be > 0, got 0"),
    (f"[small_gpu]\nbelow_gib = {VALUE.format(99)}\nslots = {VALUE.format(9)}", "small_gpu.slots: unknown key"),
    ("small_gpu = 3", "small_gpu: must be a table"),
]


@pytest.mark.parametrize(("text", "says"), DAMAGED)
def test_a_damaged_file(tmp_path, text, says):
    path = written(tmp_path, MINE + text + "\n")
    refused(tmp_path, predict(server=path), f"{path}: {says}")


@pytest.mark.parametrize("label", ["title", "engine", "version"])
def test_labels_must_be_there(tmp_path, label):
    path = written(tmp_path, "".join(line for line in MINE.splitlines(True) if not line.startswith((label, "base"))))
    refused(tmp_path, predict(server=path), f"{path}: {label}: missing key")


BAD_SAMPLING = [
    ("top_q=0.9", "--sampling: top_q: unknown key; did you mean top_p?"),
    ("repetition_penalty=-1", "--sampling: repetition_penalty: must be > 0, got -1"),
    ("presence_penalty=-1", "--sampling: presence_penalty: must be ≥ 0, got -1"),
    ("top_p=0", "--sampling: top_p: must be > 0, got 0"),
    ("top_p=2", "--sampling: top_p: must be ≤ 1, got 2"),
    ("top_p=x", "--sampling: top_p: must be a number, got 'x'"),
    ("top_p=", "--sampling: top_p: must be a number, got ''"),
    ("top_k=1.5", "--sampling: top_k: must be a whole number, got 1.5"),
    ("top_p=0.9,top_p=0.8", "--sampling: top_p: stands twice"),
    ("top_p", "--sampling: top_p: must be greedy or KEY=VALUE,…"),
    ("gredy", "--sampling: gredy: must be greedy or KEY=VALUE,…"),
    ("top_p=0.9,", "--sampling: : must be greedy or KEY=VALUE,…"),
]


@pytest.mark.parametrize(("text", "says"), BAD_SAMPLING)
def test_sampling_that_cannot_be(tmp_path, text, says):
    refused(tmp_path, predict(sampling=text), says)


def test_penalties_whose_cost_is_not_known_are_refused(tmp_path):
    says = "predict: sampling: the server's penalties are not known; name sampling without them"
    refused(tmp_path, predict(server="trtllm-1.0", sampling="presence_penalty=0.5"), says)
    refused(tmp_path, predict(server="trtllm-1.0", model="qwen2.5-7b"), says)
    works(predict(server="trtllm-1.0", model="qwen2.5-7b", sampling="repetition_penalty=1"))


def test_sampling_is_the_models_but_for_what_is_given():
    llama, qwen = (jaxroof.load_architecture(name).sampling for name in ("llama-3.1-8b", "qwen2.5-7b"))
    assert llama.given() == {"temperature": 0.6, "top_p": 0.9}
    assert qwen.given() == {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}
    assert load_sampling("x", "top_k=5", llama).given() == {"temperature": 0.6, "top_p": 0.9, "top_k": 5}
    assert load_sampling("x", "top_p=1, temperature=1", llama).given() == {}
    assert load_sampling("x", "greedy", qwen).given() == {"temperature": 0}
    assert load_sampling("x", None, qwen) is qwen
    shown = works(predict(model="llama-3.1-8b", sampling="min_p=0.1"))["inputs"]["sampling"]
    assert shown == {"temperature": 0.6, "top_p": 0.9, "min_p": 0.1}


def config_folder(folder, generation=None, **inside):
    config = json.loads((CONFIGS / "models/llama-2-7b.json").read_text())
    config.pop("generation_config", None)
    (folder / "config.json").write_text(json.dumps(config | inside))
    if generation is not None:
        beside = generation if isinstance(generation, str) else json.dumps(generation)
        (folder / "generation_config.json").write_text(beside)
    return folder


@pytest.mark.parametrize(
    ("generation", "given"),
    [
        (None, {}),
        ({}, {}),
        ({"temperature": 0.6, "top_p": 0.9, "do_sample": False, "eos_token_id": 2}, {"temperature": 0.6, "top_p": 0.9}),
        ({"top_k": -1, "top_p": None}, {}),
        ({"temperature": 0, "top_k": 20}, {"temperature": 0, "top_k": 20}),
    ],
)
def test_generation_config_beside_a_config(tmp_path, generation, given):
    folder = config_folder(tmp_path, generation)
    for name in (folder, folder / "config.json"):
        sampling = jaxroof.load_architecture(str(name)).sampling
        assert sampling.given() == given
        assert sampling.temperature == given.get("temperature", 1)


@pytest.mark.parametrize(
    ("generation", "says"),
    [
        ({"top_p": 2}, "top_p: must be ≤ 1, got 2"),
        ({"top_p": 0}, "top_p: must be > 0, got 0"),
        ({"temperature": "hot"}, "temperature: must be a number, got 'hot'"),
        ({"temperature": True}, "temperature: must be a number, got True"),
        ({"top_k": -2}, "top_k: must be ≥ 0, got -2"),
        ({"repetition_penalty": [1]}, "repetition_penalty: must be a number, got [1]"),
        ("[]", "must be a JSON object"),
        ("{", "malformed JSON: "),
    ],
)
def test_generation_config_that_cannot_be(tmp_path, generation, says):
    folder = config_folder(tmp_path, generation)
    refused(tmp_path, predict(model=folder), f"{folder}/generation_config.json: {says}")


@pytest.mark.parametrize(
    ("table", "says"), [(3, "generation_config: must be a table"), ({"top_p": 2}, "generation_config.top_p: must be ≤")]
)
def test_generation_config_inside_a_config_that_cannot_be(tmp_path, table, says):
    folder = config_folder(tmp_path, generation_config=table)
    refused(tmp_path, predict(model=folder), f"{folder}/config.json: {says}")


def itl_of(**options):
    return works(predict(model="llama-3.1-8b", prompt=512, output=64, batch=8, **options))


def test_synchronous_is_the_sum_of_gpu_and_host():
    hidden, shown = itl_of(), itl_of(set="server.async_scheduling=0")
    gpu = itl_of(set="server.per_step_us=0")["itl_ms"]
    assert hidden["itl_ms"] == gpu
    assert shown["itl_ms"] == pytest.approx(gpu + 0.333 + 8 * 0.00855, rel=1e-9)
    assert shown["inputs"]["server"] == hidden["inputs"]["server"] == "vllm-0.15"


HEADER = "name,model,tp,workload,split,ttft_ms,tpot_ms,e2e_ms,server,sampling,source\n"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """The same run on two servers, one of them sampled in another way, and one of the default server."""
    folder = tmp_path_factory.mktemp("mixed")
    shutil.copy(ROOT / "ground_truth/workloads.toml", folder)
    rows = [("a", "vllm-sync", ""), ("b", "vllm-0.11-async", ""), ("c", "", ""), ("d", "vllm-sync", "greedy")]
    lines = [f"{n},llama-2-7b,1,chat,{'test' if n == 'a' else 'train'},14,6,1292,{s},{p},x\n" for n, s, p in rows]
    (folder / "experiments.csv").write_text(HEADER + "".join(lines))
    return folder


def tpots(folder, *options):
    """TPOT [ms] of each run, from the command line."""
    data = works(["evaluate", f"--ground-truth={folder}", *options])
    return [row["run"]["tpot_ms"] for row in data["experiments"]]


def test_a_rows_server_wins_over_the_default_and_an_option_over_both(mixed):
    a, b, c, d = tpots(mixed)
    assert b == c < d < a
    sync = tpots(mixed, "--server=vllm-sync")
    assert sync[0] == sync[1] == sync[2] == pytest.approx(a, rel=1e-9)
    assert tpots(mixed, "--server=vllm-0.11-async")[:3] == pytest.approx([b] * 3, rel=1e-9)


@pytest.mark.parametrize("settings", [[], ["server.async_scheduling=0"]])
@pytest.mark.parametrize("server", [None, "vllm-0.15"])
def test_settings_win_over_rows_and_python_says_what_the_command_line_does(mixed, server, settings):
    options = [f"--set={setting}" for setting in settings] + ([f"--server={server}"] if server else [])
    data = works(["evaluate", f"--ground-truth={mixed}", *options])
    model = jaxroof.with_settings(jaxroof.load_model(server=server), settings)
    runs = jaxroof.load_experiments(mixed)
    found = np.asarray(jaxroof.latencies(model, runs).tpot_s) * 1e3
    np.testing.assert_allclose(found, [row["run"]["tpot_ms"] for row in data["experiments"]], rtol=1e-12)
    mape = 100 * float(jaxroof.tpot_mape(model, runs))
    assert mape == pytest.approx(data["aggregate"]["run"]["all"]["tpot_mape_pct"], rel=1e-12)
    assert (found[0] == found[1] == found[2]) == (settings != [] or server is not None)


def test_runs_are_evaluated_row_by_row(mixed):
    """As each alone would be on the server that it names, and a sweep over them is, setting by setting."""
    runs, model = jaxroof.load_experiments(mixed), jaxroof.load_model()
    together = jaxroof.latencies(model, runs)
    named = {"a": "vllm-sync", "b": "vllm-0.11-async", "c": "vllm-0.15", "d": "vllm-sync"}
    for i, server in enumerate(named.values()):
        alone = jaxroof.latencies(jaxroof.load_model(server=server), runs)
        for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(ours[i], theirs[i], rtol=1e-12)
    swept = jaxroof.latencies(replace(model, {"server.per_step_us": [333.0, 9000.0]}), runs)
    np.testing.assert_allclose(swept.tpot_s[:, 0], together.tpot_s, rtol=1e-12)


@pytest.mark.parametrize("command", ["sensitivity", "calibrate"])
def test_what_needs_one_server_refuses_two(mixed, tmp_path, command):
    free = ["--free=server.per_step_us"] if command == "calibrate" else []
    refused(tmp_path, [command, *free, f"--ground-truth={mixed}"], "runs: server: is not the same in all; name one")


def test_runs_of_one_server_settle_a_model(mixed):
    runs, named = jaxroof.load_experiments(), jaxroof.load_model(server="vllm-0.15")
    assert settled(named, runs) is named
    assert server_numbers(settled(jaxroof.load_model(), runs))["server.async_scheduling"] == 0
    with pytest.raises(InputError, match="server: is not the same in all"):
        settled(jaxroof.load_model(), jaxroof.load_experiments(mixed))


def test_stacked_settings_keep_what_was_set():
    models = [jaxroof.with_settings(jaxroof.load_model(), [f"server.per_step_us={us}"]) for us in (1, 2)]
    both = stack(*models)
    assert both.constants.server.per_step_s.shape == (2,)
    assert np.asarray(both.own).sum() == np.asarray(models[0].own).sum() == 1
    assert Sampling().given() == {}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("vllm-0.16,", "{path}: one.server: servers: vllm-0.16: not in the catalogue"),
        ("vllm-sync,top_q=1", "{path}: one.sampling: top_q: unknown key; did you mean top_p?"),
    ],
)
def test_a_row_that_cannot_be(mixed, tmp_path, row, says):
    shutil.copytree(mixed, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "experiments.csv"
    path.write_text(f"{HEADER}one,llama-2-7b,1,chat,test,14,6,1292,{row},x\n")
    refused(tmp_path, ["evaluate", f"--ground-truth={tmp_path}"], says.format(path=path))


EXPERTS = {"model": "qwen3-30b-a3b", "tp": 4}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (EXPERTS | {"ep": 2}, "ep: must be 1 or the tp of 4, and divide the 128 experts, got 2"),
        (EXPERTS | {"ep": 0}, "--ep: must be ≥ 1, got 0"),
        (EXPERTS | {"ep": 16}, "--ep: must be ≤ 8"),
        ({"model": "llama-2-7b", "tp": 4, "ep": 4}, "ep: must be 1 or the tp of 4, and divide the 0 experts, got 4"),
    ],
)
def test_expert_parallelism_that_cannot_be(tmp_path, options, says):
    refused(tmp_path, predict(**options), f"predict: {says}")


def test_experts_that_do_not_divide(tmp_path):
    config = json.loads((CONFIGS / "models/qwen3-30b-a3b.json").read_text()) | {"num_experts": 130}
    (tmp_path / "config.json").write_text(json.dumps(config))
    says = "predict: ep: must be 1 or the tp of 4, and divide the 130 experts, got 4"
    refused(tmp_path, predict(model=tmp_path, tp=4, ep=4), says)


def test_expert_parallelism_is_an_option():
    shared, divided = (works(predict(**EXPERTS, ep=ep, output=8)) for ep in (1, 4))
    assert divided["inputs"]["ep"] == 4
    assert divided["itl_ms"] != shared["itl_ms"]


def test_what_a_gpu_s_own_file_says_wins_over_the_engine_s_constants_of_its_base(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "h100-sxm"\n[kernels.gemm_fp8]\nfloor_us = { value = 400, source = "measured" }\n')
    theirs, mine = (
        jaxroof.load_tier0(name, server="trtllm-1.0").hardware.kernels.gemm_fp8 for name in ("h100-sxm", str(path))
    )
    assert float(mine.floor_s) == pytest.approx(400e-6)
    assert float(theirs.floor_s) == pytest.approx(4.023e-6)
    assert mine.mfu == theirs.mfu
