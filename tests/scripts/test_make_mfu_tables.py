"""MFU tables of planted kernels: the ``roofline`` step time takes the planted times."""

import numpy as np
import pandas as pd
import pytest
from operator_tables import grid, load_script, unpack

from jaxroof.catalogue.load import load_tier0
from jaxroof.catalogue.mfu_tables import load_mfu_tables
from jaxroof.parameters import Architecture, Deployment, Layers, put
from jaxroof.step import Batch, Requests
from jaxroof.step.roofline import roofline

make_mfu_tables = load_script("make_mfu_tables")
PEAK = 1e9  # [FLOP/us]
FILE = "".join(f'{key} = {{ value = {value}, source = "x" }}\n' for key, value in
               {"peak_tflops": 1000.0, "hbm_tb_per_s": 1e6}.items())  # fmt: skip
LENGTHS = [255, 1023, 4095]


def gemm_us(m, k, n):
    return 4.0 + k * n / 1e6 + 2 * m * k * n / PEAK / 0.7


def prefill_us(heads, s):
    return 10.0 + 2 * heads * 128 * s**2 / PEAK / 0.5


def decode_us(batch, kv_heads, length):
    return 12.0 + 4 * batch * kv_heads * 128 * length / 2e6


def tables():
    """Products; prompts and batches, of 8 query heads on 2 KV heads, say. 8 KV heads were measured at prefill only."""
    gemm = grid(gemm_dtype=["bfloat16", "fp8"], m=[1, 8, 64, 512, 4096], k=[256, 1024, 4096], n=[1024, 4096])
    gemm = gemm.assign(latency=gemm_us(gemm.m, gemm.k, gemm.n) / 1e3)
    gemm.loc[gemm.gemm_dtype == "fp8", "latency"] /= 2
    own = {"kv_cache_dtype": ["bfloat16", "fp8"], "head_dim": 128, "window_size": [0, 128]}
    heads = pd.DataFrame({"num_heads": [8, 4, 8, 8, 2], "num_key_value_heads": [2, 1, 8, 1, 2]})
    prefill = grid(**own, batch_size=[1, 4], isl=[1, 512, 2048, 8192]).merge(heads, how="cross")
    prefill = prefill.assign(latency=prefill.batch_size * prefill_us(prefill.num_heads, prefill.isl) / 1e3)
    decode = grid(**own, batch_size=[1, 4, 16], step=LENGTHS).merge(heads[heads.num_key_value_heads < 8], how="cross")
    decode = decode[(decode.batch_size < 16) | (decode.step < 4095)]
    times = decode_us(decode.batch_size, decode.num_key_value_heads, decode.step + 1)
    decode = decode.assign(latency=times / 1e3)
    for table in (prefill, decode):
        table.loc[(table.kv_cache_dtype == "fp8") | (table.window_size > 0), "latency"] /= 2
    slower = decode.iloc[:3].assign(latency=1.0)
    return {
        ("gemm", "gemm_perf"): gemm,
        ("attention", "context_attention_perf"): prefill,
        ("attention", "generation_attention_perf"): pd.concat([decode, slower]),
    }


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """A folder laid out like the unpacked wheel, and a GPU of 1000 TFLOP/s whose bandwidth does not bind."""
    monkeypatch.setattr(pd, "read_parquet", pd.read_pickle)
    unpack(tmp_path, "my_gpu_sxm", tables())
    (tmp_path / "my_gpu.toml").write_text(FILE)
    return tmp_path


def make(folder, *options):
    """The command on the folder's GPU."""
    arguments = [str(folder / "my_gpu.toml"), "--tables", str(folder), "--out", str(folder / "mfu"), *options]
    return make_mfu_tables.main(arguments)


def test_files_are_of_shapes_that_both_phases_were_measured_for(unpacked, capsys):
    assert make(unpacked) == 0
    found = {str(path.relative_to(unpacked / "mfu")) for path in (unpacked / "mfu").rglob("*.*")}
    degrees = {"8-2-128": (1, 2), "4-1-128": (1,), "8-1-128": (1, 2), "2-2-128": (1,), "8-8-128": (1, 2, 4)}
    wanted = {f"mha/prefill/my_gpu/{shape}.csv" for shape in degrees}
    wanted |= {f"mha/decode/my_gpu/{shape}-tp{tp}.csv" for shape, tps in degrees.items() for tp in tps}
    assert found == wanted | {"gemm/my_gpu/data.csv", "SOURCES.txt"}
    assert capsys.readouterr().out == f"{unpacked}/mfu: 15 tables\n{(unpacked / 'mfu/SOURCES.txt').read_text()}"
    assert (
        "decode: aiconfigurator-core 9.9 (PyPI), vllm 0.24.0, bf16 rows of generation_attention_perf\n"
        in (unpacked / "mfu/SOURCES.txt").read_text()
    )


def request(context, new):
    """One, of these tokens."""
    return Requests(*np.array([[context], [new], [1.0]]))


@pytest.mark.parametrize(("kv_heads", "tp"), [(2.0, 1.0), (2.0, 2.0), (8.0, 1.0), (8.0, 4.0)])
def test_roofline_takes_the_measured_times(unpacked, kv_heads, tp):
    """Of two layers. 8 KV heads on a GPU, which were not measured, are those of 4 requests with 2."""
    make(unpacked)
    constants = {
        "hardware.mfu": load_mfu_tables(unpacked / "mfu", "my_gpu"),
        "hardware.peak_flops_per_s": np.float64(1e15),
        "hardware.hbm_bytes_per_s": np.float64(1e18),  # bytes never bind
    }
    tier0 = put(load_tier0(overheads="none"), constants)
    layers = Layers([2.0], [8.0], [kv_heads], [128.0], intermediate_size=[4096.0])
    arch, none = Architecture(1024.0, 32000.0, layers), Requests(*np.zeros((3, 0)))
    kv = int(kv_heads) * 128
    products = [(1024, 1024), (1024, kv), (1024, kv), (1024, 1024), (1024, 4096), (1024, 4096), (4096, 1024)]

    def gemms_us(m):
        """Where the next larger product was measured, its MFU at the row's own FLOPs."""
        return sum(gemm_us(m, k, max(n, 1024)) * n / max(n, 1024) for k, n in products)

    def step_us(*batch):
        return float(roofline(Batch(*batch), arch, Deployment(tp), tier0).total_s) * 1e6

    decode = gemms_us(1) / tp + decode_us(1, kv_heads / tp, 4096)
    assert step_us(none, request(4096.0, 1.0)) == pytest.approx(2 * decode, rel=1e-5)
    prefill = (gemms_us(512) + prefill_us(8, 512)) / tp
    assert step_us(request(0.0, 512.0), none) == pytest.approx(2 * prefill, rel=1e-5)


def test_large_batches_keep_their_last_mfu(unpacked):
    """At contexts that they were not measured at, without a latency."""
    make(unpacked)
    table = pd.read_csv(unpacked / "mfu/mha/decode/my_gpu/8-2-128-tp1.csv").set_index(["batch_size", "kv_len"])
    assert len(table) == 9
    assert table.latency_us.isna().sum() == 1
    assert table.mfu[16, 4096] == table.mfu[16, 1024]
    assert table.latency_us[1, 256] == pytest.approx(decode_us(1, 2, 256), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--version", "0.1"], "no gemm_perf of my_gpu, vllm 0.1"),
        (["--framework", "sglang"], "no gemm_perf of my_gpu, sglang (any version)"),
        (["--tables", "DIR/none"], "no aiconfigurator-core unpacked in"),
        (["--out", "DIR/none/mfu"], "No such file or directory"),
        (["--out", "DIR"], "DIR: is there"),
    ],
)
def test_wrong_input_is_one_line_and_2(unpacked, capsys, options, message):
    before = sorted(unpacked.rglob("*"))
    assert make(unpacked, *(option.replace("DIR", str(unpacked)) for option in options)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("make_mfu_tables: ")
    assert message.replace("DIR", str(unpacked)) in err
    assert sorted(unpacked.rglob("*")) == before


@pytest.mark.parametrize(
    ("op", "change", "message"),
    [
        ("gemm/vllm/0.24.0/gemm_perf", lambda t: t.drop(columns="k"), "KeyError"),
        ("gemm/vllm/0.24.0/gemm_perf", lambda t: t[t.gemm_dtype == "fp8"], "no rows left after the filter"),
        ("attention/vllm/0.24.0/generation_attention_perf", lambda t: t.assign(head_dim=64), "no shape of "),
    ],
)
def test_wrong_table_is_one_line_and_2(unpacked, capsys, op, change, message):
    path = unpacked / f"aiconfigurator_core/systems/data/my_gpu_sxm/{op}.parquet"
    change(pd.read_pickle(path)).to_pickle(path)
    assert make(unpacked) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"make_mfu_tables: {path}: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (unpacked / "mfu").exists()
