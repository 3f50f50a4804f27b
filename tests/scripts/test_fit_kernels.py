"""The refit of the kernel constants: planted constants come back from tables of the package's layout."""

import tomllib

import numpy as np
import pandas as pd
import pytest
from operator_tables import grid, load_script, unpack

LIMITS = {f"custom_limit_mib_tp{gpus}": 8.0 for gpus in (2, 4, 8)}
SHEET = {"peak_tflops": 1000.0, "hbm_tb_per_s": 2.0, "l2_mib": 40.0, **LIMITS}
MIB = 2**20
FILE = """title = "A GPU"  # of the test

peak_tflops = { value = 1000.0, source = "data sheet" }
hbm_tb_per_s = { value = 2.0, source = "data sheet" }

[kernels.gemm]
floor_us = { value = 5.0, source = "old" }

[link]
eager_latency_us = { value = 21.5, source = "kept" }

[link.one_shot]
latency_tp2_us = { value = 1.0, source = "old" }
"""


fit_kernels = load_script("fit_kernels")
from kernel_fits import files, forms, least  # noqa: E402


def measured(table, time_us, **decoys):
    """The table with its latency [ms], 1 % of noise, and for each decoy a far slower copy that the filter must drop."""
    noise = np.random.default_rng(0).normal(0.0, 0.01, len(table))
    table = table.assign(latency=time_us / 1e3 * np.exp(noise))
    slower = [table.assign(latency=9 * table.latency, **{name: value}) for name, value in decoys.items()]
    return pd.concat([table, *slower], ignore_index=True)


def gemm_table():
    rows = [1, 2, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384]
    t = grid(gemm_dtype="bfloat16", m=rows, n=[512, 2048, 8192], k=[512, 4096, 16384])
    memory, compute = 2.0 * (t.m * t.k + t.k * t.n + t.m * t.n) / 2e6, 2.0 * t.m * t.n * t.k / 1e9 / 0.7
    one = 3.0 + np.hypot(memory / 0.9, compute)
    return measured(
        t, one.where(t.m == 1, 4.0 + np.hypot(memory / 0.8, compute)), gemm_dtype="fp8", m=32768, n=256, k=128
    )


def decode_table():
    axes = {"batch_size": [1, 16, 64, 256, 1024], "num_key_value_heads": [1, 2, 8]}
    steps = [255, 1023, 2047, 16383, 65535, 131071]
    t = grid(kv_cache_dtype="bfloat16", head_dim=128, window_size=0, step=steps, **axes)
    cache = 4.0 * t.batch_size * t.num_key_value_heads * 128 * (t.step + 1)
    cold = np.minimum(12.0 + cache / 2e6 / 0.7, 27.8 + cache / 2e6 / 0.95)
    # Repeated reads of what fits the L2 are several times faster, and tell nothing about a server's.
    warm = (cache < 40 * MIB) & (cache >= 40 * MIB / 64)
    return measured(
        t, cold.where(~warm, 1.0 + cache / 8e6), kv_cache_dtype="fp8", head_dim=64, window_size=128, step=127
    )


def prefill_table():
    axes = {"batch_size": [1, 8], "num_heads": [4, 16, 64], "isl": [16, 128, 512, 2048, 8192, 16384]}
    t = grid(kv_cache_dtype="bfloat16", head_dim=128, **axes)  # no window_size, as in the A100's
    time_us = 13.0 + 2.0 * t.batch_size * t.num_heads * 128 * t.isl**2 / 1e9 / 0.6 * (1 + 900.0 / t.isl)
    return measured(t, time_us, kv_cache_dtype="fp8", head_dim=64)


def moe_table(balanced=True):
    axes = {"num_tokens": [1, 2, 3, 4, 8, 64, 512, 4096, 16384], "inter_size": [1024, 8192], "moe_tp_size": [1, 4]}
    t = grid(moe_dtype="bfloat16", moe_ep_size=1, hidden_size=4096, topk=2, num_experts=8, **axes)
    inter = t.inter_size / t.moe_tp_size
    touched = np.minimum(8, 2 * t.num_tokens) if balanced else 8 * (1 - 0.75**t.num_tokens)
    moved = 2.0 * (touched * 3 * 4096 * inter + t.num_tokens * 2 * (2 * 4096 + 3 * inter)) / 2e6
    flops = 6.0 * t.num_tokens * 2 * 4096 * inter / 1e9
    t = t.assign(distribution="balanced" if balanced else "power_law_1.01")
    time_us = 40.0 + 1.5 * touched + np.maximum(moved / 0.75, flops / 0.4)
    return measured(t, time_us, moe_dtype="fp8", moe_ep_size=2, distribution="power_law_1.2")


def link_table():
    t = grid(
        allreduce_dtype="bfloat16", kernel_source="a_graph", num_gpus=[2, 4], message_size=[2**i for i in range(7, 27)]
    )
    size, pair = 2.0 * t.message_size / 1e3, t.num_gpus == 2
    custom = np.where(pair, 4.0 + size / 250.0, np.minimum(5.0 + size / 60.0, 9.0 + size / 180.0))
    time_us = np.where(2 * t.message_size < 8 * MIB, custom, np.where(pair, 20.0, 30.0) + size / 200.0)
    return measured(t, time_us, kernel_source="a_eager", allreduce_dtype="float32", num_gpus=16)


PLANTED = {
    "kernels.gemm": {"floor_us": 4.0, "hbm_efficiency": 0.8, "mfu": 0.7}
    | {"gemv_floor_us": 3.0, "gemv_hbm_efficiency": 0.9},
    "kernels.decode_attention": {"floor_us": 12.0, "hbm_efficiency": 0.7}
    | {"large_floor_us": 27.8, "large_hbm_efficiency": 0.95},
    "kernels.prefill_attention": {"floor_us": 13.0, "mfu": 0.6, "half_length_tokens": 900.0},
    "kernels.moe": {"floor_us": 40.0, "per_expert_us": 1.5, "hbm_efficiency": 0.75, "mfu": 0.4},
    "link.one_shot": {"latency_tp2_us": 4.0, "gb_per_s_tp2": 250.0, "latency_tp4_us": 5.0, "gb_per_s_tp4": 60.0},
    "link.two_shot": {"latency_tp4_us": 9.0, "gb_per_s_tp4": 180.0},
    "link.nccl": {"latency_tp2_us": 20.0, "gb_per_s_tp2": 200.0, "latency_tp4_us": 30.0, "gb_per_s_tp4": 200.0},
}
TABLES = {
    "kernels.gemm": gemm_table,
    "kernels.decode_attention": decode_table,
    "kernels.prefill_attention": prefill_table,
    "kernels.moe": moe_table,
    "link": link_table,
}


def fitted(name, table, sheet=SHEET):
    """Constants by the table of the hardware file, and the fits."""
    fits = files.KERNELS[name][2](table, sheet).fits
    constants = {}
    for section, fit in fits:
        constants.setdefault(section, {}).update(fit.constants)
    return constants, [fit for _, fit in fits]


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """A folder laid out like the unpacked wheel."""
    monkeypatch.setattr(pd, "read_parquet", pd.read_pickle)
    unpack(tmp_path, "my_gpu_sxm", {files.KERNELS[name][:2]: table() for name, table in TABLES.items()})
    (tmp_path / "my_gpu.toml").write_text(FILE)
    return tmp_path


def run(unpacked, *arguments):
    """The command on the folder's GPU."""
    return fit_kernels.main([str(unpacked / "my_gpu.toml"), "--tables", str(unpacked), "--l2-mib", "40", *arguments])


@pytest.mark.parametrize("name", TABLES)
def test_planted_constants_come_back(name):
    constants, fits = fitted(name, TABLES[name]())
    assert constants == {section: pytest.approx(PLANTED[section], rel=0.05) for section in constants}
    assert set(constants) == {section for section in PLANTED if section.startswith(name)}
    assert all(0.002 < least.log_error(fit.ratio) < 0.02 for fit in fits)
    assert all(abs(least.log_bias(fit.ratio)) < 0.01 for fit in fits)


def test_the_least_skewed_routing_is_the_one_fitted_with_the_experts_that_it_touches():
    constants, _ = fitted("kernels.moe", moe_table(balanced=False))
    assert constants["kernels.moe"] == pytest.approx(PLANTED["kernels.moe"], rel=0.05)


def test_without_a_custom_kernel_all_sizes_are_nccl():
    table = link_table()
    table = table.assign(latency=(25.0 + 2.0 * table.message_size / 1e3 / 3.0) / 1e3)
    constants, _ = fitted("link", table, SHEET | {"custom_limit_mib_tp4": 0.0})
    assert set(constants["link.one_shot"]) == {"latency_tp2_us", "gb_per_s_tp2"}
    assert "link.two_shot" not in constants
    assert constants["link.nccl"]["gb_per_s_tp4"] == pytest.approx(3.0, rel=0.02)


def test_regimes_hold_every_row_once():
    for name, at_least in (("kernels.gemm", 6), ("kernels.decode_attention", 5)):
        table = TABLES[name]()
        fits = files.KERNELS[name][2](table, SHEET)
        kept = table[table.gemm_dtype == "bfloat16"] if name == "kernels.gemm" else forms.full_attention(table)
        kept = kept[kept.m <= 16384] if name == "kernels.gemm" else kept[kept.step >= 255]
        kept = kept[kept[["n", "k"]].min(axis=1) >= 512] if name == "kernels.gemm" else kept
        assert sum(map(len, fits.regimes.values())) == len(kept)
        assert len(fits.regimes) >= at_least


def test_file_keeps_what_is_not_refitted(unpacked):
    out = unpacked / "out.toml"
    assert run(unpacked, "--out", str(out)) == 0
    text = out.read_text()
    written = tomllib.loads(text)
    assert [line for line in FILE.splitlines() if '"old"' not in line and line not in text.splitlines()] == []
    assert written["link"]["eager_latency_us"] == {"value": 21.5, "source": "kept"}
    for name, planted in PLANTED.items():
        section = written[name.partition(".")[0]][name.partition(".")[2]]
        assert {key: section[key]["value"] for key in planted} == pytest.approx(planted, rel=0.05)
    source = written["kernels"]["gemm"]["mfu"]["source"]
    assert source.startswith(
        "aiconfigurator-core 9.9 (PyPI), vllm 0.24.0, bf16 rows of gemm_perf, m ≥ 256: least mean |log error|"
    )
    assert " over 45 kernels, mean |log error| 0.00" in source
    assert ", bias " in source


def test_check_prints_the_difference(unpacked, capsys):
    assert run(unpacked, "--check") == 0
    constants, regimes = capsys.readouterr().out.split("\n\n")
    rows = {row.split()[0]: row.split()[1:] for row in constants.splitlines()}
    refit, old, shift = rows["kernels.gemm.floor_us"]
    assert (float(old), shift) == (5.0, f"{float(refit) / 5.0 - 1:.1%}")
    assert rows["kernels.moe.mfu"][1:] == ["-", "-"]
    head, *table = (row.rsplit(maxsplit=4) for row in regimes.splitlines())
    assert head[2:] == ["error|", "bias", "median"]
    held = {name: (int(count), float(error)) for name, count, error, *_ in table}
    assert held["kernels.gemm, m 1"][0] == 9
    assert held["link, T = 4, custom"] == (15, pytest.approx(0.01, abs=0.01))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-gpu", "--tables", "DIR"], "no-such-gpu.toml: FileNotFoundError"),
        (["h100-sxm", "--tables", "DIR/aiconfigurator_core"], "no aiconfigurator-core unpacked in"),
        (["h100-sxm", "--tables", "DIR"], "no gemm_perf of h100-sxm, vllm (any version)"),
        (
            ["DIR/my_gpu.toml", "--tables", "DIR", "--l2-mib", "9", "--version", "0.1"],
            "no gemm_perf of my_gpu, vllm 0.1",
        ),
        (["DIR/my_gpu.toml", "--tables", "DIR"], "my_gpu.toml: the L2's size is not known: --l2-mib"),
        (["DIR/empty.toml", "--tables", "DIR"], "empty.toml: KeyError: 'peak_tflops'"),
        (
            ["DIR/my_gpu.toml", "--tables", "DIR", "--l2-mib", "40", "--out", "DIR/none/out.toml"],
            "No such file or directory",
        ),
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
    assert run(unpacked) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"fit_kernels: {path}: ")
    assert message in err
    assert err.count("\n") == 1
