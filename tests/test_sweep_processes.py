"""Sweeps in processes of their own: killed and resumed, on eight devices, in two processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from test_bad_input import run

from jaxroof import stream

CHILD = [sys.executable, str(Path(__file__).with_name("sweep_child.py"))]
SWEEP = [
    "sweep", "--formula=h2b", "--vary=overheads.decode.per_layer_us=0:49:1", "--vary=hardware.hbm_efficiency=0.5,0.7,0.9",
    "--vary=overheads.prefill.base_us=0:50:10",
]  # fmt: skip
KEEP = ["--best=7", "--pareto=tpot_mape_pct,ttft_mape_pct", "--marginals"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """As in the child."""
    monkeypatch.setattr(stream, "BLOCK_SIZES", {"cpu": 64})


def test_killed_twenty_times_and_resumed_leaves_the_same_bytes(tmp_path):
    assert run([*SWEEP, f"--out={tmp_path}/whole.parquet"])[0] == 0
    file = tmp_path / "all.parquet"
    command = [*CHILD, "--kills", "20", str(file), *SWEEP, f"--out={file}"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    digests = done.stdout.split()
    assert digests
    assert len(set(digests)) == 1
    alone = pd.read_parquet(tmp_path / "whole.parquet")
    subprocess.run([*CHILD, *SWEEP, f"--out={file}"], check=True, capture_output=True)
    pd.testing.assert_frame_equal(pd.read_parquet(file), alone, check_exact=True)
    import hashlib

    assert hashlib.sha256(file.read_bytes()).hexdigest() == digests[0]


def test_eight_devices_give_the_bits_of_one(tmp_path):
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [*CHILD, *SWEEP, *KEEP, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "chunks of 8 × 64" in done.stderr
    code, out, _ = run([*SWEEP, *KEEP, "--json"])
    assert code == 0
    assert json.loads(done.stdout) == json.loads(out)


@pytest.mark.parametrize("keep", [[], KEEP], ids=["rows", "kept"])
def test_two_processes_give_the_bits_of_one(tmp_path, keep):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path / ("kept" if keep else "all.parquet")
    group = [f"--coordinator=127.0.0.1:{port}", "--processes=2", "--timeout=60"]
    commands = [[*CHILD, *SWEEP, *keep, f"--out={out}", *group, f"--process-id={i}"] for i in range(2)]
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    ends = [(process.communicate(timeout=120), process.returncode) for process in running]
    assert [code for _, code in ends] == [0, 0], ends
    alone = tmp_path / ("alone" if keep else "alone.parquet")
    assert run([*SWEEP, *keep, f"--out={alone}"])[0] == 0
    if keep:
        ours, theirs = (json.loads((folder / "results.json").read_text()) for folder in (out, alone))
        assert {**ours, "sweep": None} == {**theirs, "sweep": None}
        assert [path.name for path in out.glob(".part*")] == []
        return
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["shards"] == ["shard-00000.parquet", "shard-00001.parquet"]
    assert {path.name for path in out.iterdir()} == {"manifest.json", *manifest["shards"]}
    whole = pd.concat([pd.read_parquet(out / shard) for shard in manifest["shards"]], ignore_index=True)
    pd.testing.assert_frame_equal(whole, pd.read_parquet(alone), check_exact=True)
