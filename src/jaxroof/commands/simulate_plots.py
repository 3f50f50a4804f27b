"""Figures of ``simulate``: each takes data and axes and returns the axes."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter, ScalarFormatter

from jaxroof.parameters import Vector
from jaxroof.serving.queueing import Queue
from jaxroof.serving.simulate import Simulation
from jaxroof.units import MILLI

# Okabe and Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#BBBBBB"
LATENCIES = {"ttft": ("TTFT", ORANGE), "itl": ("ITL", BLUE), "e2e": ("E2E", GREEN)}
# A curve of more points, or a timeline of more requests, shows no more.
CURVE, ROWS = 1000, 60


def plot_cdf(latencies_s: Mapping[str, Vector], *, ax: Axes) -> Axes:
    """The share of requests whose latency is at most so long; dots at 50 and 99 %."""
    for key, (name, colour) in LATENCIES.items():
        ms = latencies_s[key] / MILLI
        if not len(ms):
            continue
        share = np.linspace(0, 1, min(len(ms), CURVE))
        ax.plot(np.quantile(ms, share), share, color=colour, linewidth=2.5, label=name)
        for at in (0.5, 0.99):
            x = float(np.quantile(ms, at))
            ax.plot(x, at, "o", color=colour)
            ax.annotate(f" {x:.3g} ms", (x, at), color=colour, fontsize=11, va="top")
    ax.set(xscale="log", xlabel="latency [ms]", ylabel="requests", ylim=(0, 1.02), title="Latencies of all requests")
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right", fontsize=12)
    return ax


def plot_queue(queue: Queue, *, ax: Axes) -> Axes:
    """Requests that run and wait, and the share of the KV cache in use on an axis of its own."""
    ax.plot(queue.time_s, queue.running, color=BLUE, linewidth=1.5, label="running")
    ax.plot(queue.time_s, queue.waiting, color=ORANGE, linewidth=1.5, label="waiting")
    ax.set(xlabel="time [s]", ylabel="requests", title="The server over time")
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.3)
    if not np.isnan(queue.kv_share).all():
        right = ax.twinx()
        right.plot(queue.time_s, queue.kv_share, color=GREEN, linewidth=1.5, linestyle="--", label="KV cache in use")
        right.set(ylabel="KV cache in use", ylim=(0, 1.02))
        right.yaxis.set_major_formatter(PercentFormatter(1))
        ax.plot([], [], color=GREEN, linestyle="--", label="KV cache in use (right)")
    ax.legend(loc="upper left", fontsize=11)
    return ax


def plot_timeline(simulation: Simulation, admission_s: Vector, *, ax: Axes) -> Axes:
    """A row per request, of those in the middle: it waits, works on its prompt, decodes."""
    requests = len(admission_s)
    first = max((requests - ROWS) // 2, 0)
    chosen = slice(first, first + ROWS)
    edges = [x[chosen] for x in (simulation.arrival_s, admission_s, simulation.first_s, simulation.last_s)]
    number = np.arange(first + 1, first + 1 + len(edges[0]))
    names = {"waiting": GREY, "prompt, to first token": ORANGE, "decode": BLUE}
    for (name, colour), start_s, end_s in zip(names.items(), edges, edges[1:], strict=False):
        ax.barh(number, end_s - start_s, left=start_s, height=0.8, color=colour, label=name)
    ax.set(xlabel="time [s]", ylabel="request", title=f"Requests {number[0]} to {number[-1]} of {requests}")
    ax.invert_yaxis()
    ax.grid(alpha=0.3, axis="x")
    ax.legend(loc="lower left", fontsize=11)
    return ax
