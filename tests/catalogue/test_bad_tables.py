"""Files that are damaged in one place: one line on stderr with file, key and why.

Each case: what stands in a good file (nothing: all of it), what replaces it, key and why.
"""

import shutil

import pytest
from command_line import CONFIGS, ROOT, TABLES, predict, refused

RUN = "jan30-llama2-7b-tp1-chatsweep"  # the first

HARDWARE = [
    ("", "a = [", "malformed TOML: "),
    ("peak_tflops", "peak_tflop", "peak_tflop: unknown key; did you mean peak_tflops?"),
    ("hbm_gb = ", "# ", "hbm_gb: missing key"),
    ("[mfu]", "[fmu]", "fmu: unknown key; did you mean mfu?"),
    ("gemm", "gem", "mfu.gem: unknown key; did you mean gemm?"),
    ("value = 989.5", "value = -1.0", "peak_tflops: must be > 0, got -1"),
    ("value = 989.5", "value = nan", "peak_tflops: must be finite, got nan"),
    ("value = 989.5", "value = inf", "peak_tflops: must be finite, got inf"),
    ("value = 989.5", 'value = "989.5"', "peak_tflops: must be a number, got '989.5'"),
    ("value = 989.5", "value = true", "peak_tflops: must be a number, got True"),
    ("value = 989.5,", "", "peak_tflops.value: missing key"),
    ("value = 85.89934592", "value = 1e300", "hbm_gb: must be ≤ 1e+06, got 1e+300"),
    ("value = 989.5", f"value = {'9' * 5000}", "malformed TOML: a number has too many digits\n"),
    ("value = 0.82", "value = 0", "hbm_efficiency: must be > 0, got 0"),
    ("value = 0.82", "value = 1.01", "hbm_efficiency: must be ≤ 1, got 1.01"),
    ("value = 0.799", "value = 1.5", "mfu.gemm: must be ≤ 1, got 1.5"),
    ("{ value = 989.5, source", "{ value = 989.5, sauce", "peak_tflops: must be { value = …, source"),
]
OVERHEADS = [
    ("[decode]", "[decoed]", "decoed: unknown key; did you mean decode?"),
    (
        "[decode]\nper_layer_us",
        "[decode]\nper_layers_us",
        "decode.per_layers_us: unknown key; did you mean per_layer_us?",
    ),
    ("value = 100", "value = -100", "prefill.per_layer_us: must be ≥ 0, got -100"),
    ("value = 100", "value = nan", "prefill.per_layer_us: must be finite, got nan"),
    ("value = 100", "value = 2, unit = 3", "prefill.per_layer_us.unit: unknown key"),
    ("", "prefill = 3", "prefill: must be a table"),
]
MODELS = [
    ("", '{"num_hidden_layers": 32,', "malformed JSON: "),
    ("", "[]", "must be a JSON object"),
    ("", '{"text_config": 3}', "text_config: must be an object"),
    ('"model_type"', '"model"', "model_type: missing key"),
    ('"llama"', "3", "model_type: must be text, got 3"),
    ('"hidden_size"', '"rope_scaling": "x", "hidden_size"', "rope_scaling: must be an object"),
    ('"num_hidden_layers": 32', '"num_hidden_layers": 0', "num_hidden_layers: must be ≥ 1, got 0"),
    ('"num_hidden_layers": 32', '"num_hidden_layers": "32"', "num_hidden_layers: must be a number, got '32'"),
    ('"num_hidden_layers": 32', '"num_hidden_layers": -32', "num_hidden_layers: must be ≥ 1, got -32"),
    ('"num_hidden_layers": 32', '"num_hidden_layers": 2.5', "num_hidden_layers: must be a whole number, got 2.5"),
    ('"num_hidden_layers": 32', '"num_hidden_layers": NaN', "num_hidden_layers: must be finite, got nan"),
    ('"num_hidden_layers": 32', '"num_hidden_layers": 1e999', "num_hidden_layers: must be finite, got inf"),
    ('"num_hidden_layers": 32', f'"num_hidden_layers": 1{"0" * 400}', "num_hidden_layers: is too large a number"),
    ('"num_hidden_layers": 32', f'"num_hidden_layers": {"9" * 5000}', "malformed JSON: a number has too many digits\n"),
    ('"num_hidden_layers": 32', '"num_hidden_layers": null', "num_hidden_layers: must be a number, got None"),
    ('"hidden_size"', '"hidden"', "hidden_size: missing key"),
    ('"num_key_value_heads": 32', '"num_key_value_heads": 5', "num_key_value_heads: 32 heads cannot be divided by 5"),
    ('"float16"', '"float61"', "torch_dtype: must be one of "),
    ('"float16"', "[16]", "torch_dtype: must be one of "),
    ('"hidden_size"', '"num_experts": 8, "hidden_size"', "num_experts: not modelled"),
    ('"llama"', '"olmoe", "num_experts": 8', "num_experts_per_tok: missing key"),
    (
        '"llama"',
        '"olmoe", "num_experts": 8, "num_experts_per_tok": 9',
        "num_experts_per_tok: must be ≤ num_experts, got 9 > 8",
    ),
    ('"hidden_size"', '"kv_lora_rank": 512, "hidden_size"', "kv_lora_rank: not modelled"),
    (
        '"hidden_size"',
        '"quantization_config": {"quant_method": "bitsandbytes"}, "hidden_size"',
        "quantization_config: understood are fp8, ",
    ),
    ('"tie_word_embeddings": false', '"tie_word_embeddings": "false"', "tie_word_embeddings: must be true or false"),
]
EXPERIMENTS = [
    ("", "", "has no rows"),
    ("", "name,model,tp,workload,split,ttft_ms,tpot_ms,e2e_ms,source\n", "has no rows"),
    ("ttft_ms", "ttft_mss", "ttft_mss: unknown key; did you mean ttft_ms?"),
    (",source\n", ",split\n", "split: column stands twice"),
    (",source\n", "\n", "source: missing column"),
    (",H1 findings (BLIS)", "", "line 2: has 9 fields, the header 10"),
    ("H1 findings", '"H1 findings', "malformed CSV: "),
    ("13.9", "x", f"{RUN}.ttft_ms: must be a number, got 'x'"),
    ("13.9", "", f"{RUN}.ttft_ms: must be a number, got ''"),
    ("13.9", "-13.9", f"{RUN}.ttft_ms: must be > 0, got -13.9"),
    ("13.9", "nan", f"{RUN}.ttft_ms: must be finite, got nan"),
    ("13.9", "inf", f"{RUN}.ttft_ms: must be finite, got inf"),
    ("1292.6", "12.6", f"{RUN}.e2e_ms: must exceed ttft_ms and tpot_ms"),
    ("1292.6", "1e300", f"{RUN}: e2e_ms / tpot_ms: must be ≤ 1e+07"),
    (",1,chat", ",0,chat", f"{RUN}.tp: must be ≥ 1, got 0"),
    (",1,chat", ",1.5,chat", f"{RUN}.tp: must be a whole number, got 1.5"),
    (",1,chat", ",3,chat", f"{RUN}: tp: 32 attention heads cannot be divided by 3"),
    (",chat,", ",chatt,", f"{RUN}.workload: no workload chatt; did you mean chat?"),
    (",train,", ",trian,", f"{RUN}.split: must be train or test, got 'trian'"),
    (
        ",llama-2-7b,",
        ",llama-2-7bb,",
        f"{RUN}.model: models: llama-2-7bb: not in the catalogue; did you mean llama-2-7b?",
    ),
    ("tp1-codesweep", "tp1-chatsweep", f"{RUN}: stands twice"),
]
WORKLOADS = [
    ("min = 2, max = 200", "min = 300, max = 200", "chat.prompt.min: must be ≤ max, got 300 > 200"),
    ("min = 2,", "min = 0,", "chat.prompt.min: must be ≥ 1, got 0"),
    ("max = 200", "max = 1e12", "chat.prompt.max: must be ≤ 1e+06 (the longest that is averaged over), got 1e+12"),
    (", min = 2, max = 200", "", "chat.prompt: must have stdev, min and max, or mean alone"),
    ("mean = 70, stdev = 35, min = 2, max = 200", "mean = 70.5", "chat.prompt.mean: must be a whole number, got 70.5"),
    ("stdev = 35", "stdev = -35", "chat.prompt.stdev: must be ≥ 0, got -35"),
    ("stdev = 35", "stdev = nan", "chat.prompt.stdev: must be finite, got nan"),
    ("mean = 70", 'mean = "70"', "chat.prompt.mean: must be a number, got '70'"),
    ("mean = 70,", "", "chat.prompt.mean: missing key"),
    ("stdev = 35", "stddev = 35", "chat.prompt.stddev: unknown key; did you mean stdev?"),
    ("prefix_tokens = 284", "prefix = 284", "chat.prefix: unknown key; did you mean prefix_tokens?"),
    ("prefix_tokens = 284", "prefix_tokens = -1", "chat.prefix_tokens: must be ≥ 0, got -1"),
    ("min = 1, max = 512", "min = 1, max = 1", "chat.output: no request has two tokens, so no TPOT"),
    (
        "max = 200 }\noutput = { mean = 215, stdev = 80, min = 1, max = 512",
        "max = 1e5 }\noutput = { mean = 215, stdev = 80, min = 1, max = 1e5",
        "chat: must be ≤ 2e+09 (pairs of a prompt and an output to average over), got 1e+10",
    ),
    ("", "chat = 3", "chat: must be a table"),
    ("", "chat.prefix_tokens = 0\nchat.prompt = 3", "chat.prompt: must be a table"),
]
TRUTH = [("experiments.csv", *case) for case in EXPERIMENTS] + [("workloads.toml", *case) for case in WORKLOADS]
GEMM, PREFILL, DECODE = ("gemm/h100/data.csv", "mha/prefill/h100/32-32-128.csv", "mha/decode/h100/32-32-128-tp1.csv")
MFU = [
    (GEMM, "latency_us,mfu", "latency_us", "mfu: missing column"),
    (GEMM, "latency_us,mfu", "latency_us,mfuu", "mfuu: unknown key; did you mean mfu?"),
    (GEMM, "0.0034", "-0.0034", "mfu: must be ≥ 0, got -0.0034"),
    (GEMM, "0.0034", "nan", "mfu: must be finite, got nan"),
    (GEMM, "8,4096,4096", "1,4096,4096", "k,n,m: a row stands twice"),
    (GEMM, "", "m,k,n,latency_us,mfu\n1,1,1,1,0\n", "mfu: no row of a table reaches 0.0001"),
    (PREFILL, "", "", "has no rows"),
    (PREFILL, "0.1486", "x", "mfu: must be a number, got 'x'"),
    (DECODE, "kv_len", "kv_length", "kv_length: unknown key; did you mean kv_len?"),
    (DECODE, "bf16,bf16,1,256,", "bf16,bf16,1,257,", "batch_size,kv_len: the rows must form a full grid"),
]
STUDIES = [
    ('title = "HG1', 'titel = "HG1', "titel: unknown key; did you mean title?"),
    ('title = "HG1', '# "HG1', "title: missing key"),
    ('name = "hg1"', "name = 3", "name: must be text, got 3"),
    (
        'step_model = "memory"',
        'step_model = "memroy"',
        "step_model: must be one of kernels, linear, memory, roofline, got 'memroy'; did you",
    ),
    ('scoring = "published"', 'scoring = "publishd"', "scoring: must be one of "),
    ('also_scoring = ["itl"]', "also_scoring = 3", "also_scoring: must be a list of texts, got 3"),
    ('also_scoring = ["itl"]', "also_scoring = [3]", "also_scoring: must be one of published, itl, e2e_per_token, got"),
    (
        'hardware = "h100-sxm"',
        'hardware = "h100-smx"',
        "hardware: h100-smx: not in the catalogue; did you mean h100-sxm?",
    ),
    (
        'baseline = "h2b"',
        'baseline = "h2c"',
        "baseline: must be one of none, h2b, optimum, got 'h2c'; did you mean h2b?",
    ),
    ("[[configurations]]", "[configurations]", "malformed TOML: "),
    ('name = "none"', 'name = "h2b"', "configurations.name: h2b stands twice"),
    ('overheads = "h2b"', 'overheads = "h2bb"', "overheads: h2bb: not in the catalogue; did you mean h2b?"),
    ("hbm_efficiency", "hbm_eficiency", "none: set: hardware.hbm_eficiency: unknown key; did you mean hardware.hbm_e"),
    ("= 0.82", "= 1.82", "none: set: hardware.hbm_efficiency: must be ≤ 1, got 1.82"),
    ("= 0.82", '= "0.82"', "none: set: hardware.hbm_efficiency: must be a number, got '0.82'"),
    ('set = { "hardware.hbm_efficiency" = 0.82 }', "set = 3", "configurations.set: must be a table"),
    ("[search]", "[serach]", "serach: unknown key; did you mean search?"),
    ("[search]", "[[search]]", "search: must be a table"),
    ("[search]", "[search]\nsteps = 3", "search.steps: unknown key; did you mean step_us?"),
    ("step_us = 25", "step_us = 0", "search.step_us: must be > 0, got 0"),
    ("step_us = 25", "step_us = 1e-300", "search.step_us: makes more than 1000000 steps, got 1e-300"),
    ("fine_step_us = 5", "fine_step_us = 1e-9", "search.fine_step_us: makes more than 1000000 steps, got 1e-09"),
    ("start_us = 0", "start_us = 900", "search.stop_us: must be ≥ start_us, got 500 < 900"),
    ("start_us = 0", 'start_us = "0"', "search.start_us: must be a number, got '0'"),
    ("half_width_us = 25", "", "search.half_width_us: missing key"),
    ("start_us = 0", "start_us = inf", "search.start_us: must be finite, got inf"),
    ("start_us = 0", "start_us = -1", "search.start_us: must be ≥ 0, got -1"),
    ("start_us = 0", f"start_us = 1{'0' * 400}", "search.start_us: is too large a number"),
    ("keys = [", "keys = [] # [", "search.keys: must be a list of keys in µs, got []"),
    ("keys = [", "keys = 3 # [", "search.keys: must be a list of keys in µs, got 3"),
    (
        'keys = ["overheads.prefill.per_layer_us",',
        'keys = ["traffic.decode_kv",',
        "search.keys: must be a key in µs, got 'traffic.decode_kv'",
    ),
    (
        "overheads.prefill.per_layer_us",
        "overheads.prefil.per_layer_us",
        "search.keys: overheads.prefil.per_layer_us: unk",
    ),
    ('split = "train"', 'split = "trian"', "group: must be one of "),
    ('group = "test"', 'group = "tets"', "group: must be one of "),
    ('group = "test"', 'group = ""', "group: must be one of "),
    ('metric = "tpot_ape_pct"', 'metric = "tpot_ape"', "criteria.metric: must be one of "),
    ('metric = "tpot_ape_pct"', "", "criteria.metric: missing key"),
    ('configuration = "optimum"\ngroup', 'configuration = "optimun"\ngroup', "criteria.configuration: must be one of "),
    ('comparison = "<="', 'comparison = "=<"', "criteria.comparison: must be one of <, <=, >, >=, got '=<'"),
    ("threshold = 3.0", "threshold = nan", "criteria.threshold: must be finite, got nan"),
    ("threshold = 3.0", 'threshold = "3"', "criteria.threshold: must be a number, got '3'"),
    ("absolute = true", "absolute = 1", "criteria.absolute: must be true or false, got 1"),
    ("absolute = true", "absolut = true", "criteria.absolut: unknown key; did you mean absolute?"),
    ('unit = "pp"', "unit = 3", "criteria.unit: must be text, got 3"),
    ('baseline = "h2b"', 'baseline = "h2b"\ngroups.a = 3', "groups.a: must be a list of texts, got 3"),
    ('baseline = "h2b"', 'baseline = "h2b"\ngroups.a = ["chat", 3]', "groups.a: must be text, got 3"),
    ('baseline = "h2b"', 'baseline = "h2b"\nwaterfall = "h2b"', "waterfall: must be a table, got 'h2b'"),
    ('baseline = "h2b"', 'baseline = "h2b"\nwaterfall = { start = "h2c" }', "waterfall.end: missing key"),
    ('baseline = "h2b"', "baseline = 1979-05-27", "baseline: must be text, got datetime.date(1979, 5, 27)"),
]


def damaged(folder, path, old, new):
    """A copy in ``folder`` of the file at ``path``, with one text replaced or all of it."""
    copy = folder / path.name
    text = path.read_text(encoding="utf-8")
    assert old in text
    copy.write_text(text.replace(old, new, 1) if old else new, encoding="utf-8")
    return copy


@pytest.mark.parametrize(("old", "new", "says"), HARDWARE)
def test_hardware(tmp_path, old, new, says):
    path = damaged(tmp_path, CONFIGS / "hardware/h100-sxm.toml", old, new)
    refused(tmp_path, predict(hardware=path), f"{path}: {says}")
    capacity = ["capacity", "--model=llama-2-7b", f"--hardware=h100-sxm,{path}", f"--out={tmp_path}/out"]
    refused(tmp_path, capacity, f"{path}: {says}")


@pytest.mark.parametrize(("old", "new", "says"), OVERHEADS)
def test_overheads(tmp_path, old, new, says):
    path = damaged(tmp_path, CONFIGS / "overheads/h2b.toml", old, new)
    refused(tmp_path, predict(formula=path), f"{path}: {says}")


@pytest.mark.parametrize(("old", "new", "says"), MODELS)
def test_config_json(tmp_path, old, new, says):
    path = damaged(tmp_path, CONFIGS / "models/llama-2-7b.json", old, new)
    refused(tmp_path, predict(model=path), f"{path}: {says}")


@pytest.mark.parametrize(("old", "new", "says"), STUDIES)
def test_study(tmp_path, old, new, says):
    path = damaged(tmp_path, CONFIGS / "studies/hg1.toml", old, new)
    refused(tmp_path, ["study", path, "--out", tmp_path / "out"], f"{path}: {says}")


def test_which_criterion_is_wrong(tmp_path):
    path = damaged(tmp_path, CONFIGS / "studies/hg1.toml", 'comparison = "<"\n', "")
    refused(tmp_path, ["study", path], f"{path}: criteria.comparison: missing key (criteria 2)")


@pytest.mark.parametrize(("file", "old", "new", "says"), TRUTH)
def test_ground_truth(tmp_path, file, old, new, says):
    shutil.copytree(ROOT / "ground_truth", tmp_path, dirs_exist_ok=True)
    path = damaged(tmp_path, ROOT / "ground_truth" / file, old, new)
    refused(tmp_path, ["evaluate", "--ground-truth", tmp_path], f"{path}: {says}")


@pytest.mark.parametrize(("file", "old", "new", "says"), MFU)
def test_mfu_tables(tmp_path, file, old, new, says):
    shutil.copytree(TABLES, tmp_path, dirs_exist_ok=True)
    path = damaged((tmp_path / file).parent, TABLES / file, old, new)
    refused(tmp_path, ["evaluate", "--step-model", "roofline", "--mfu-tables", tmp_path], f"{path}: {says}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / GEMM).unlink(), f"{GEMM}: No such file or directory"),
        (lambda folder: shutil.rmtree(folder / "mha/prefill"), "mha/prefill: h100-sxm: no folder for this GPU"),
        (
            lambda folder: (folder / PREFILL).with_name("32-32.csv").touch(),
            "mha/prefill/h100/32-32.csv: the name must match",
        ),
        (
            lambda folder: (folder / PREFILL).with_name("9-9-9.csv").write_text((folder / PREFILL).read_text()),
            "mha/decode: 9-9-9: no decode table for this prefill shape",
        ),
    ],
)
def test_mfu_table_files(tmp_path, change, says):
    shutil.copytree(TABLES, tmp_path, dirs_exist_ok=True)
    change(tmp_path)
    refused(tmp_path, ["evaluate", "--step-model", "roofline", "--mfu-tables", tmp_path], f"{tmp_path}/{says}")
