"""Figures of ``simulate``: each takes data and axes and returns the axes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator, PercentFormatter, ScalarFormatter

from jaxroof.parameters import Vector
from jaxroof.serving.queueing import Queue
from jaxroof.serving.simulate import Simulation
from jaxroof.serving.summary import spread
from jaxroof.units import MILLI

# Of the style.
BLUE, ORANGE, GREEN, GREY = "C0", "C1", "C2", "0.73"
LATENCIES = {"ttft": ("TTFT", ORANGE), "itl": ("ITL", BLUE), "e2e": ("E2E", GREEN)}
# A curve of more points, or a timeline of more requests, shows no more; what changes more often is shown in so many
# bands of equal time.
CURVE, BANDS, ROWS = 1000, 200, 60


def plot_cdf(latencies_s: Mapping[str, Vector], *, ax: Axes) -> Axes:
    """The share of requests whose latency is at most so long; dots at the percentiles that are known."""
    for key, (name, colour) in LATENCIES.items():
        ms = latencies_s[key] / MILLI
        if not len(ms):
            continue
        known = spread(ms)
        said = [name, *(f"{part} {_text(known[part])} ms" for part in ("p50", "p99") if known[part] > 0)]
        ax.plot(*_shares(ms), color=colour, drawstyle="steps-post", label="\n".join(said))
        ax.plot([known["p50"], known["p99"]], [0.5, 0.99], "o", color=colour)
    ax.set(xscale="log", xlabel="latency [ms]", ylabel="requests", title="Latencies of all requests")
    ax.set(ylim=(0, 1.3), yticks=np.linspace(0, 1, 6))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="upper center", ncols=3)
    return ax


def _shares(values: Vector) -> tuple[Vector, Vector]:
    """Values in order and the share of all that is at most so large, from 0 on: a step up at each."""
    share = np.linspace(0, 1, min(len(values), CURVE) + 1)
    place = np.arange(len(share)) * len(values) // (len(share) - 1)
    return np.sort(values)[np.maximum(place - 1, 0)], share


def _text(ms: float) -> str:
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


def plot_queue(queue: Queue, *, ax: Axes) -> Axes:
    """Requests that run, with their extremes, and wait; the share of the KV cache in use on an axis of its own."""
    _draw_steps(ax, queue.time_s, queue.running, extremes=True, color=BLUE, label="running")
    _draw_steps(ax, queue.time_s, queue.waiting, color=ORANGE, label=f"waiting, at most {queue.waiting.max():.0f}")
    ax.set(xlabel="time [s]", ylabel="requests", ylim=(0, max(queue.running.max(), queue.waiting.max(), 1) * 1.3))
    ax.set_title("Requests that run and wait" + ", means and extremes" * (len(queue.time_s) > BANDS))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    if not np.isnan(queue.kv_share).any():
        ax.plot([], [], color=GREEN, linestyle="--", label="KV cache in use (right)")
        right = ax.twinx()
        right.grid(visible=False)
        _draw_steps(right, queue.time_s, queue.kv_share, color=GREEN, linewidth=1, linestyle="--")
        right.set(ylabel="KV cache in use", ylim=(0, 1.3), yticks=np.linspace(0, 1, 6))
        right.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="upper center", ncols=3)
    return ax


def _draw_steps(ax: Axes, time_s: Vector, values: Vector, extremes: bool = False, **style: Any) -> None:
    """Values that hold until the next one; where they are many, means in equal times, and ``extremes``."""
    if len(time_s) > BANDS:
        edges_s = np.linspace(time_s[0], time_s[-1], BANDS + 1)
        place = np.searchsorted(time_s, edges_s, side="right") - 1  # what holds as each of them begins
        least, most = (f(f.reduceat(values, place)[:-1], values[place[1:]]) for f in (np.minimum, np.maximum))
        past = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(time_s))])
        means = np.diff(np.interp(edges_s, time_s, past)) / np.diff(edges_s)
        time_s = edges_s
        least, most, values = (np.append(of_bands, of_bands[-1]) for of_bands in (least, most, means))
        if extremes:
            ax.fill_between(time_s, least, most, step="post", color=style["color"], alpha=0.25, linewidth=0)
    ax.plot(time_s, values, drawstyle="steps-post", **style)


def plot_timeline(simulation: Simulation, admission_s: Vector, *, ax: Axes) -> Axes:
    """A row per request, of those in the middle, from its arrival on: it waits, works on its prompt, decodes."""
    requests = len(admission_s)
    first = max((requests - ROWS) // 2, 0)
    edges = [
        x[first : first + ROWS] for x in (simulation.arrival_s, admission_s, simulation.first_s, simulation.last_s)
    ]
    row = np.arange(first + 1, first + 1 + len(edges[0]))
    names = {"waiting": GREY, "prompt, until first token": ORANGE, "decoding": BLUE}
    for (name, colour), start_s, end_s in zip(names.items(), edges, edges[1:], strict=False):
        ax.barh(row, end_s - start_s, left=start_s - edges[0], height=0.8, color=colour, label=name)
    ax.set(xlabel="time since its arrival [s]", ylabel="request, in order of arrival")
    ax.set_title(f"Requests {row[0]} to {row[-1]} of {requests}")
    ax.set_ylim(row[-1] + 1, row[0] - 0.12 * len(row) - 1)  # downwards, with room for the legend
    marks = MaxNLocator(integer=True).tick_values(row[0], row[-1])
    ax.set_yticks([mark for mark in marks if row[0] <= mark <= row[-1]])
    ax.grid(visible=False, axis="y")
    ax.legend(loc="upper center", ncols=3)
    return ax
