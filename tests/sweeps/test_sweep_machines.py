"""One sweep on several machines: shards and what joins them, Dask workers that are lost, one sweep per output."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import psutil
import pytest
from command_line import refused, run

from jaxroof.commands import sweep_cluster
from jaxroof.sweeps import stream

CHILD = [sys.executable, str(Path(__file__).with_name("sweep_child.py"))]
SWEEP = [
    "sweep", "--step-model=memory", "--vary=overheads.decode.per_layer_us=0:49:1", "--vary=formula=h2b,none",
    "--vary=hardware.hbm_efficiency=0.5,0.7,0.9", "--vary=overheads.prefill.base_us=0:150:10",
]  # fmt: skip
KEEP = ["--best=7", "--pareto=tpot_mape_pct,ttft_mape_pct", "--marginals"]
FEW = ["sweep", "--step-model=memory", "--vary=overheads.decode.base_us=0:200:1", "--vary=formula=h2b,none"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """As in the child."""
    monkeypatch.setattr(stream, "BLOCK_SIZES", {"cpu": 64})
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All rows, by one process."""
    file = tmp_path_factory.mktemp("whole") / "all.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BLOCK_SIZES", {"cpu": 64})
        assert run([*SWEEP, f"--out={file}"])[0] == 0
    return file.read_bytes()


@pytest.fixture
def child():
    """Start a child; no process of its tree is left afterwards."""
    started = []

    def start(*arguments):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([*CHILD, *map(str, arguments)], start_new_session=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        for each in tree(process):
            each.kill()
        process.communicate()


def tree(process):
    """A child and all that it started."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def workers(process):
    """The processes of its workers."""
    return [each for each in tree(process)[1:] if any("spawn_main" in word for word in each.cmdline())]


def until(process, condition):
    """Wait for something that happens while the process runs."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def files_of(folder):
    """Contents by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(("keep", "precision"), [([], "f64"), (KEEP, "f32")], ids=["rows", "kept"])
def test_shards_that_are_joined_give_the_bytes_of_one_process(tmp_path, keep, precision):
    sweep, folder = [*FEW, *keep, f"--precision={precision}"], tmp_path / "shards"
    alone = tmp_path / ("alone" if keep else "all.parquet")
    code, printed, _ = run([*sweep, f"--out={alone}"])
    assert code == 0
    for index in (2, 0, 1):
        assert run([*sweep, f"--out={folder}", f"--shard={index}/3"])[:2] == (0, "")
    shards = set(files_of(folder))
    code, out, err = run(["sweep", f"--join={folder}"])
    assert (code, out) == (0, printed), err
    expected = files_of(alone) if keep else {"all.parquet": alone.read_bytes()}
    assert {name: data for name, data in files_of(folder).items() if name not in shards} == expected
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    target = folder / ("results.json" if keep else "all.parquet")
    refused(tmp_path, ["sweep", f"--join={folder}"], f"{target}: --out: is there already; --force overwrites it")
    assert run(["sweep", f"--join={folder}", "--force"])[0] == 0


@pytest.mark.parametrize("keep", [[], ["--best=2"]], ids=["rows", "kept"])
def test_more_shards_than_chunks(tmp_path, keep):
    sweep = [*FEW[:2], "--vary=overheads.decode.base_us=0:99:1", *keep]
    idle = "jaxroof: note: this shard has nothing to do: 3 shards, and chunks of the sweep: 2\n"
    said = [run([*sweep, f"--out={tmp_path}", f"--shard={index}/3"]) for index in range(3)]
    assert [(code, idle in err) for code, _, err in said] == [(0, True), (0, False), (0, False)]
    assert run(["sweep", f"--join={tmp_path}"])[0] == 0
    alone = tmp_path / ("alone" if keep else "alone.parquet")
    assert run([*sweep, f"--out={alone}"])[0] == 0
    mine, theirs = (tmp_path / "best.csv", alone / "best.csv") if keep else (tmp_path / "all.parquet", alone)
    assert mine.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("keep", [[], ["--best=2"]], ids=["rows", "kept"])
def test_shards_that_do_not_make_one_sweep(tmp_path, monkeypatch, keep):
    shard = [*FEW, *keep, f"--out={tmp_path}"]
    assert run([*shard, "--shard=1/4"])[0] == 0
    says = f"--join: {tmp_path}: of 4 shards some are not there or not finished: 0, 2, 3\n"
    refused(tmp_path, ["sweep", f"--join={tmp_path}"], says)
    code, _, err = run([*shard, "--shard=1/4", "--resume"])
    assert (code, err.endswith("is complete\n")) == (0, True)
    other = f"--join: {tmp_path}/shard-00002-of-00004.{'npz' if keep else 'parquet'}: is no shard of the sweep of "
    assert run([*shard, "--shard=2/4", "--set=server.per_step_us=1"])[0] == 0
    refused(tmp_path, ["sweep", f"--join={tmp_path}"], other)
    monkeypatch.setattr(stream, "BLOCK_SIZES", {"cpu": 128})
    assert run([*shard, "--shard=2/4", "--force"])[0] == 0
    refused(tmp_path, ["sweep", f"--join={tmp_path}"], f"{other}shard-00001-of-00004")
    assert "block differs" in run(["sweep", f"--join={tmp_path}"])[2]
    for damaged in tmp_path.glob("shard-00001*"):
        damaged.write_bytes(damaged.read_bytes()[:99])
        refused(tmp_path, ["sweep", f"--join={tmp_path}"], f"--join: {damaged}: is damaged, or not under its name")


def test_shards_of_what_has_changed_since(tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("overheads.decode.base_us\n1\n2\n")
    assert (
        run(["sweep", "--step-model=memory", f"--points={points}", "--best=1", f"--out={tmp_path}", "--shard=0/1"])[0]
        == 0
    )
    points.write_text("overheads.decode.base_us\n1\n3\n")
    refused(tmp_path, ["sweep", f"--join={tmp_path}"], f"--join: {tmp_path}: what the sweep was made from has changed")


def test_lost_workers_are_replaced_and_nothing_listens_beyond_this_machine(child, tmp_path, whole):
    file = tmp_path / "all.parquet"
    process = child(*SWEEP, "--scheduler=local:2", f"--out={file}")
    for chunks in (4, 40):
        until(process, (tmp_path / f"all.parquet.part/chunk-{chunks:08}.parquet").exists)
        process.send_signal(signal.SIGSTOP)  # it must not end meanwhile
        ports = [each.net_connections(kind="inet") for each in tree(process)]
        addresses = {port.laddr.ip for each in ports for port in each if port.status == psutil.CONN_LISTEN}
        assert addresses == {"127.0.0.1"}
        workers(process)[0].kill()
        process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out, err.count("\n")) == (0, "", 1), err
    assert file.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [file]


def test_a_killed_client_goes_on_to_the_same_bytes(child, tmp_path):
    sweep = [*SWEEP, *KEEP[:1]]
    assert run([*sweep, f"--out={tmp_path}/alone"])[0] == 0
    sweep += [f"--out={tmp_path}/kept", "--resume"]
    process = child(*sweep, "--scheduler=local:2")
    until(process, (tmp_path / "kept/.part/state.npz").exists)
    started = tree(process)
    process.kill()
    assert psutil.wait_procs(started[1:], timeout=20)[1] == []
    process = child(*sweep, "--scheduler=local:1")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert files_of(tmp_path / "kept") == files_of(tmp_path / "alone")


def test_interrupted_from_the_keyboard(child, tmp_path):
    process = child(*SWEEP, "--scheduler=local:1", f"--out={tmp_path}/all.parquet")
    until(process, lambda: list(tmp_path.glob("*.part/chunk-*")))
    started = tree(process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "jaxroof: interrupted; --resume goes on\n")
    assert psutil.wait_procs(started, timeout=20)[1] == []


def test_a_second_sweep_on_an_output_is_refused(child, tmp_path):
    file = tmp_path / "all.parquet"
    sweep = [*FEW[:2], "--vary=overheads.decode.base_us=0:200:0.01", f"--out={file}"]
    process = child(*sweep)
    until(process, lambda: list(tmp_path.glob("*.part/chunk-*")))
    process.send_signal(signal.SIGSTOP)
    for option in ([], ["--force"], ["--resume"]):
        holder = f"process {process.pid} on {os.uname().nodename}, since "
        refused(tmp_path, [*sweep, *option], f"{file}.part: --out: is another sweep's, which runs: {holder}")
    process.kill()
    process.wait()
    assert run([*FEW, f"--out={file}", "--force"])[0] == 0
    assert list(tmp_path.iterdir()) == [file]


def test_without_dask(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_cluster.importlib.util, "find_spec", lambda name: None)
    says = "--scheduler: local:2: needs Dask: pip install 'jaxroof[cluster]'"
    refused(tmp_path, [*FEW, "--best=1", "--scheduler=local:2"], says)
