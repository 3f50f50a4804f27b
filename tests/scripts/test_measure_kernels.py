"""Timing a GPU's kernels: what is timed computes what it should, and rows say where they are from. Needs torch."""

import contextlib
import csv
import itertools
import math
import sys
from types import SimpleNamespace

import pytest
from operator_tables import load_script

measure_kernels = load_script("measure_kernels")
from kernel_timings.case import Case  # noqa: E402


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "gemm,sorts"], "--only sorts: must be of sort, draw, penalties, gemm, attention"),
        (["--repeats", "0"], "--repeats 0: must be at least 1"),
        (["--out", "nowhere/measured.csv"], "--out nowhere/measured.csv: must be a file in a folder that is there"),
        ([], "torch cannot be imported ("),
    ],
)
def test_wrong_input_and_a_missing_torch_are_one_line(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert measure_kernels.main(["--out", str(tmp_path / "measured.csv"), *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"measure_kernels: {words}")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "cuda:4"], "--device cuda:4: torch "),
        (["--device", "tpu"], "--device tpu: must be cuda, cuda:N or cpu"),
        (["--device", "cpu", "--hardware", "none.toml"], "none.toml: FileNotFoundError: "),
    ],
)
def test_wrong_device_is_one_line(torch, options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert measure_kernels.main(["--out", str(tmp_path / "measured.csv"), *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"measure_kernels: {words}")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_device_has_an_index(torch, monkeypatch, tmp_path):
    """Which torch.cuda.set_device asks for."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for given, index in (([], 0), (["--device", "cuda:1"], 1)):
        args = measure_kernels.parse(["--out", str(tmp_path / "measured.csv"), *given])
        measure_kernels.check(args)
        assert args.device == torch.device("cuda", index)


def test_smoke_on_a_cpu_writes_marked_rows(torch, tmp_path, capsys):
    path = tmp_path / "measured.csv"
    assert measure_kernels.main(["--device", "cpu", "--repeats", "2", "--out", str(path)]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["measured.csv"]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert capsys.readouterr().out == f"{path}: {len(rows)} rows\n"
    assert tuple(rows[0]) == measure_kernels.COLUMNS
    names = {"sort", "top_p", "top_k_top_p", "top_k", "greedy", "draw", "min_p", "penalties", "penalty_tables", "gemm"}
    assert {row["operation"] for row in rows} == names | {"decode_attention"}
    for row in rows:
        assert (row["device"], row["torch"], row["in_graph"]) == ("cpu", torch.__version__, "no")
        assert row["note"] == measure_kernels.SMOKE
        assert row["datasheet_share"] == ""
        assert 0 < float(row["p5_us"]) <= float(row["median_us"]) <= float(row["p95_us"])


def test_what_cannot_run_is_said_and_has_no_row(torch, tmp_path, monkeypatch, capsys):
    from kernel_timings import products

    def refused(*_):
        raise RuntimeError("no such unit\nand more")

    monkeypatch.setattr(products, "fp8_product", refused)
    path = tmp_path / "measured.csv"
    arguments = ["--device", "cpu", "--repeats", "1", "--out", str(path)]
    assert measure_kernels.main([*arguments, "--only", "gemm"]) == 0
    assert "gemm m=16 n=32 k=16 dtype=fp8: left out: no such unit\n" in capsys.readouterr().err
    assert path.read_text().count("\n") == 3
    path.unlink()
    monkeypatch.setattr(torch.nn.functional, "linear", refused)
    assert measure_kernels.main([*arguments, "--only", "gemm"]) == 2
    assert capsys.readouterr().err.endswith("measure_kernels: --only gemm: nothing of it runs here\n")
    assert not path.exists()


def test_cuts_keep_what_they_should(torch):
    from kernel_timings.sampling import min_p, top_k, top_p

    logits = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.7, 0.1, 0.15, 0.05]]).log()

    def kept(cut):
        return [row.isfinite().nonzero().flatten().tolist() for row in cut]

    p = torch.tensor([0.65, 0.8])
    assert kept(top_p(logits, p)) == [[1, 3], [0, 2]]
    assert kept(top_p(logits, p, torch.tensor([1, 4]))) == [[1], [0, 2]]
    assert kept(top_k(logits.clone(), torch.tensor([3, 4]), 4)) == [[1, 2, 3], [0, 1, 2, 3]]
    assert kept(min_p(logits.clone(), torch.tensor([[0.6], [0.2]]))) == [[1, 3], [0, 2]]


def test_draws_follow_the_probabilities(torch):
    from kernel_timings.sampling import draw, greedy

    torch.manual_seed(0)
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log().mul(2).repeat(20000, 1).to(torch.bfloat16)
    drawn = torch.bincount(draw(logits, torch.full((20000,), 2.0)), minlength=3) / 20000
    assert drawn.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)
    assert set(greedy(logits).tolist()) == {1}


def test_penalties_by_hand(torch):
    """Tokens 0 and 1 in the prompt, 1 twice and 3 once in the output; 4 is padding."""
    from kernel_timings.sampling import penalised, repeated, tables

    logits = torch.tensor([[1.0, -1.0, 2.0, 3.0]])
    output = tables([[1, 3, 1]], 4, torch.device("cpu"))
    result = penalised(repeated, logits, torch.tensor([[0, 1, 4]]), output, torch.tensor([2.0]))
    assert result.tolist() == [[0.5, -2 - 2 * 2 - 2, 2.0, 1.5 - 2 - 2]]
    assert tables([[7], [1, 2]], 9, torch.device("cpu")).tolist() == [[7, 9], [1, 2]]


def test_contexts_have_their_mean_and_spread(torch):
    from kernel_timings.attention import drawn, spread

    assert drawn(4, 100, 0.0, 1) == [100] * 4
    contexts = drawn(4096, 2048, 1.0, 0)
    assert contexts == drawn(4096, 2048, 1.0, 0) != drawn(4096, 2048, 1.0, 1)
    assert sum(contexts) / 4096 == pytest.approx(2048, abs=0.1)
    assert spread(contexts) == pytest.approx(1.0, abs=0.08)


def test_padded_attention_is_each_request_alone(torch):
    from kernel_timings.attention import HEAD_DIM, QUERIES, inputs, padded

    contexts = [5, 1, 9]
    q, k, v, used, offsets, *rest = inputs(contexts, 2, None, torch.device("cpu"), 0)
    result = padded(q, k, v, used, offsets, *rest)
    for request, (start, end) in enumerate(itertools.pairwise(offsets.tolist())):
        for head in range(2 * QUERIES):
            keys, values = (each[start:end, head // QUERIES].double() for each in (k, v))
            weights = (keys @ q[request, head].double() / math.sqrt(HEAD_DIM)).softmax(0)
            assert torch.allclose(result[request, head].double(), weights @ values, atol=0.02)


def test_pages_are_each_requests_own(torch):
    from kernel_timings.attention import inputs

    _, k, _, used, table, _, longest = inputs([5, 16, 40], 1, 16, torch.device("cpu"), 0)
    assert (k.shape[:2], used.tolist(), longest) == ((5, 16), [5, 16, 40], 40)
    assert table.shape == (3, 3)
    assert sorted([table[0, 0], table[1, 0], *table[2]]) == list(range(5))


class FakeGpu:
    """Stands in for torch.cuda: a call takes 100 µs, and a graph replays what was called while it was captured."""

    def __init__(self, torch, capture_fails):
        self.now_ms, self.called, self.replayed, self.capture_fails = 0.0, [], 0, capture_fails
        self.capturing = False
        gpu = self

        class Event:
            def __init__(self, enable_timing):
                self.at = None

            def record(self):
                self.at = gpu.now_ms

            def synchronize(self):
                pass

            def elapsed_time(self, end):
                return end.at - self.at

        class Graph:
            def replay(self):
                gpu.replayed += 1
                gpu.now_ms += 0.1 * len(gpu.called)

        self.parts = {"Event": Event, "CUDAGraph": Graph, "graph": self.graph, "synchronize": lambda: None}
        self.parts["get_device_properties"] = lambda device: SimpleNamespace(L2_cache_size=100)

    @contextlib.contextmanager
    def graph(self, graph):
        if self.capture_fails:
            raise RuntimeError("not permitted when stream is capturing\nmore")
        self.called, self.capturing = [], True
        yield
        self.capturing = False

    def call(self, copy):
        self.called.append(copy)
        self.now_ms += 0.0 if self.capturing else 0.1


@pytest.mark.parametrize("capture_fails", [False, True])
def test_calls_in_a_graph_take_turns_at_copies(torch, monkeypatch, capture_fails):
    """20 calls of 100 µs are 2 ms; inputs of 60 bytes are read again after four others, 240 of an L2 of 100."""
    from kernel_timings.timing import timed

    gpu = FakeGpu(torch, capture_fails)
    for name, part in gpu.parts.items():
        monkeypatch.setattr(torch.cuda, name, part)
    case = Case("op", "fake", {}, 60.0, 0.0, lambda copy: (copy,), gpu.call)
    times = timed(case, torch.device("meta"), 7)
    assert times.quantiles_us() == pytest.approx((100.0, 100.0, 100.0))
    assert (len(times.seconds), times.calls, times.in_graph) == (7, 20, not capture_fails)
    assert gpu.called[-20:] == [0, 1, 2, 3, 4] * 4
    assert gpu.replayed == (0 if capture_fails else 7 + 3)
    assert times.note == ("no graph: not permitted when stream is capturing" if capture_fails else "")


def test_share_of_the_data_sheet(torch):
    """By the driver's name; 3.35 MB and 989.5 GFLOP are 1 µs and 1 ms on an H100."""
    from kernel_timings.machine import sheet, sheet_us
    from kernel_timings.timing import Times

    rates = sheet("NVIDIA H100 80GB HBM3", None)
    assert sheet_us(rates, {"dtype": "bfloat16"}, 3.35e6, 0.0) == pytest.approx(1.0)
    assert sheet_us(rates, {"dtype": "bfloat16"}, 3.35e6, 989.5e9) == pytest.approx(1000.0)
    assert sheet_us(rates, {"dtype": "fp8"}, 3.35e6, 989.5e9) == pytest.approx(500.0)
    assert sheet("NVIDIA H100 PCIe", None) == {}
    assert sheet("NVIDIA H100 PCIe", "h100-sxm") == rates
    case = Case("sort", "fake", {"dtype": "float32"}, 3.35e6, 0.0, lambda copy: (), lambda: None)
    about = {"device": "NVIDIA H100 80GB HBM3"}
    row = measure_kernels.row(about, case, Times([4e-6], True, 20), rates)
    assert (row["median_us"], row["datasheet_share"], row["in_graph"]) == ("4", "0.25", "yes")
    assert measure_kernels.row(about, case, Times([4e-6], True, 20), {})["datasheet_share"] == ""
