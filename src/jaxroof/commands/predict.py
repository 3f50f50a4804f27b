"""``jaxroof predict``: the latency of one request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jaxroof import defaults
from jaxroof.catalogue.choice import ModelOptions, RequestOptions
from jaxroof.catalogue.load import load_architecture, load_deployment
from jaxroof.catalogue.model_notes import model_notes
from jaxroof.catalogue.sampling import sampled_by
from jaxroof.commands import predict_tables
from jaxroof.files import InputError
from jaxroof.intervals.bounds import bounds, check_samples
from jaxroof.intervals.constants import constants_of
from jaxroof.intervals.words import interval_in_words
from jaxroof.parameters import TP, Architecture, Tier0, scalar
from jaxroof.report.report import Report, dump, note, sheets
from jaxroof.report.tables import columns
from jaxroof.request.limits import check_window, refuse_layers
from jaxroof.request.predict import latency_of, predict, prepared
from jaxroof.serving.capacity import (
    beyond_positions,
    divides,
    gpu_bytes,
    held_tokens,
    most_requests,
    room_bytes,
    room_in_words,
)
from jaxroof.units import GIGA

KEYS = ("prompt", "output", "cached", "batch", "output_cv", "ep")


def run(
    options: ModelOptions, request: RequestOptions, breakdown: bool, plot: Path | None, samples: int | None, json: bool
) -> None:
    """Latency of one request and its interval; with ``breakdown`` its parts too, and as the PNG ``plot``."""
    assert request.model is not None  # as the command line requires
    assert request.tp is not None
    if plot and not breakdown:
        raise InputError("predict", "--plot", "is the PNG of --breakdown, which is not given")
    check_samples("predict", samples)
    counts = request.checked("predict", KEYS)
    if counts["cached"] > counts["prompt"]:
        raise InputError("predict", "--cached", f"must be ≤ --prompt {counts['prompt']}, got {counts['cached']}")
    tokens, ep = counts["prompt"] + counts["output"], counts.pop("ep")
    arch = load_architecture(request.model, request.kv_cache_dtype)
    model, arch = options.model(), sampled_by("--sampling", request.sampling, arch)
    check_window(request.model, options.step_model, arch, tokens)
    deployment = load_deployment("predict", arch, request.tp, ep)
    check_memory(arch, request.tp, counts, model.constants)
    refuse_layers(request.model, model.step, arch)
    p = jax.device_get(predict(model, arch, deployment, **counts, parts=json or breakdown))
    traced, static = prepared(model, arch, deployment, **counts)
    interval = bounds(latency_of, model, traced, constants_of(model, options.ranges()), static, samples)
    parts = {n: predict_tables.breakdown(s) for n, s in {"TTFT": p.prefill, "ITL": p.decode}.items() if s.parts}
    context = float(p.context_tokens)
    gpu = {options.hardware: model.constants.hardware}
    notes = model_notes(request.model, arch, gpu) + _notes(arch, request.tp, tokens, context, counts, model.constants)
    inputs = {
        "model": request.model, "hardware": options.hardware, "tp": request.tp, "ep": ep, **counts,
        "context_tokens": context, "server": options.server or defaults.server(options.step_model),
        "sampling": arch.sampling.given(), "kv_cache_dtype": request.kv_cache_dtype or "auto",
        "step_model": options.step_model, "formula": options.overheads_source(), "set": list(options.settings),
    }  # fmt: skip
    data = predict_tables.prediction(p.latency, interval, counts["output"], counts["batch"], parts)
    data |= {"inputs": inputs, "notes": notes}
    dump(data)  # refused before anything is written where a latency is no number
    note(notes)
    title = f"{request.model} on {request.tp} × {options.hardware}, {model.step} step time"
    if breakdown:
        predict_tables.write_breakdown(plot or Path("breakdown.png"), title, inputs, parts)
    tables = {title: predict_tables.shown(data), **{f"{n}, part by part, on one GPU": r for n, r in parts.items()}}
    shown, said = sheets({title: columns(rows) for title, rows in tables.items()}), [predict_tables.setting(inputs)]
    said.append(interval_in_words(data["interval"]))
    Report("prediction", data, shown, said, digits=3).show(json)


def _notes(
    arch: Architecture, tp: int, tokens: int, context: float, counts: Mapping[str, Any], tier0: Tier0
) -> list[str]:
    """What there is to say of a request that the numbers do not show."""
    batch, slots = counts["batch"], float(tier0.server.max_num_seqs)
    crowded = f"{batch} requests are more than the server's {slots:g} slots (server.max_num_seqs)"
    held = counts["cached"] + batch * (context - counts["cached"])
    need = float(gpu_bytes(arch, scalar(tp), scalar(held), scalar(batch), tier0.server.block_size)) / GIGA
    room = float(room_bytes(arch, scalar(tp), tier0)) / GIGA
    full = f"{batch} requests of {context:.0f} tokens and the weights need {need:.1f} GB per GPU of {room:.1f} usable"
    said = (beyond_positions(arch, tokens), crowded if batch > slots else None, full if need > room else None)
    return [note for note in said if note]


def check_memory(arch: Architecture, tp: int, counts: Mapping[str, Any], tier0: Tier0) -> None:
    """Weights and the least KV cache of the batch must fit. Raises InputError that says what would."""
    request, batch = {key: counts[key] for key in ("prompt", "cached", "output")}, counts["batch"]
    if batch <= most_requests(arch, scalar(tp), tier0, **request):
        return
    degrees = [n for n in range(1, int(TP.high) + 1) if divides(arch, scalar(n))]
    fits = {n: most_requests(arch, scalar(n), tier0, **request) for n in degrees}
    held = held_tokens(**request, batch=batch, block_size=tier0.server.block_size)
    block = tier0.server.block_size
    need, weights = (float(gpu_bytes(arch, scalar(tp), scalar(n), scalar(batch), block)) / GIGA for n in (held, 0))
    wider = next((f"--tp {n}" for n, most in fits.items() if most >= batch), None)
    fewer = f"--batch {fits[tp]}" if fits[tp] else None
    raise InputError(
        "predict", "--batch" if fewer else "--tp",
        f"{weights:.1f} GB of weights and {need - weights:.1f} GB of KV cache per GPU exceed "
        f"{room_in_words(arch, scalar(tp), tier0)}; "
        f"{' or '.join(filter(None, (fewer, wider))) or 'no degree'} would fit",
    )  # fmt: skip
