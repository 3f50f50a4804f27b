"""``jaxroof capacity`` says what fits, and refuses nothing for its size; the KV cache's precision is an option."""

import json

import pytest
from command_line import predict, refused, run, works

from jaxroof.capacity.record import NAMES

CAPACITY = ["capacity", "--model=llama-3.1-70b", "--hardware=h100-sxm,h200-sxm"]


def test_what_fits_and_what_is_missing():
    data = works(CAPACITY)
    assert data["parameters_billion"] == data["active_billion"] == pytest.approx(70.55, abs=0.01)
    assert data["kv_bytes_per_token"] == 2 * 80 * 8 * 128 * 2
    rows = {(row["hardware"], row["tp"]): row for row in data["capacity"]}
    assert list(rows) == [(gpu, tp) for gpu in ("h100-sxm", "h200-sxm") for tp in (1, 2, 4, 8, 16)]
    assert (data["inputs"]["tokens"], data["inputs"]["tokens_are"]) == (131072, "the model's longest context")
    alone = rows["h100-sxm", 1]
    assert (alone["fits"], alone["binds"], alone["requests"], alone["kv_tokens"]) == (False, "memory", 0, 0)
    assert alone["missing_gb"] == pytest.approx(141.1 + 131072 * 327680 / 1e9 - (0.9 * 85.9 - 3.8), abs=0.1)
    assert all(row["kv_tokens"] == 16 * row["kv_blocks"] for row in rows.values())
    assert rows["h200-sxm", 16]["kv_blocks"] > 0
    four = rows["h100-sxm", 4]
    assert (four["fits"], four["requests"], four["missing_gb"]) == (True, 3, 0)


def test_heads_that_do_not_divide_are_listed():
    data = works([*CAPACITY[:2], "--hardware=h100-sxm", "--tp=3,8", "--prompt=900", "--output=100"])
    third, eighth = data["capacity"]
    assert (third["binds"], third["fits"], third["reason"]) == (
        "heads", False, "64 attention heads cannot be divided by 3",
    )  # fmt: skip
    assert {third[name] for name in NAMES} == {None}
    assert (eighth["binds"], eighth["requests"]) == ("slots", 1024)
    assert (data["inputs"]["tokens"], data["inputs"]["tokens_are"]) == (1000, "900 of prompt and 100 of output")


def test_tables_are_80_columns_wide(tmp_path):
    code, out, err = run([*CAPACITY, f"--out={tmp_path}"])
    assert (code, err) == (0, "")
    assert max(len(line) for line in out.splitlines() if line.lstrip()[:1].isdigit() and "billion" not in line) <= 80
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FINDINGS.md", "capacity.csv", "results.json"]
    assert json.loads((tmp_path / "results.json").read_text()) == works(CAPACITY)


def test_the_kv_caches_precision():
    half = works([*CAPACITY, "--kv-cache-dtype=fp8"])
    assert half["kv_bytes_per_token"] == 80 * 2 * 8 * 128
    assert half["inputs"]["kv_cache_dtype"] == "fp8"
    assert works([*CAPACITY, "--kv-cache-dtype=float16"])["capacity"] == works(CAPACITY)["capacity"]
    long = {"model": "llama-3.1-8b", "prompt": 100_000, "output": 100}
    code, out, err = run([*predict(**long, kv_cache_dtype="fp8_e5m2"), "--json"])
    eight, sixteen = json.loads(out), works(predict(**long))
    assert (code, eight["notes"], err) == (0, [], "")  # an H100 has constants for it
    assert (eight["inputs"]["kv_cache_dtype"], sixteen["inputs"]["kv_cache_dtype"]) == ("fp8_e5m2", "auto")
    assert eight["itl_ms"] < sixteen["itl_ms"]
    note = "the KV cache is FP8: attention has the efficiency that it has with 16 bits"
    simulated = ["simulate", *predict(**long | {"prompt": 64, "output": 4}, hardware="a100-sxm")[1:]]
    simulated += ["--rate=1", "--requests=2"]
    code, out, _ = run([*simulated, "--kv-cache-dtype=fp8", "--steady", "--json"])
    data = json.loads(out)
    assert (code, data["inputs"]["kv_cache_dtype"], note in data["notes"]) == (0, "fp8", True)


def test_weights_without_a_unit_are_said():
    code, _, err = run(predict(model="llama-3.1-70b-fp8", hardware="a100-sxm", tp=2))
    assert (code, err) == (0, "jaxroof: note: a100-sxm has no FP8 unit: weights are dequantised (W8A16)\n")
    works(predict(model="llama-3.1-70b-fp8", tp=2))


def test_a_pool_that_counts_all_tokens_of_a_window_is_said():
    simulated = ["simulate", *predict(model="gpt-oss-20b", prompt=64)[1:], "--rate=1", "--requests=2", "--steady"]
    assert "layers with a window hold all tokens in this KV cache" in run(simulated)[2]
    assert "layers with a window" not in run([*simulated, "--kv-blocks=1000"])[2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hardware=h100"], "hardware: h100: not in the catalogue; did you mean"),
        (["--hardware=h100-sxm,h100-sxm"], "--hardware: value: h100-sxm stands twice"),
        (["--hardware=h100-sxm,"], "--hardware: value: a name is empty, got 'h100-sxm,'"),
        (["--set=hardware.hbm_gb=1e300"], "--set: hardware.hbm_gb: must be ≤ 1e+06, got 1e+300"),
        (["--set=server.reserved_gb=1e300"], "--set: server.reserved_gb: must be ≤ 1e+06, got 1e+300"),
        (["--hardware=x.json"], "x.json: --hardware: says nothing of the GPU's memory"),
        (["--tp=0"], "capacity: --tp: must be ≥ 1, got 0"),
        (["--tp=1,x"], "capacity: --tp: must be a number, got 'x'"),
        (["--tp=2,2"], "capacity: --tp: 2 stands twice"),
        (["--prompt=5"], "capacity: --output: is missing: give both lengths of a request, or none"),
        (["--output=5"], "capacity: --prompt: is missing: give both lengths of a request, or none"),
        (["--prompt=0", "--output=5"], "capacity: --prompt: must be ≥ 1, got 0"),
        (["--server=vlm"], "servers: vlm: not in the catalogue"),
        (["--set=server.max_num_seqs=0"], "--set: server.max_num_seqs: must be ≥ 1, got 0"),
        (["--kv-cache-dtype=fp9"], "--kv-cache-dtype: value: must be one of auto, bfloat16, float16, fp8, fp8_e4m3,"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, says):
    refused(tmp_path, [*CAPACITY, *options, f"--out={tmp_path}/out"], says)
