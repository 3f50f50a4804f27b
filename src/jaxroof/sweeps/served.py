"""A sweep of predictions: the models and requests whose latencies are evaluated, checked."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxroof.catalogue.choice import REQUEST_RANGES, ModelOptions, RequestOptions
from jaxroof.catalogue.load import load_architecture, load_hardware
from jaxroof.catalogue.model_notes import model_notes
from jaxroof.catalogue.sampling import sampled_by
from jaxroof.files import InputError
from jaxroof.parameters import Architecture, Hardware, alike, layer_leaves, replace, with_branches
from jaxroof.request.fixed_lengths import PANELS, panels_of
from jaxroof.request.limits import plain_layers, refuse_layers
from jaxroof.serving.capacity import beyond_positions
from jaxroof.sweeps import objectives
from jaxroof.sweeps.objectives import ARCHITECTURE, Objective, Variants
from jaxroof.sweeps.space import Space

# What makes step time kink in the context.
SPANS = {"sliding_window", "attention_chunk_size"}
PRECISION = "_bytes"


def served(
    options: ModelOptions, models: Variants, space: Space, request: RequestOptions
) -> tuple[Objective, dict[str, Any], list[str]]:
    """What is evaluated, the options that it was made from, and what there is to say of it. Raises InputError."""
    names = space.labels.get("model", (request.model or "",))
    archs = {
        name: sampled_by("--sampling", request.sampling, load_architecture(name, request.kv_cache_dtype))
        for name in names
    }
    varied = set(space.block(0, 0))
    leaves = {key.removeprefix(ARCHITECTURE) for key in varied if key.startswith(ARCHITECTURE)}
    _check_layers(options.step_model, archs, leaves)
    fixed = request.checked("sweep", [key for key in REQUEST_RANGES if key not in varied])
    prompt, output = (space.largest(key) if key in varied else fixed[key] for key in ("prompt", "output"))
    gpus = {name: load_hardware(name) for name in space.labels.get("hardware", ())}
    narrowest = {key: space.smallest(f"{ARCHITECTURE}{key}") for key in leaves if key.endswith(PRECISION)}
    notes = dict.fromkeys(
        _notes(archs, gpus or {options.hardware: models.base.constants.hardware}, narrowest, prompt + output)
    )
    every = [dataclasses.replace(arch, layers=with_branches(arch.layers, leaves)) for arch in archs.values()]
    named = objectives.variants(alike(every), {"model": names} if "model" in space.labels else {})
    panels = PANELS if leaves & SPANS else panels_of(models.base.constants.hardware.mfu, every)
    return objectives.served(models, named, fixed, prompt, panels), request.given(), list(notes)


def _check_layers(step_model: str, archs: Mapping[str, Architecture], varied: set[str]) -> None:
    """Raise InputError for layers that the step time does not know, or that cannot all have what varies."""
    for name, arch in archs.items():
        refuse_layers(name, step_model, arch)
        mixed = np.shape(arch.layers.num_hidden_layers)[-1] > 1
        if mixed and (key := next((key for key in layer_leaves() if key in varied), None)):
            why = f"{name} has a value for each kind of layer, and these differ"
            raise InputError("--vary", f"{ARCHITECTURE}{key}", why)
    for key, kind in plain_layers(step_model).items():
        if key in varied:
            why = f"the {step_model} step time is for {kind.what}; use kernels"
            raise InputError("--vary", f"{ARCHITECTURE}{key}", why)


def _notes(
    archs: Mapping[str, Architecture], gpus: dict[str, Hardware], narrowest: Mapping[str, float], tokens: float
) -> Iterator[str]:
    """Of each model where its numbers are ``narrowest``, and of requests of so many ``tokens``."""
    for name, arch in archs.items():
        branched = dataclasses.replace(arch, layers=with_branches(arch.layers, narrowest))
        yield from model_notes(name, replace(branched, narrowest), gpus)
    yield from (beyond for arch in archs.values() if (beyond := beyond_positions(arch, tokens)))
