"""The fits of narrow kernels: planted constants come back from tables of the package's layout, and ranges of all."""

import tomllib

import numpy as np
import pandas as pd
import pytest
from test_fit_kernels import SHEET, gemm_table, grid, run, unpacked  # noqa: F401

from kernel_fits import forms, least, narrow  # isort: skip  (test_fit_kernels puts scripts/ on the path)

NARROW = SHEET | {"fp8_tflops": 2000.0}


def noisy(table, time_us):
    return table.assign(latency=time_us / 1e3 * np.exp(np.random.default_rng(0).normal(0.0, 0.01, len(table))))


def fp8_gemms():
    rows = [1, 2, 8, 32, 64, 128, 160, 256, 384, 512, 768, 1024, 4096, 16384]
    t = grid(gemm_dtype="fp8", m=rows, n=[512, 2048, 8192], k=[512, 4096, 16384])
    memory = (t.k * t.n + t.m * t.k + 2.0 * t.m * t.n) / 2e6
    compute = 2.0 * t.k * (t.m * t.n + 4e5 + 6e5 * np.minimum(t.m / 256, 1)) / 2e9 / 0.6
    several = 6.0 + np.hypot(memory / 0.85, compute)
    return noisy(t, 8.0 * t.m * t.k / 2e6 + several.where(t.m > 1, 9.0 + np.hypot(memory / 0.7, compute)))


def fp8_experts():
    axes = {"num_tokens": [1, 4, 16, 64, 128, 512, 1024, 2048, 8192, 16384], "inter_size": [1024, 8192]}
    axes |= {"num_experts": [8, 32, 128], "moe_tp_size": [1, 4]}
    t = grid(moe_dtype="fp8", moe_ep_size=1, hidden_size=4096, topk=2, distribution="balanced", **axes)
    inter, touched = t.inter_size / t.moe_tp_size, np.minimum(t.num_experts, 2 * t.num_tokens)
    numbers = 2 * t.num_tokens * (2 * 4096 + 3 * inter)
    memory = (touched * 3 * 4096 * inter + 2 * numbers) / 2e6
    compute = 6.0 * 4096 * inter * (2 * t.num_tokens + 30.0 * touched) / 2e9
    time_us = 40.0 + 0.8 * touched + 4.0 * numbers / 2e6 + np.hypot(memory / 0.75, compute / 0.4)
    table = noisy(t, time_us).assign(kernel_source="a")
    # Fewer rows of another kernel, and experts that are not gated.
    other = table[table.num_tokens > 64].assign(kernel_source="b", latency=9 * table.latency)
    return pd.concat([table, other, other.assign(kernel_source="a_nongated")], ignore_index=True)


def fp8_caches():
    axes = {"batch_size": [1, 16, 64, 256, 1024], "num_key_value_heads": [1, 2, 8]}
    steps = [255, 511, 1023, 2047, 16383, 65535, 131071]
    t = grid(kv_cache_dtype="fp8", head_dim=128, num_heads=32, window_size=0, step=steps, **axes)
    cache = 2.0 * t.batch_size * t.num_key_value_heads * 128 * (t.step + 1 + 200.0)
    return noisy(t, np.minimum(12.0 + cache / 2e6 / 0.7, 27.8 + cache / 2e6 / 0.95))


def constants(fits):
    return {key: value for _, fit in fits.fits for key, value in fit.constants.items()}


def test_planted_products():
    planted = {"floor_us": 6.0, "hbm_efficiency": 0.85, "mfu": 0.6, "input_pass_bytes": 8.0, "wave_outputs": 4e5}
    planted |= {"tall_wave_outputs": 6e5, "gemv_floor_us": 9.0, "gemv_hbm_efficiency": 0.7}
    fits = narrow.gemm(fp8_gemms(), NARROW, narrow.FP8)
    assert constants(fits) == pytest.approx(planted, rel=0.08)
    assert all(abs(least.log_bias(ratio)) < 0.01 for ratio in fits.regimes.values())


def test_planted_experts_of_the_kernel_with_most_rows():
    planted = {"floor_us": 40.0, "per_expert_us": 0.8, "hbm_efficiency": 0.75, "mfu": 0.4, "input_pass_bytes": 4.0}
    fits = narrow.moe(fp8_experts(), NARROW, narrow.FP8)
    found = constants(fits)
    assert found.pop("tile_rows") == pytest.approx(30.0, rel=0.3)  # few rows tell it from the floor per expert
    assert found == pytest.approx(planted | {"smoothness": 1.0}, rel=0.08)


def test_planted_lines_of_an_fp8_cache():
    planted = {"floor_us": 12.0, "hbm_efficiency": 0.7, "large_floor_us": 27.8, "large_hbm_efficiency": 0.95}
    fits = narrow.decode_attention(fp8_caches(), NARROW)
    assert constants(fits) == pytest.approx(planted | {"half_tile_tokens": 200.0}, rel=0.08)


def test_a_range_is_how_far_a_constant_moves_among_the_shapes():
    table = gemm_table()
    alike = forms.gemm(table, SHEET).fits[0][1]
    assert all(0.9 < low <= 1 <= high < 1.1 for low, high in alike.ranges.values())
    spread = 2.0 ** (np.arange(len(table)) // len(set(table.m)) % 3 - 1.0)
    slower = forms.gemm(table.assign(latency=table.latency * (1 + 0.2 * spread * (table.n == 8192))), SHEET).fits[0][1]
    assert slower.ranges["floor_us"][1] > alike.ranges["floor_us"][1]


def test_kept_values_have_ranges_and_the_rest_is_new(unpacked):  # noqa: F811
    out = unpacked / "out.toml"
    assert run(unpacked, "--keep", "--out", str(out)) == 0
    gemm = tomllib.loads(out.read_text())["kernels"]["gemm"]
    assert (gemm["floor_us"]["value"], gemm["floor_us"]["source"]) == (5.0, "old")
    assert gemm["floor_us"]["low"] <= 5.0 <= gemm["floor_us"]["high"]
    assert "5 % and 95 %" in gemm["floor_us"]["range_source"]
    assert 0 < gemm["mfu"]["low"] <= gemm["mfu"]["value"] <= gemm["mfu"]["high"] <= 1


def test_a_server_file_takes_them_as_its_engines(unpacked, capsys):  # noqa: F811
    server = unpacked / "server.toml"
    server.write_text('title = "An engine"\n')
    arguments = ["--only", "kernels.moe", "--server", str(server), "--out", str(server)]
    assert run(unpacked, *arguments) == 0
    written = tomllib.loads(server.read_text())
    assert written["title"] == "An engine"
    assert written["gpu"]["my_gpu"]["kernels"]["moe"]["mfu"]["value"] == pytest.approx(0.4, rel=0.05)
    assert run(unpacked, "--only", "kernels.nothing") == 2
    assert capsys.readouterr().err.startswith("fit_kernels: --only kernels.nothing: must be of kernels.gemm, ")
