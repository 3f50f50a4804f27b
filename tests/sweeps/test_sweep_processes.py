"""Sweeps in processes of their own: killed and resumed, on eight devices, in two processes."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_line import run

from jaxroof.sweeps import stream

CHILD = [sys.executable, str(Path(__file__).with_name("sweep_child.py"))]
SWEEP = [
    "sweep", "--step-model=memory", "--vary=overheads.decode.per_layer_us=0:49:1",
    "--vary=hardware.hbm_efficiency=0.5,0.7,0.9", "--vary=overheads.prefill.base_us=0:50:10",
]  # fmt: skip
KEEP = ["--best=7", "--pareto=tpot_mape_pct,ttft_mape_pct", "--marginals"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """As in the child."""
    monkeypatch.setattr(stream, "BLOCK_SIZES", {"cpu": 64})


@pytest.fixture
def child():
    """Start a child."""

    def start(arguments, **environment):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*CHILD, *arguments], env=os.environ | environment, **pipes)

    return start


def ended(process):
    """What a child printed; it must succeed."""
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out, err


def test_killed_twenty_times_and_resumed_leaves_the_same_bytes(child, tmp_path):
    file = tmp_path / "all.parquet"
    ended(child([*SWEEP, f"--out={file}"]))
    whole = hashlib.sha256(file.read_bytes()).hexdigest()
    file.unlink()
    out, _ = ended(child(["--kills", "20", str(file), *SWEEP, f"--out={file}"]))
    assert set(out.split()) == {whole}


def test_eight_devices_give_the_bits_of_one(child):
    ours, summary = ended(child([*SWEEP, "--best=7", "--json"], XLA_FLAGS="--xla_force_host_platform_device_count=8"))
    assert "chunks of 8 × 64" in summary
    code, out, _ = run([*SWEEP, "--best=7", "--json"])
    assert code == 0
    assert json.loads(ours) == json.loads(out)


def test_two_processes_give_the_bits_of_one(child, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rows, kept = [*SWEEP, f"--out={tmp_path}/rows.parquet"], [*SWEEP, *KEEP, f"--out={tmp_path}/kept"]
    group = [f"--coordinator=127.0.0.1:{port}", "--processes=2", "--timeout=60"]
    for end in [child([*rows, *group, me, "--then", *kept, *group, me]) for me in ("--process-id=0", "--process-id=1")]:
        ended(end)
    assert run([*SWEEP, f"--out={tmp_path}/alone.parquet"])[0] == 0
    out = run([*SWEEP, *KEEP, "--json"])[1]
    results = json.loads((tmp_path / "kept/results.json").read_text())
    assert {key: value for key, value in results.items() if key != "sweep"} == json.loads(out)
    assert list((tmp_path / "kept").glob(".part*")) == []
    folder = tmp_path / "rows.parquet"
    shards = json.loads((folder / "manifest.json").read_text())["shards"]
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *shards}
    whole = pd.concat([pd.read_parquet(folder / shard) for shard in shards], ignore_index=True)
    pd.testing.assert_frame_equal(whole, pd.read_parquet(tmp_path / "alone.parquet"), check_exact=True)
