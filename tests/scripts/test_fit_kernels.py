"""The refit of the kernel constants: planted constants come back from tables of the package's layout."""

import importlib.util
import itertools
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
SHEET = {"peak_tflops": 1000.0, "hbm_tb_per_s": 2.0}
FILE = """title = "A GPU"  # of the test

peak_tflops = { value = 1000.0, source = "data sheet" }
hbm_tb_per_s = { value = 2.0, source = "data sheet" }

[kernels.gemm]
floor_us = { value = 5.0, source = "old" }

[link]
eager_latency_us = { value = 21.5, source = "kept" }
latency_tp2_us = { value = 1.0, source = "old" }
"""


def load_script():
    """scripts/ is no package."""
    spec = importlib.util.spec_from_file_location("fit_kernels", ROOT / "scripts/fit_kernels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fit_kernels = load_script()


def grid(**axes):
    """All combinations, one row each; a scalar is a constant column."""
    values = [axis if isinstance(axis, list) else [axis] for axis in axes.values()]
    return pd.DataFrame(list(itertools.product(*values)), columns=list(axes))


def measured(table, time_us, **decoys):
    """The table with its latency [ms], 1 % of noise, and for each decoy a far slower copy that the filter must drop."""
    noise = np.random.default_rng(0).normal(0.0, 0.01, len(table))
    table = table.assign(latency=time_us / 1e3 * np.exp(noise))
    slower = [table.assign(latency=9 * table.latency, **{name: value}) for name, value in decoys.items()]
    return pd.concat([table, *slower], ignore_index=True)


def gemm_table():
    t = grid(gemm_dtype="bfloat16", m=[1, 16, 256, 1024, 4096, 16384], n=[512, 2048, 8192], k=[512, 4096, 16384])
    moved = 2.0 * (t.m * t.k + t.k * t.n + t.m * t.n) / 2e6
    time_us = 4.0 + np.maximum(moved / 0.8, 2.0 * t.m * t.n * t.k / 1e9 / 0.7)
    return measured(t, time_us, gemm_dtype="fp8", m=32768, n=256, k=128)


def decode_table():
    axes = {"batch_size": [1, 16, 256], "num_key_value_heads": [1, 8], "step": [63, 1023, 16383, 131071]}
    t = grid(kv_cache_dtype="bfloat16", head_dim=128, window_size=0, **axes)
    time_us = 12.0 + 4.0 * t.batch_size * t.num_key_value_heads * 128 * (t.step + 1) / 2e6 / 0.85
    return measured(t, time_us, kv_cache_dtype="fp8", head_dim=64, window_size=128, step=31)


def prefill_table():
    axes = {"batch_size": [1, 8], "num_heads": [4, 16, 64], "isl": [16, 128, 512, 2048, 8192, 16384]}
    t = grid(kv_cache_dtype="bfloat16", head_dim=128, **axes)  # no window_size, as in the A100's
    time_us = 13.0 + 2.0 * t.batch_size * t.num_heads * 128 * t.isl**2 / 1e9 / 0.6 * (1 + 900.0 / t.isl)
    return measured(t, time_us, kv_cache_dtype="fp8", head_dim=64)


def moe_table():
    axes = {"num_tokens": [1, 8, 64, 512, 4096, 16384], "inter_size": [1024, 8192], "moe_tp_size": [1, 4]}
    t = grid(
        moe_dtype="bfloat16", moe_ep_size=1, distribution="balanced", hidden_size=4096, topk=2, num_experts=8, **axes
    )
    inter, touched = t.inter_size / t.moe_tp_size, 8 * (1 - 0.75**t.num_tokens)
    moved = 2.0 * (touched * 3 * 4096 * inter + t.num_tokens * 2 * (2 * 4096 + 3 * inter)) / 2e6
    flops = 6.0 * t.num_tokens * 2 * 4096 * inter / 1e9
    time_us = 40.0 + np.maximum(moved / 0.75, flops / 0.4)
    return measured(t, time_us, moe_dtype="fp8", moe_ep_size=2, distribution="power_law_1.01")


def link_table():
    t = grid(
        allreduce_dtype="bfloat16", kernel_source="a_graph", num_gpus=[2, 4], message_size=[2**i for i in range(7, 30)]
    )
    size, pair = 2.0 * t.message_size / 1e3, t.num_gpus == 2
    time_us = np.where(pair, 4.0 + size / 250.0, 12.0 + size / 3.0)
    return measured(t, time_us, kernel_source="a_eager", allreduce_dtype="float32", num_gpus=16)


TABLES = {
    "kernels.gemm": (gemm_table, {"floor_us": 4.0, "hbm_efficiency": 0.8, "mfu": 0.7}),
    "kernels.decode_attention": (decode_table, {"floor_us": 12.0, "hbm_efficiency": 0.85}),
    "kernels.prefill_attention": (prefill_table, {"floor_us": 13.0, "mfu": 0.6, "half_length_tokens": 900.0}),
    "kernels.moe": (moe_table, {"floor_us": 40.0, "hbm_efficiency": 0.75, "mfu": 0.4}),
    "link": (link_table, {"latency_tp2_us": 4.0, "gb_per_s_tp2": 250.0, "latency_tp4_us": 12.0, "gb_per_s_tp4": 3.0}),
}


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """A folder laid out like the unpacked wheel; pickles stand in for parquet, so that pyarrow is not needed."""
    monkeypatch.setattr(pd, "read_parquet", pd.read_pickle)
    info = tmp_path / "aiconfigurator_core-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: aiconfigurator-core\nVersion: 9.9\n")
    for name, (table, _) in TABLES.items():
        op, file, _ = fit_kernels.KERNELS[name]
        for version, factor in (("0.24.0", 1), ("0.9.0", 7)):
            folder = tmp_path / f"aiconfigurator_core/systems/data/my_gpu_sxm/{op}/vllm/{version}"
            folder.mkdir(parents=True, exist_ok=True)
            table().assign(latency=lambda t, factor=factor: factor * t.latency).to_pickle(folder / f"{file}.parquet")
    (tmp_path / "my_gpu.toml").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize("name", TABLES)
def test_planted_constants_come_back(name):
    table, planted = TABLES[name]
    fits = fit_kernels.KERNELS[name][2](table(), SHEET)
    fits = [fits] if isinstance(fits, fit_kernels.Fit) else list(fits)
    assert {k: v for fit in fits for k, v in fit.constants.items()} == pytest.approx(planted, rel=0.02)
    assert all(0.002 < fit.error < 0.02 for fit in fits)


def test_the_least_skewed_routing_is_the_one_fitted():
    table = moe_table().replace({"distribution": {"balanced": "power_law_1.01", "power_law_1.01": "power_law_1.2"}})
    assert fit_kernels.moe(table, SHEET).constants == pytest.approx(TABLES["kernels.moe"][1], rel=0.02)


def test_file_keeps_what_is_not_refitted(unpacked):
    out = unpacked / "out.toml"
    assert fit_kernels.main([str(unpacked / "my_gpu.toml"), "--tables", str(unpacked), "--out", str(out)]) == 0
    text = out.read_text()
    written = tomllib.loads(text)
    assert [line for line in FILE.splitlines() if '"old"' not in line and line not in text.splitlines()] == []
    assert written["link"]["eager_latency_us"] == {"value": 21.5, "source": "kept"}
    for name, (_, planted) in TABLES.items():
        section = written["link"] if name == "link" else written["kernels"][name.partition(".")[2]]
        assert {key: section[key]["value"] for key in planted} == pytest.approx(planted, rel=0.02)
    source = written["kernels"]["gemm"]["mfu"]["source"]
    assert source.startswith(
        "aiconfigurator-core 9.9 (PyPI), vllm 0.24.0, bf16 rows of gemm_perf: least mean |log error|"
    )
    assert " over 54 kernels, mean |log error| 0.00" in source


def test_check_prints_the_difference(unpacked, capsys):
    assert fit_kernels.main([str(unpacked / "my_gpu.toml"), "--tables", str(unpacked), "--check"]) == 0
    rows = {row.split()[0]: row.split()[1:] for row in capsys.readouterr().out.splitlines()}
    refit, old, shift = rows["kernels.gemm.floor_us"]
    assert (float(old), shift) == (5.0, f"{float(refit) / 5.0 - 1:.1%}")
    assert rows["kernels.moe.mfu"][1:] == ["-", "-"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-gpu", "--tables", "DIR"], "no-such-gpu.toml: FileNotFoundError"),
        (["h100-sxm", "--tables", "DIR/aiconfigurator_core"], "no aiconfigurator-core unpacked in"),
        (["h100-sxm", "--tables", "DIR"], "no gemm_perf of h100-sxm, vllm (any version)"),
        (["DIR/my_gpu.toml", "--tables", "DIR", "--version", "0.1"], "no gemm_perf of my_gpu, vllm 0.1"),
        (["DIR/empty.toml", "--tables", "DIR"], "empty.toml: KeyError: 'peak_tflops'"),
        (["DIR/my_gpu.toml", "--tables", "DIR", "--out", "DIR/none/out.toml"], "No such file or directory"),
    ],
)
def test_wrong_input_is_one_line_and_2(unpacked, capsys, arguments, message):
    (unpacked / "empty.toml").write_text("")
    assert fit_kernels.main([argument.replace("DIR", str(unpacked)) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="k"), "KeyError"),
        (lambda t: t[t.gemm_dtype == "fp8"], "no rows left after the filter"),
    ],
)
def test_wrong_table_is_one_line_and_2(unpacked, capsys, change, message):
    path = unpacked / "aiconfigurator_core/systems/data/my_gpu_sxm/gemm/vllm/0.24.0/gemm_perf.parquet"
    change(pd.read_pickle(path)).to_pickle(path)
    assert fit_kernels.main([str(unpacked / "my_gpu.toml"), "--tables", str(unpacked)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"fit_kernels: {path}: ")
    assert message in err
    assert err.count("\n") == 1
