"""Wrong input: one line on stderr with file, key and why; exit code 2; empty stdout; nothing half-written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CONFIGS, DEFAULTS, numbers, predict, refused, run

ORIGINAL = {"TFlopsPeak": 989.5, "BwPeakTBs": 3.35, "bwEfficiencyFactor": 0.82, "perLayerOverhead": 100}
TAKES_A_FILE = {
    "model": lambda path: predict(model=path),
    "hardware": lambda path: predict(hardware=path),
    "formula": lambda path: predict(formula=path),
    "study": lambda path: ["study", path],
    "ground_truth": lambda path: ["evaluate", "--ground-truth", path],
}
SUFFIX = {"model": ".json", "ground_truth": ".csv"}
LONG = "9" * 5000
TAKES_COLUMNS = {
    "trace": lambda path: ["simulate", *predict()[1:4], "--trace", path],
    "points": lambda path: ["sweep", "--points", path],
    "lengths": lambda path: ["simulate", *predict(prompt=path)[1:], "--rate=1"],
}


@pytest.mark.parametrize("what", TAKES_A_FILE)
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "No such file or directory"),
        (Path.mkdir, "Is a directory"),
        (lambda path: path.write_bytes(b"\x7fELF\xff\xfe\x00"), "is not UTF-8 text"),
        (os.mkfifo, "is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
        (lambda path: path.touch() or os.truncate(path, 257_000_000), "must have at most "),
    ],
    ids=["missing", "directory", "binary", "pipe", "endless", "huge"],
)
def test_unreadable_file(tmp_path, what, make, why):
    path = tmp_path / f"x{SUFFIX.get(what, '.toml')}"
    make(path)
    at, why = (path / "config.json", "No such file") if what == "model" and path.is_dir() else (path, why)
    refused(tmp_path, TAKES_A_FILE[what](path), f"{at}: {why}")


@pytest.mark.parametrize("what", TAKES_COLUMNS)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_come_from_regular_files(tmp_path, what, suffix):
    path = tmp_path / f"x{suffix}"
    os.mkfifo(path)
    refused(tmp_path, TAKES_COLUMNS[what](path), f"{path}: is no regular file")


@pytest.mark.parametrize("what", TAKES_A_FILE)
def test_empty_or_malformed_file(tmp_path, what):
    path = tmp_path / f"x{SUFFIX.get(what, '.toml')}"
    for text in ("", "\n", '[{"'):
        path.write_text(text)
        if (what, text.strip()) != ("formula", ""):  # an empty formula is a legal one: all terms 0
            refused(tmp_path, TAKES_A_FILE[what](path), f"{path}: ")


def test_a_folder_without_mfu_tables(tmp_path):
    refused(
        tmp_path,
        predict(step_model="roofline", mfu_tables=tmp_path),
        f"{tmp_path}/gemm: h100-sxm: no folder for this GPU",
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (predict(model="llama-2-7"), "models: llama-2-7: not in the catalogue; did you mean llama-2-7b?"),
        (predict(model=""), "models: : not in the catalogue"),
        (predict(hardware="h100"), "hardware: h100: not in the catalogue; did you mean h100-sxm?"),
        (predict(formula="h2bb"), "overheads: h2bb: not in the catalogue; did you mean h2b?"),
        (
            predict(step_model="rofline"),
            "--step-model: value: must be one of kernels, linear, memory, roofline, got 'rofline'; did you mean",
        ),
        (["study", "hg11"], "studies: hg11: not in the catalogue; did you mean hg1?"),
        (
            ["evaluate", "--scoring", "itls"],
            "--scoring: value: must be one of published, itl, e2e_per_token, got 'itls'",
        ),
        (["list", "model"], "list: kind: must be one of "),
        (predict(tp=0), "predict: tp: must be ≥ 1, got 0"),
        (predict(tp=-1), "predict: tp: must be ≥ 1, got -1"),
        (predict(tp=3), "predict: tp: 32 attention heads cannot be divided by 3"),
        (predict(tp=10**400), "predict: tp: is too large a number"),
        (predict(prompt=0), "predict: --prompt: must be ≥ 1, got 0"),
        (predict(output=0), "predict: --output: must be ≥ 1, got 0"),
        (predict(output=10**30), "predict: --output: must be ≤ 1e+07"),
        (predict(cached=-1), "predict: --cached: must be ≥ 0, got -1"),
        (predict(cached=513), "predict: --cached: must be ≤ --prompt 8, got 513"),
        (predict(tp=16), "predict: tp: must be ≤ 8 (the most GPUs whose all-reduce is known), got 16"),
        (predict(batch=10**7), "predict: --batch: 13.5 GB of weights and 83886.1 GB of KV cache per GPU exceed"),
        (predict(batch=0), "predict: --batch: must be ≥ 1, got 0"),
        (["evaluate", "--sampled", "-1"], "--sampled: seed: must be ≥ 0, got -1"),
        (predict(set="hardware.hbm_efficiency"), "--set: hardware.hbm_efficiency: must be KEY=VALUE"),
        (predict(set="hardware.hbm_efficiency="), "--set: hardware.hbm_efficiency: must be a number, got ''"),
        (predict(set="hardware.hbm_efficiency=x"), "--set: hardware.hbm_efficiency: must be a number, got 'x'"),
        (predict(set="hardware.hbm_efficiency=0"), "--set: hardware.hbm_efficiency: must be > 0, got 0"),
        (predict(set="hardware.hbm_efficiency=1.1"), "--set: hardware.hbm_efficiency: must be ≤ 1, got 1.1"),
        (predict(set="hardware.hbm_efficiency=nan"), "--set: hardware.hbm_efficiency: must be finite, got nan"),
        (predict(set="overheads.decode.base_us=-1"), "--set: overheads.decode.base_us: must be ≥ 0, got -1"),
        (predict(set="overheads.decode.base_us=inf"), "--set: overheads.decode.base_us: must be finite, got inf"),
        (
            predict(set="overheads.decode.bass_us=1"),
            "--set: overheads.decode.bass_us: unknown key; did you mean overheads.",
        ),
        (
            predict(kv_cache_dtype="int8"),
            "--kv-cache-dtype: value: must be one of auto, bfloat16, float16, fp8, fp8_e4m3",
        ),
        (["capacity", "--model=llama-2-7b"], "Missing option '--hardware'"),
        (["capacity", "--hardware=h100-sxm"], "Missing option '--model'"),
        (predict(plot="x.png"), "predict: --plot: is the PNG of --breakdown"),
        (["list"], "Missing argument"),
        (["study"], "Missing argument"),
        (["lst", "models"], "No such command 'lst'."),
        (predict(modle="x"), "No such option: --modle"),
        (["evaluate", "--sampled", "x"], "Invalid value for '--sampled'"),
        *((predict(**{option: None}), f"Missing option '--{option}'") for option in DEFAULTS),
        *(
            (predict(**{option: "x"}), f"Invalid value for '--{option}'")
            for option in ("tp", "prompt", "output", "batch")
        ),
        (predict(tp=1.5), "Invalid value for '--tp'"),
        *(([command, "--out="], "Invalid value for '--out': is empty") for command in ("splits", "sweep", "capacity")),
    ],
)
def test_wrong_option(tmp_path, arguments, says):
    refused(tmp_path, arguments, says)


@pytest.mark.parametrize("option", ["--scoring=", "--set=hardware.hbm_efficiency="])
def test_a_long_value_is_shortened(option):
    code, out, err = run(["evaluate", f"{option}{'x' * 5000}"])
    assert (code, out, err.count("\n"), len(err) < 200) == (2, "", 1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        *(predict(**{option: LONG}) for option in ("model", "hardware", "formula")),
        predict(set=f"{LONG}=1"),
        ["study", LONG],
        [LONG],
    ],
    ids=["model", "hardware", "formula", "key", "study", "command"],
)
def test_a_long_word_is_cut(arguments):
    code, out, err = run(arguments)
    assert (code, out, err.count("\n"), len(err) < 1500, "999…999" in err) == (2, "", 1, True, True)


def test_out_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for out, why in {
        file: "File exists",
        file / "below": "Not a directory",
        Path("/dev/null/x"): "Not a directory",
    }.items():
        refused(tmp_path, ["study", "h1", "--out", out], f"{out}: --out: cannot be written: {why}")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"TFlopsPeak": -1}, "TFlopsPeak: must be > 0, got -1"),
        ({"TFlopsPeak": "989.5"}, "TFlopsPeak: must be a number, got '989.5'"),
        ({"BwPeakTBs": float("nan")}, "BwPeakTBs: must be finite, got nan"),
        ({"bwEfficiencyFactor": 1.1}, "bwEfficiencyFactor: must be ≤ 1, got 1.1"),
        ({"bwEfficiencyFactor": -0.1}, "bwEfficiencyFactor: must be ≥ 0, got -0.1"),
        ({"perLayerOverhead": None}, "perLayerOverhead: must be a number, got None"),
    ],
)
def test_original_hardware_config(tmp_path, changes, says):
    path = tmp_path / "hardware_config.json"
    for data in (ORIGINAL | changes, {"H100": ORIGINAL | changes}):
        path.write_text(json.dumps(data))
        refused(tmp_path, predict(hardware=path), f"{path}: {says}")


def test_original_hardware_config_must_describe_one_gpu(tmp_path):
    path = tmp_path / "hardware_config.json"
    for data in ({}, {"H100": 3}, {"H100": ORIGINAL, "A100": ORIGINAL}):
        path.write_text(json.dumps(data))
        refused(tmp_path, predict(hardware=path), f"{path}: TFlopsPeak: missing key")


@pytest.mark.parametrize("nest", [lambda data: data, lambda data: {"H100": data}], ids=["flat", "named"])
def test_an_original_hardware_config_is_the_h100_and_h2b(tmp_path, nest):
    path = tmp_path / "hardware_config.json"
    path.write_text(json.dumps(nest(ORIGINAL | {"mfuPrefill": 0.65})))
    ours, theirs = ({"step_model": "memory"} | what for what in ({"hardware": path}, {"formula": "h2b"}))
    assert numbers(predict(**ours)) == numbers(predict(**theirs))
    refused(tmp_path, predict(hardware=path), f"{path}: --hardware: has no kernels; give --step-model memory")


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config | {"architectures": ["X"], "rope_scaling": {"type": "yarn"}, "num_experts": None},
        lambda config: {"text_config": config, "vision_config": {"hidden_size": "x"}},
        lambda config: {key: value for key, value in config.items() if key != "num_key_value_heads"},
        lambda config: config | {"num_key_value_heads": None, "head_dim": None},
        lambda config: config | {"head_dim": 128},
        lambda config: {"dtype" if key == "torch_dtype" else key: value for key, value in config.items()},
        lambda config: config | {"num_hidden_layers": 32.0},
    ],
    ids=["extra keys", "nested", "no KV heads", "null", "head_dim", "dtype", "float"],
)
def test_a_good_config_json_in_another_form_is_the_same_model(tmp_path, change):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(change(json.loads((CONFIGS / "models/llama-2-7b.json").read_text()))))
    code, out, err = run([*predict(model=path), "--json"])
    found, known = json.loads(out), numbers(predict())
    assert (code, {**found, "notes": []}) == (0, {**known, "inputs": found["inputs"]})
    said = [f"jaxroof: note: {note}\n" for note in found["notes"]]
    assert (err, len(said)) == ("".join(said), "text_config" in path.read_text())


def test_control_characters_of_a_file_reach_no_terminal(tmp_path):
    path = tmp_path / "\x1b[31mred\x07.json"
    path.write_text((CONFIGS / "models/llama-2-7b.json").read_text())
    code, out, err = run(predict(model=path))
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{tmp_path}/\\x1b[31mred\\x07.json on 1 × h100-sxm, kernels step time"
    path.write_text("{")
    refused(tmp_path, predict(model=path), f"{tmp_path}/\\x1b[31mred\\x07.json: malformed JSON")


@pytest.mark.parametrize("arguments", [predict(tp=3), ["study", "nope"], ["evaluate", "--ground-truth", "/dev/null"]])
def test_the_installed_command(arguments):
    command = Path(sys.executable).with_name("jaxroof")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("to", "why"), [(">&-", "stdout: is closed"), ("> /dev/full", "[Errno 28] No space left on device")]
)
def test_a_result_that_cannot_be_printed_is_no_success(to, why, unbuffered):
    command = f"{sys.executable} -m jaxroof list models --json {to}"
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stderr) == (2, f"jaxroof: {why}\n")


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate"],
        ["sensitivity"],
        ["splits"],
        ["calibrate", "--free=linear.per_context_token_us"],
        ["sweep", "--vary=server.per_step_us=1,2", "--best=1"],
        ["simulate", "--rate=1", "--prompt=64", "--output=5", "--set=linear.per_context_token_us=1"],
        predict(),
    ],
)
def test_a_line_that_nobody_measured_is_no_step_model(tmp_path, command):
    refused(tmp_path, [*command, "--step-model=linear"], "--step-model: linear: steps take no time; name a file")


def test_a_study_names_no_file_of_a_line_so_none_is_advised(tmp_path):
    path, text = tmp_path / "mine.toml", (CONFIGS / "studies/h1.toml").read_text()
    says = f"{path}: raw: set: linear: steps take no time; set one of linear.base_us, linear.per_new_token_us and"
    path.write_text(text.replace('step_model = "memory"', 'step_model = "linear"'))
    refused(tmp_path, ["study", path], says)
    path.write_text(text.replace("[[configurations]]", 'also_step_model = ["linear"]\n\n[[configurations]]', 1))
    refused(tmp_path, ["study", path], says)


@pytest.mark.parametrize(
    "name", ["../up", "/abs", ".", "a/b", "", "a\\u0000b", "x" * 300, "𠀀" * 64, "Findings.md", "x.png"]
)
def test_a_study_is_named_as_a_folder_can_be(tmp_path, name):
    path = tmp_path / "mine.toml"
    path.write_text((CONFIGS / "studies/h1.toml").read_text().replace('name = "h1"', f'name = "{name}"', 1))
    refused(
        tmp_path, ["study", path, "--out", tmp_path / "out"], f"{path}: name: must be a name that a folder can have"
    )


def test_a_product_grid_has_an_end(tmp_path):
    path = tmp_path / "mine.toml"
    text = (CONFIGS / "studies/idea_ac.toml").read_text()
    path.write_text(re.sub(r"step_us = .*", "step_us = 0.1", text))
    refused(tmp_path, ["study", path], f"{path}: grid.free: makes ")
