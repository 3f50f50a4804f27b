"""What ``predict`` shows: a request's latency, and each step part by part."""

from pathlib import Path
from typing import Any

import pandas as pd

from jaxroof.files import InputError, check_writable, write_folder
from jaxroof.report.figures import save_figure
from jaxroof.request.predict import Prediction
from jaxroof.step import Part, StepTime
from jaxroof.units import GIGA, MEGA, MILLI, PERCENT


def breakdown(step: StepTime) -> pd.DataFrame:
    """Parts of a step on one GPU, slowest first: time, share, work, what binds, share of the speed of light."""
    rows = [
        {
            "part": name,
            "ms": float(part.seconds) / MILLI,
            "megabytes": float(part.bytes) / MEGA,
            "gigaflop": float(part.flops) / GIGA,
            "bound": _bound(part),
            "light_pct": float(part.light_s / part.seconds) / PERCENT,
        }
        for name, part in step.parts.items()
        if part.seconds > 0
    ]
    for name, seconds in (("overhead", step.overhead_s), ("admission", step.admission_s)):
        if seconds > 0:
            rows.append({"part": name, "ms": float(seconds) / MILLI, "bound": "host"})
    columns = ["part", "ms", "share_pct", "megabytes", "gigaflop", "bound", "light_pct"]
    table = pd.DataFrame(rows, columns=columns)
    table["share_pct"] = table["ms"] / float(step.total_s + step.admission_s) * MILLI / PERCENT
    return table.sort_values("ms", ascending=False, ignore_index=True)


def _bound(part: Part) -> str:
    """The largest of launch floors, bytes and FLOPs."""
    sides = {"floor": part.floor_s, "memory": part.memory_s, "compute": part.compute_s}
    return max(sides, key=lambda name: float(sides[name]))


def prediction(p: Prediction, output: int) -> dict[str, Any]:
    """The JSON object of ``predict``; a single output token has no ITL."""
    ms = {name: float(getattr(p.latency, f"{name}_s")) / MILLI for name in ("ttft", "tpot", "e2e")}
    return {
        "ttft_ms": ms["ttft"],
        "itl_ms": ms["tpot"] if output > 1 else None,
        "e2e_ms": ms["e2e"],
        "tpot_e2e_per_token_ms": ms["e2e"] / output,
        "breakdown": {
            f"{metric}_{row['part']}_ms": row["ms"]
            for metric, step in (("ttft", p.prefill), ("itl", p.decode))
            for row in breakdown(step).to_dict("records")
        },
    }


def write_breakdown(path: Path, heading: str, parts: dict[str, pd.DataFrame]) -> None:
    """The stacked bars of a prediction, a PNG that appears when it is complete. Raises InputError."""
    from jaxroof.commands import predict_plots

    if path.suffix != ".png":
        raise InputError(path, "--plot", "must end in .png")
    check_writable(path.parent, "--plot")
    write_folder(
        path.parent, lambda draft: save_figure(draft / path.name, heading, predict_plots.plot_breakdown, parts)
    )
