"""Figures of ``simulate``: each takes data and axes and returns the axes."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator, PercentFormatter, ScalarFormatter

from jaxroof.parameters import Vector
from jaxroof.serving.queueing import Queue
from jaxroof.serving.simulate import Simulation
from jaxroof.serving.summary import spread
from jaxroof.units import MILLI

# Okabe and Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#BBBBBB"
LATENCIES = {"ttft": ("TTFT", ORANGE), "itl": ("ITL", BLUE), "e2e": ("E2E", GREEN)}
# A curve of more points, or a timeline of more requests, shows no more.
CURVE, ROWS = 1000, 60


def plot_cdf(latencies_s: Mapping[str, Vector], *, ax: Axes) -> Axes:
    """The share of requests whose latency is at most so long; dots at the percentiles that are known."""
    for key, (name, colour) in LATENCIES.items():
        ms = latencies_s[key] / MILLI
        if not len(ms):
            continue
        share, known = np.linspace(0, 1, min(len(ms), CURVE)), spread(ms)
        said = [name, *(f"{part} {_text(known[part])} ms" for part in ("p50", "p99") if known[part] > 0)]
        ax.plot(np.quantile(ms, share), share, color=colour, linewidth=2.5, label="\n".join(said))
        ax.plot([known["p50"], known["p99"]], [0.5, 0.99], "o", color=colour, markersize=8)
    ax.set(xscale="log", xlabel="latency [ms]", ylabel="requests", title="Latencies of all requests")
    ax.set(ylim=(0, 1.3), yticks=np.linspace(0, 1, 6))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(alpha=0.3)
    ax.legend(loc="upper center", ncols=3, frameon=False, fontsize=12)
    return ax


def _text(ms: float) -> str:
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


def plot_queue(queue: Queue, *, ax: Axes) -> Axes:
    """Requests that run and wait, and the share of the KV cache in use on an axis of its own."""
    ax.plot(queue.time_s, queue.running, color=BLUE, linewidth=1.8, drawstyle="steps-post", label="running")
    ax.plot(queue.time_s, queue.waiting, color=ORANGE, linewidth=1.8, drawstyle="steps-post", label="waiting")
    ax.set(xlabel="time [s]", ylabel="requests", ylim=(0, max(queue.running.max(), queue.waiting.max(), 1) * 1.3))
    ax.set_title("Requests that run and wait")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    if not np.isnan(queue.kv_share).any():
        ax.plot([], [], color=GREEN, linewidth=1.5, linestyle="--", label="KV cache in use (right)")
        right = ax.twinx()
        right.plot(queue.time_s, queue.kv_share, color=GREEN, linewidth=1, linestyle="--")
        right.set(ylabel="KV cache in use", ylim=(0, 1.3), yticks=np.linspace(0, 1, 6))
        right.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="upper center", ncols=3, frameon=False, fontsize=12)
    return ax


def plot_timeline(simulation: Simulation, admission_s: Vector, *, ax: Axes) -> Axes:
    """A row per request, of those in the middle: it waits, works on its prompt, decodes."""
    requests = len(admission_s)
    first = max((requests - ROWS) // 2, 0)
    edges = [
        x[first : first + ROWS] for x in (simulation.arrival_s, admission_s, simulation.first_s, simulation.last_s)
    ]
    row = np.arange(first + 1, first + 1 + len(edges[0]))
    names = {"waiting": GREY, "prompt, until first token": ORANGE, "decoding": BLUE}
    for (name, colour), start_s, end_s in zip(names.items(), edges, edges[1:], strict=False):
        ax.barh(row, end_s - start_s, left=start_s, height=0.8, color=colour, label=name)
    ax.set(xlabel="time [s]", ylabel="request", title=f"Requests {row[0]} to {row[-1]} of {requests}")
    ax.set_ylim(row[-1] + 1, row[0] - 0.12 * len(row) - 1)  # downwards, with room for the legend
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_axisbelow(True)
    ax.grid(alpha=0.3, axis="x")
    ax.legend(loc="upper center", ncols=3, frameon=False, fontsize=12)
    return ax
