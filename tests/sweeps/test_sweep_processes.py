"""Sweeps in processes of their own: killed and resumed, on eight devices."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run

from jaxroof.sweeps import stream

CHILD = [sys.executable, str(Path(__file__).with_name("sweep_child.py"))]
SWEEP = [
    "sweep", "--step-model=memory", "--vary=overheads.decode.per_layer_us=0:49:1",
    "--vary=hardware.hbm_efficiency=0.5,0.7,0.9", "--vary=overheads.prefill.base_us=0:50:10",
]  # fmt: skip


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
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    ours, summary = ended(child([*SWEEP, "--best=7", "--json"], XLA_FLAGS=flags))
    assert "chunks of 8 × 64" in summary
    code, out, _ = run([*SWEEP, "--best=7", "--json"])
    assert code == 0
    assert json.loads(ours) == json.loads(out)
