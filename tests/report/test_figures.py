"""Figures: one style, names with any character, short labels, and the panels of ``predict --breakdown``."""

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas

from jaxroof.cli import main
from jaxroof.commands.predict_plots import plot_breakdown
from jaxroof.report.figures import Figure
from jaxroof.report.labels import experiments, words
from jaxroof.report.plots import plot_heatmap

PARTS = [("gate_up", 6.0, "memory"), ("all_reduce", 3.0, "floor"), ("waiting", 0.92, "host"), ("rotary", 0.08, "floor")]
ROWS = [{"part": part, "ms": ms, "share_pct": 10 * ms, "bound": bound} for part, ms, bound in PARTS]
PREDICT = "predict --hardware h100-sxm --tp 1 --prompt 512 --output 128 --batch 3 --breakdown"


def test_one_style_whatever_the_users_own():
    seen = {}

    def plot(*, ax):
        (line,) = ax.plot([1, 2])
        seen.update(colour=to_hex(line.get_color()), frame=mpl.rcParams["legend.frameon"], font=ax.title.get_fontsize())

    with mpl.rc_context({"legend.frameon": True, "axes.titlesize": 3, "lines.color": "red"}):
        png = Figure("a", "a", "heading", plot).png()
        assert mpl.rcParams["axes.titlesize"] == 3
    assert seen == {"colour": "#0072b2", "frame": False, "font": 13}
    assert len(png) > 1000


def test_names_are_never_formulas():
    """``$`` begins a formula to matplotlib, here a wrong one."""
    name = "half $\\frac{1}$ of ${MODEL}"
    rows = [{**row, "part": name} for row in ROWS]
    assert Figure("a", "a", name, plot_breakdown, ({"TTFT": rows, "ITL": rows},)).png()


def test_a_breakdown_has_a_panel_per_latency_and_says_every_number():
    axes = plot_breakdown({"TTFT": ROWS, "ITL": ROWS[:2], "none": []}, ax=Canvas().subplots())
    assert axes[0].figure.axes == axes
    assert [ax.get_title() for ax in axes] == ["TTFT: 10 ms", "ITL: 9 ms"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        "gate up", "all reduce", "waiting", "1 others",
    ]  # fmt: skip
    assert [text.get_text().strip() for text in axes[0].texts] == [
        "6 ms, 60 %", "3 ms, 30 %", "0.92 ms, 9 %", "0.08 ms, 1 %",
    ]  # fmt: skip
    shown = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in axes]
    assert shown == [["memory", "launch floor", "host"], ["memory", "launch floor"]]


def test_a_breakdown_says_what_it_holds_for(tmp_path, monkeypatch):
    headings = []
    monkeypatch.setattr(Canvas, "suptitle", lambda self, text, **_: headings.append(text))
    with pytest.raises(SystemExit, match="0"):
        main([*PREDICT.split(), "--model", "llama-3.1-8b", "--plot", str(tmp_path / "new/b.png")])
    assert (tmp_path / "new/b.png").exists()
    assert headings == [
        "llama-3.1-8b on 1 × h100-sxm, kernels step time\n512 prompt and 128 output tokens, batch 3, server vllm-0.15"
    ]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("ttft_ms", "TTFT [ms]"),
        ("gpus", "GPUs"),
        ("tp", "TP"),
        ("hardware.hbm_tb_per_s", "HBM [TB/s]"),
        ("hardware.link.nccl.gb_per_s_tp2", "link NCCL TP2 [GB/s]"),
        ("hardware.kernels.gemm.gemv_floor_us", "gemm gemv floor [µs]"),
        ("overheads.decode.per_layer_us", "decode overhead per layer [µs]"),
        ("server.penalties.host_ns_per_token", "server penalties host ns per token"),
        ("llama-2-7b.ttft_ms", "llama-2-7b TTFT [ms]"),
    ],
)
def test_keys_in_words(key, said):
    assert words(key) == said


def test_experiments_without_their_days_where_that_tells_them_apart():
    assert experiments(["jan30-a-tp1-chatsweep", "20260210-b"]) == ["a-tp1-chat", "b"]
    assert experiments(["jan30-a", "jan31-a"]) == ["jan30-a", "jan31-a"]


def test_a_heatmap_tells_zero_small_and_unknown_apart():
    table = pd.DataFrame([[-0.5, 0.0], [0.004, float("nan")]], ["a", "b"], ["c", "d"])
    ax = plot_heatmap(table, 1, "slope", ax=Canvas().subplots())
    assert [text.get_text() for text in ax.texts] == ["−0.50", "·", "–"]
