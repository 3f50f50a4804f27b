"""What ``simulate`` shows: latencies and their percentiles, how busy the server is, every request."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from jaxroof.report.document import bullets, reproducing
from jaxroof.report.figures import Figure
from jaxroof.report.report import Block, File, Report, Sheet, finite, sheets
from jaxroof.report.tables import Table, columns, number
from jaxroof.serving.load import Load
from jaxroof.serving.options import UNUSED
from jaxroof.serving.simulate import Simulation
from jaxroof.serving.summary import PERCENTILES, Simulated, Summary
from jaxroof.units import MILLI

NAME = "simulation"
NAMES = {"ttft": "TTFT", "itl": "ITL", "time_between_tokens": "time between tokens", "e2e": "E2E"}
SERVER = ("requests_per_s", "tokens_per_s", "batch", "utilisation", "kv_share", "preemptions")
HELD_BY = {
    "slots": "all of its slots (server.max_num_seqs) are taken",
    "KV cache": "its KV cache has no blocks for the next request",
    "steps": "its steps have no room for the next prompt (server.max_num_batched_tokens)",
}


class Said(NamedTuple):
    """The server and the load in words, and the command line that simulates them again."""

    server: str
    load: str
    command: str


def record(summary: Summary, inputs: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """The JSON object: times in ms, null where a number is not known."""
    means: dict[str, float | None] = {}
    percentiles: dict[str, float | None] = {}
    for name in ("itl", "ttft", "e2e", "time_between_tokens"):
        spread = summary.latencies_s[name]
        means[f"{name}_ms"] = finite(spread["mean"] / MILLI)
        percentiles |= {f"{name}_{part}_ms": finite(spread[part] / MILLI) for part in PERCENTILES}
    return {
        **means, **percentiles, **{name: finite(getattr(summary, name)) for name in SERVER},
        "preemptions": _whole(summary.preemptions), "saturated": summary.saturation.saturated,
        "saturated_by": summary.saturation.by, "requests_served": _whole(summary.requests_served),
        "inputs": dict(inputs), "notes": list(notes),
    }  # fmt: skip


def tables(summary: Summary) -> dict[str, Table]:
    """Title → table: latencies, and what the server does."""
    rows = [
        {"latency": name, "mean_ms": of["mean"] / MILLI}
        | {f"{part.replace('_', '.')}_ms": of[part] / MILLI for part in PERCENTILES}
        for name, of in ((NAMES[key], of) for key, of in summary.latencies_s.items())
    ]
    saturation = summary.saturation
    saturated = f"by {saturation.by}" if saturation.by else "yes" if saturation.saturated else "no"
    server = {name: getattr(summary, name) for name in SERVER[:-1]}
    counts = {"preemptions": number(finite(summary.preemptions), 9), "saturated": saturated}
    return {"Latencies": columns(rows), "What the server does": columns([server | counts])}


def sentences(summary: Summary, load: str) -> list[str]:
    """What the numbers stand for."""
    if not summary.requests:
        return [f"Steady state of {load}: means only."]
    gaps, several = summary.counts["time_between_tokens"], summary.counts["itl"]
    return [
        f"Load: {load}.",
        f"All {summary.counts['e2e']} served requests count, from the first one on: the percentiles of TTFT and E2E "
        f"are of these, of ITL (a request's mean) of the {several} with more than one token, of the time between "
        f"tokens of all {gaps} gaps.",
    ]


def notes(summary: Summary, load: str) -> list[str]:
    """What there is to say of a load, a ``rate``, ``concurrency`` or a ``trace``, that the numbers do not show."""
    closed = load == "concurrency"
    if not summary.requests:
        means = f"the steady state has means only, of a load without end: {UNUSED[load]}"
        return [means, *_saturated(summary, closed)]
    few = [f"{NAMES[n]} ({count})" for n, count in summary.counts.items() if count < 100]
    some = [f"{NAMES[n]} ({count})" for n, count in summary.counts.items() if 100 <= count < 1000]
    said = [f"no p99 of fewer than 100 values, no p99.9 of fewer than 1000: {', '.join(few)}"] if few else []
    said += [f"no p99.9 of fewer than 1000 values: {', '.join(some)}"] if some else []
    lost = summary.requests - summary.requests_served
    if lost:
        said.append(f"{lost:.0f} of {summary.requests} requests were never served: the server does not get on")
    if summary.saturation.grows:
        said.append("requests in flight still grow when the arrivals end: only more --requests show whether they stay")
    return said + _saturated(summary, closed)


def _saturated(summary: Summary, closed: bool) -> list[str]:
    saturation = summary.saturation
    if not saturation.saturated:
        return []
    why = f": {HELD_BY[saturation.by]}" if saturation.by else ""
    return [f"the server is saturated{why}; " + ("clients wait most of the time" if closed else "its queue grows on")]


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def requests_record(simulation: Simulation) -> list[dict[str, Any]]:
    """Every request, for JSON: in the order of arrival."""
    rows = zip(simulation.arrival_s, simulation.first_s, simulation.last_s, simulation.preemptions, strict=True)
    return [
        {"arrival_s": finite(sent), "first_token_s": finite(first), "last_token_s": finite(last), "preemptions": int(n)}
        for sent, first, last, n in rows
    ]


def requests_table(simulation: Simulation, load: Load) -> dict[str, Any]:
    """Every request, for CSV."""
    return {
        "request": np.arange(1, load.requests + 1),
        "arrival_s": np.where(np.isfinite(simulation.arrival_s), simulation.arrival_s, np.nan),
        **{key: getattr(load, key).astype(int) for key in ("prompt_tokens", "cached_tokens", "output_tokens")},
        "first_token_s": simulation.first_s,
        "last_token_s": simulation.last_s,
        "ttft_ms": simulation.ttft_s / MILLI,
        "itl_ms": simulation.itl_s / MILLI,
        "e2e_ms": simulation.e2e_s / MILLI,
        "preemptions": simulation.preemptions.astype(int),
    }


def simulation_report(
    data: Mapping[str, Any], summary: Summary, made: Simulated | None, load: Load, said: Said
) -> Report:
    """What is shown and written of a simulation, or of a steady state, which has no requests."""
    (first, *others), lines = sheets(tables(summary)), sentences(summary, said.load)
    shown = [dataclasses.replace(first, shown_title=said.server), *others]
    document = partial(_document, data["notes"], shown, lines, made, load, said)
    return Report(NAME, data, shown, lines, document=document, digits=2)


def _document(
    notes: Sequence[str], shown: Sequence[Sheet], lines: Sequence[str], made: Simulated | None, load: Load, said: Said
) -> Iterator[Block]:
    yield from (f"# {said.server}", *lines)
    yield from shown
    if made is not None:
        yield File("requests.csv", requests_table(made.simulation, load))
        yield from _figures(made, f"{said.server}\n{said.load}")
    if notes:
        yield from ("## Notes", bullets(notes))
    yield from reproducing(said.command)


def _figures(made: Simulated, heading: str) -> Iterator[Figure]:
    from jaxroof.commands import simulate_plots  # matplotlib is slow to load

    yield Figure("latency_cdf", "latency cdf", heading, simulate_plots.plot_cdf, (made.latencies_s,))
    yield Figure("over_time", "over time", heading, simulate_plots.plot_queue, (made.queue,))
    yield Figure("timeline", "timeline", heading, simulate_plots.plot_timeline, (made.simulation, made.admission_s))
