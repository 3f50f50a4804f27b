"""What ``predict`` shows: a request's latency, and each step part by part."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxroof.files import InputError, check_writable, write
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


def prediction(latency: Latency, output: int, batch: int, parts: Mapping[str, Rows]) -> dict[str, Any]:
    """The JSON object of ``predict``; a single output token has no ITL. Tokens per second are those of the batch."""
    ms = {name: float(latency[name]) / MILLI for name in ("ttft", "tpot", "e2e")}
    return {
        "ttft_ms": ms["ttft"],
        "itl_ms": ms["tpot"] if output > 1 else None,
        "e2e_ms": ms["e2e"],
        "tpot_e2e_per_token_ms": ms["e2e"] / output,
        "tokens_per_s": batch * output / float(latency["e2e"]),
        "breakdown": {f"{name.lower()}_{row['part']}_ms": row["ms"] for name, rows in parts.items() for row in rows},
    }


def shown(data: Mapping[str, Any]) -> dict[str, float]:
    """The row of numbers of ``predict``."""
    return {k: math.nan if v is None else v for k, v in data.items() if k.endswith("_ms") or k == "tokens_per_s"}


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
