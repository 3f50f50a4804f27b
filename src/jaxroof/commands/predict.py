"""``jaxroof predict``: the latency of one request."""

import dataclasses
from pathlib import Path

import jax

from jaxroof.catalogue.choice import ModelOptions, refuse_mixture
from jaxroof.catalogue.load import check_window, load_architecture, load_deployment
from jaxroof.commands import predict_tables
from jaxroof.files import CACHED_TOKENS, COUNT, TOKENS, InputError, check
from jaxroof.parameters import TP, Architecture, Tier0, scalar
from jaxroof.report import report
from jaxroof.report.tables import columns
from jaxroof.request import predict as core_prediction
from jaxroof.serving.capacity import beyond_positions, divides, gpu_bytes, most_requests, usable_bytes
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


def run(options: ModelOptions, request: Request, breakdown: bool, plot: Path, json: bool) -> None:
    """Latency of one request; with ``breakdown`` its parts too, and as the PNG ``plot``."""
    for option, legal in {"prompt": TOKENS, "output": TOKENS, "cached": CACHED_TOKENS, "batch": COUNT}.items():
        check.number("predict", f"--{option}", getattr(request, option), legal)
    if request.cached > request.prompt:
        raise InputError("predict", "--cached", f"must be ≤ --prompt {request.prompt}, got {request.cached}")
    model, arch = options.model(), load_architecture(request.model)
    check_window(request.model, arch, request.prompt + request.output)
    deployment = load_deployment("predict", arch, request.tp)
    check_memory(arch, request, model.constants)
    refuse_mixture(request.model, model.step, arch)
    prediction = core_prediction.predict(
        model, arch, deployment, prompt=request.prompt, output=request.output,
        cached=request.cached, batch=request.batch, parts=json or breakdown,
    )  # fmt: skip
    p = jax.device_get(prediction)
    parts = {n: predict_tables.breakdown(s) for n, s in {"TTFT": p.prefill, "ITL": p.decode}.items() if s.parts}
    notes = [note for note in [beyond_positions(arch, request.prompt + request.output)] if note]
    data = predict_tables.prediction(p.latency, request.output, parts) | {"notes": notes}
    report.dump(data)  # refused before anything is written where a latency is no number
    report.note(notes)
    title = f"{request.model} on {request.tp} × {options.hardware}, {model.step} step time"
    if breakdown:
        predict_tables.write_breakdown(plot, title, parts)
    latencies = {name: float("nan") if ms is None else ms for name, ms in data.items() if name.endswith("_ms")}
    tables = {title: [latencies], **{f"{name}, part by part, on one GPU": rows for name, rows in parts.items()}}
    report.show(data, {title: columns(rows) for title, rows in tables.items()}, [], json, digits=3)


def check_memory(arch: Architecture, request: Request, tier0: Tier0) -> None:
    """Weights and the KV cache of every request must fit. Raises InputError that says what would."""
    tokens = request.prompt + request.output
    if request.batch <= most_requests(arch, scalar(request.tp), tokens, tier0):
        return
    need, weights = (float(gpu_bytes(arch, scalar(request.tp), n * tokens)) / GIGA for n in (request.batch, 0))
    usable = float(usable_bytes(tier0)) / GIGA
    degrees = [tp for tp in range(1, int(TP.high) + 1) if divides(arch, scalar(tp))]
    fits = {tp: most_requests(arch, scalar(tp), tokens, tier0) for tp in degrees}
    wider = next((f"--tp {tp}" for tp, most in fits.items() if most >= request.batch), None)
    fewer = f"--batch {fits[request.tp]}" if fits[request.tp] else None
    raise InputError(
        "predict", "--batch",
        f"{weights:.1f} GB of weights and {need - weights:.1f} GB of KV cache per GPU exceed {usable:.1f} GB "
        f"({float(tier0.host.gpu_memory_utilization):g} of its memory); "
        f"{' or '.join(filter(None, (fewer, wider))) or 'no degree'} would fit",
    )  # fmt: skip
