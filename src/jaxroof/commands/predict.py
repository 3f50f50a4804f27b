"""``jaxroof predict``: the latency of one request."""

import dataclasses
import sys
from pathlib import Path

import pandas as pd

from jaxroof import prediction as core_prediction
from jaxroof import work
from jaxroof.capacity import weights_fit
from jaxroof.commands.options import Constants, refuse_mixture
from jaxroof.inputs import files
from jaxroof.inputs.configs import check_window, load_architecture, load_deployment
from jaxroof.inputs.workloads import CACHED_TOKENS, TOKENS
from jaxroof.leaves import COUNT
from jaxroof.outputs import records, report, tables
from jaxroof.params import Architecture, Deployment, Tier0
from jaxroof.units import GIGA


@dataclasses.dataclass(frozen=True)
class Request:
    """The options that describe a request and where it is served."""

    model: str
    tp: int
    prompt: int
    output: int
    cached: int
    batch: int


def run(constants: Constants, request: Request, plot: Path | None, json: bool) -> None:
    """Latency of one request; with ``plot`` its breakdown as a PNG, and its parts."""
    for option, legal in {"prompt": TOKENS, "output": TOKENS, "cached": CACHED_TOKENS, "batch": COUNT}.items():
        files.number("predict", f"--{option}", getattr(request, option), legal)
    tier0, arch = constants.tier0(), load_architecture(request.model)
    check_window(request.model, arch, request.cached + request.prompt + request.output)
    deployment = load_deployment("predict", arch, request.tp)
    refuse_mixture(request.model, constants.step_model, arch)
    prediction = core_prediction.predict(
        arch, deployment, tier0, prompt=request.prompt, output=request.output,
        cached=request.cached, batch=request.batch, step_model=constants.step_model,
    )  # fmt: skip
    data = records.prediction(prediction, request.output)
    text = report.dump(data)
    if note := capacity_note(arch, deployment, tier0):
        sys.stderr.write(f"jaxroof: note: {note}\n")
    title = f"{request.model} on {request.tp} × {constants.hardware}, {constants.step_model} step time"
    parts = {"TTFT": tables.breakdown(prediction.prefill), "ITL": tables.breakdown(prediction.decode)}
    if plot is not None:
        report.write_breakdown(plot, title, parts)
    if json:
        sys.stdout.write(text)
        return
    latencies = {name: float("nan") if ms is None else ms for name, ms in data.items() if name != "breakdown"}
    report.print_table(pd.DataFrame([latencies]), title, digits=3)
    for name, table in parts.items() if plot is not None else ():
        report.print_table(table, f"{name}, part by part, on one GPU", digits=3)


def capacity_note(arch: Architecture, deployment: Deployment, tier0: Tier0) -> str | None:
    """A line where the weights alone do not fit the GPUs."""
    weights_gb, gpu_gb = (
        float(work.total_weight_bytes(arch) / deployment.tp) / GIGA,
        float(tier0.hardware.hbm_bytes) / GIGA,
    )
    fit = weights_fit(arch, deployment.tp, tier0.hardware.hbm_bytes)
    return None if fit else f"{weights_gb:.0f} GB of weights per GPU do not fit its {gpu_gb:.0f} GB"
