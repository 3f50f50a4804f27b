"""What ``predict`` shows: a request's latency, and each step part by part."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.files import InputError, check_writable, write
from jaxroof.intervals.bounds import Bounds
from jaxroof.intervals.words import end_name, interval_record
from jaxroof.parameters import Scalar
from jaxroof.report.figures import Figure
from jaxroof.request.schedule import Latency
from jaxroof.step import Part, StepTime
from jaxroof.units import GIGA, MEGA, MILLI, PERCENT

Rows = list[dict[str, Any]]


def breakdown(step: StepTime) -> Rows:
    """Parts of a step on one GPU, slowest first: time, share, work, what binds, share of the speed of light."""
    total = float(step.total_s + step.admission_s + step.waiting_s)
    rows = [
        _on_host(name, part.seconds, total)
        | {
            "megabytes": float(part.bytes) / MEGA,
            "gigaflop": float(part.flops) / GIGA,
            "bound": _bound(part),
            "light_pct": float(part.light_s / part.seconds) / PERCENT,
        }
        for name, part in step.parts.items()
        if part.seconds > 0
    ]
    host = {"overhead": step.overhead_s, "admission": step.admission_s, "waiting": step.waiting_s}
    rows += [_on_host(name, seconds, total) for name, seconds in host.items() if seconds > 0]
    return sorted(rows, key=lambda row: row["ms"], reverse=True)


def _on_host(name: str, seconds: Scalar, total: float) -> dict[str, Any]:
    ms, unknown = float(seconds) / MILLI, dict.fromkeys(("megabytes", "gigaflop"), math.nan)
    timed = {"part": name, "ms": ms, "share_pct": ms / total * MILLI / PERCENT}
    return {**timed, **unknown, "bound": "host", "light_pct": math.nan}


def _bound(part: Part) -> str:
    """The largest of launch floors, bytes and FLOPs."""
    sides = {"floor": part.floor_s, "memory": part.memory_s, "compute": part.compute_s}
    return max(sides, key=lambda name: float(sides[name]))


def prediction(
    latency: Latency, interval: Bounds, output: int, batch: int, parts: Mapping[str, Rows]
) -> dict[str, Any]:
    """The JSON object of ``predict``: each number as it is, and in 90 % of the cases at least and at most."""
    low, high = (_latencies(end, output) for end in (interval.low, interval.high))
    ends = {name: {"low": low[name], "high": high[name]} for name in low}
    speed = [batch * output / float(each["e2e"]) for each in (latency, interval.high, interval.low)]
    numbers = _latencies(latency, output) | {"tokens_per_s": speed[0]}
    ends["tokens_per_s"] = {"low": speed[1], "high": speed[2]}
    return {
        **numbers,
        **{end_name(name, end): value for name, both in ends.items() for end, value in both.items()},
        "interval": interval_record(interval),
        "breakdown": {f"{name.lower()}_{row['part']}_ms": row["ms"] for name, rows in parts.items() for row in rows},
    }


def _latencies(latency: Latency, output: int) -> dict[str, float | None]:
    """By their names in JSON [ms]; a single output token has no ITL."""
    ttft, itl, e2e = (float(latency[name]) / MILLI for name in ("ttft", "tpot", "e2e"))
    per_token = {"tpot_e2e_per_token_ms": e2e / output}
    return {"ttft_ms": ttft, "itl_ms": itl if output > 1 else None, "e2e_ms": e2e, **per_token}


def shown(data: Mapping[str, Any]) -> Rows:
    """The rows of numbers of ``predict``: as predicted, and both ends of the interval. Tokens/s are the batch's."""
    names = [
        name for name in data if name == "tokens_per_s" or (name.endswith("_ms") and end_name(name, "low") in data)
    ]
    ends = {"predicted": "", "at least": "low", "at most": "high"}
    keys = {row: {name: end_name(name, end) if end else name for name in names} for row, end in ends.items()}
    return [
        {"": row} | {name: math.nan if data[key] is None else data[key] for name, key in each.items()}
        for row, each in keys.items()
    ]


def setting(inputs: Mapping[str, Any]) -> str:
    """What the numbers hold for, in a sentence."""
    prompt, context, batch = inputs["prompt"], inputs["context_tokens"], inputs["batch"]
    drawn = ", ".join(f"{key} {value:g}" for key, value in inputs["sampling"].items()) or "temperature 1"
    if inputs["sampling"].get("temperature") == 0:
        drawn = "greedy" + "".join(
            f", {key} {value:g}" for key, value in inputs["sampling"].items() if "penalty" in key
        )
    held = f"{context:.0f} tokens of context on average ({prompt} of prompt and {context - prompt:.0f} generated)"
    requests = "one request" if batch == 1 else f"{batch} requests in flight"
    return f"{requests}, {held}; sampling: {drawn}; server: {inputs['server']}."


def write_breakdown(path: Path, title: str, inputs: Mapping[str, Any], parts: Mapping[str, Rows]) -> None:
    """The bars of a prediction, a PNG that appears when it is complete. Raises InputError."""
    from jaxroof.commands import predict_plots

    if path.suffix != ".png":
        raise InputError(path, "--plot", "must end in .png")
    check_writable(path.parent, "--plot")
    cached = f" ({inputs['cached']} cached)" if inputs["cached"] else ""
    request = f"{inputs['prompt']} prompt{cached} and {inputs['output']} output tokens, batch {inputs['batch']}"
    heading = f"{title}\n{request}, server {inputs['server']}"
    figure = Figure(path.stem, "breakdown", heading, predict_plots.plot_breakdown, (parts,), size=(12, 6))
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, figure.png())
