"""The options of ``sweep`` → what varies, what is evaluated, and what is kept of it."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from jaxroof import defaults
from jaxroof.catalogue.choice import REQUEST_RANGES, ModelOptions, RequestOptions
from jaxroof.catalogue.load import load_architecture, load_hardware
from jaxroof.catalogue.model_notes import model_notes
from jaxroof.catalogue.sampling import sampled_by
from jaxroof.experiments.load import load_ground_truth
from jaxroof.experiments.metrics import SCORINGS
from jaxroof.experiments.runs import SPLITTING
from jaxroof.files import COUNT, InputError, check
from jaxroof.files.columns import column_names
from jaxroof.parameters import Architecture, Inputs, Latents, Layers, alike, declared, replace, walk
from jaxroof.report.report import note
from jaxroof.request.fixed_lengths import PANELS, panels_of
from jaxroof.request.limits import refuse_layers
from jaxroof.serving.capacity import beyond_positions
from jaxroof.step import Model
from jaxroof.sweeps import objectives
from jaxroof.sweeps.axes import Axes, Keys, key_of, load_space
from jaxroof.sweeps.objectives import ARCHITECTURE, Objective, Variants
from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.reductions import Best, Marginals, Pareto, Reduction
from jaxroof.sweeps.space import Grid, Space

# Where the quadrature over lengths splits: at every multiple, so not at many of them.
MOST_SPLITTING = 16
# What makes step time kink in the context.
SPANS = {f"{ARCHITECTURE}{key}" for key in ("sliding_window", "attention_chunk_size")}
# What varies by name.
NAMED = ("hardware", "server", "formula")
MOST_BEST = dataclasses.replace(COUNT, high=1e5)


@dataclasses.dataclass(frozen=True)
class Score:
    """The options of an evaluation of the measured runs, as far as they are given."""

    metric: str | None
    group: str | None
    scoring: str | None
    ground_truth: Path | None


@dataclasses.dataclass(frozen=True)
class Keep:
    """The options that say what is kept of the points."""

    best: int | None
    by: str | None
    pareto: str | None
    marginals: bool


# All that a sweep is made from, in the order of :func:`load_plan`.
Asked = tuple[ModelOptions, Axes, RequestOptions, Score, Keep]


def written(asked: Asked) -> str:
    """Options as text, for a shard's file or a worker."""
    return msgspec.json.encode(asked, enc_hook=str).decode()


def read(text: str) -> Asked:
    """The inverse of :func:`written`."""
    asked: Asked = msgspec.json.decode(text, type=Asked, dec_hook=lambda kind, value: kind(value))
    return asked


def load_plan(options: ModelOptions, axes: Axes, request: RequestOptions, score: Score, keep: Keep) -> Plan:
    """Everything checked, before anything is computed. Raises InputError."""
    varied = column_names(axes.points) if axes.points is not None else [key_of(t) for t in (*axes.vary, *axes.zipped)]
    serves = request.model is not None or "model" in varied
    _not_twice(varied, options, request)
    if objectives.BUDGET in varied:
        raise InputError("--vary", objectives.BUDGET, "decides how many steps a prompt takes: give it by --set")
    base = dataclasses.replace(options, formula=None if "formula" in varied else options.formula)
    space = load_space(axes, _keys(base.model(varied), varied, serves))
    models = _models(base, space, [objectives.TUNED] if serves else [])
    if serves:
        objective, settled = _served(options, models, space, request, score)
    else:
        objective, settled = _scored(options, models, space, score)
    reductions, by = _reductions(keep, space, objective)
    settled |= {} if "hardware" in varied else {"hardware": options.hardware}
    return Plan(space, objective, reductions, by, {"step_model": options.step_model} | settled)


def _keys(model: Model, varied: Sequence[str], serves: bool) -> Keys:
    constants = {key: leaf.range for key, _, leaf in walk(model)} | dict.fromkeys(NAMED)
    leaves = declared(Architecture) | declared(Layers) | declared(Latents) | declared(Inputs)
    of_model = {f"{ARCHITECTURE}{key}": leaf.range for key, (_, leaf) in leaves.items()}
    of_request = REQUEST_RANGES | of_model | {"model": None}
    if not serves and (key := next((key for key in varied if key in of_request), None)):
        raise InputError("--vary", key, "needs --model, or a model that varies")
    return constants | of_request


def _not_twice(varied: Sequence[str], options: ModelOptions, request: RequestOptions) -> None:
    """An option must not name what varies."""
    hardware = options.hardware if options.hardware != defaults.HARDWARE else None
    given = dataclasses.asdict(request) | {f"{ARCHITECTURE}kv_cache_bytes": request.kv_cache_dtype}
    given |= {"formula": options.formula, "server": options.server, "hardware": hardware}
    for key in varied:
        if given.get(key) is not None:
            raise InputError(f"--{key}", str(given[key]), "varies, so it cannot be given too")
        if key in map(key_of, options.settings):
            raise InputError("--set", key, "varies, so it cannot be set too")
    if "hardware" in varied and options.mfu_tables is not None:
        raise InputError("--mfu-tables", str(options.mfu_tables), "are one GPU's, and the hardware varies")


def _models(options: ModelOptions, space: Space, tables: Sequence[str]) -> Variants:
    """The model of every combination of the names that vary."""
    labels = {name: space.labels[name] for name in NAMED if name in space.labels}
    chosen: list[dict[str, Any]] = [
        dict(zip(labels, each, strict=True)) for each in itertools.product(*labels.values())
    ]
    return objectives.variants(
        [dataclasses.replace(options, **each).model(space.block(0, 0)) for each in chosen], labels, tables
    )


def _served(
    options: ModelOptions, models: Variants, space: Space, request: RequestOptions, score: Score
) -> tuple[Objective, dict[str, Any]]:
    for option, value in dataclasses.asdict(score).items():
        if value is not None:
            raise InputError(f"--{option.replace('_', '-')}", str(value), "is for the measured runs, not for a --model")
    names = space.labels.get("model", (request.model or "",))
    archs = [
        sampled_by("--sampling", request.sampling, load_architecture(name, request.kv_cache_dtype)) for name in names
    ]
    for name, arch in zip(names, archs, strict=True):
        refuse_layers(name, options.step_model, arch)
    varied = set(space.block(0, 0))
    if varied & {f"{ARCHITECTURE}{key}" for key in declared(Inputs)}:
        layers = [dataclasses.replace(arch.layers, inputs=arch.layers.inputs or Inputs()) for arch in archs]
        archs = [dataclasses.replace(arch, layers=each) for arch, each in zip(archs, layers, strict=True)]
    if options.step_model != "kernels" and f"{ARCHITECTURE}num_experts" in varied:
        raise InputError(
            "--vary", f"{ARCHITECTURE}num_experts", f"the {options.step_model} step time is for dense models"
        )
    fixed = request.checked("sweep", [key for key in REQUEST_RANGES if key not in varied])
    prompt, output = (space.largest(key) if key in varied else fixed[key] for key in ("prompt", "output"))
    gpus = {name: load_hardware(name) for name in space.labels.get("hardware", ())}
    gpus = gpus or {options.hardware: models.base.constants.hardware}
    said = [line for name, arch in zip(names, archs, strict=True) for line in model_notes(name, arch, gpus)]
    said += [beyond for arch in archs if (beyond := beyond_positions(arch, prompt + output))]
    note(dict.fromkeys(said))
    named = objectives.variants(alike(archs), {"model": names} if "model" in space.labels else {})
    given = {key: value for key, value in dataclasses.asdict(request).items() if value is not None}
    panels = PANELS if varied & SPANS else panels_of(models.base.constants.hardware.mfu, archs)
    return objectives.served(models, named, fixed, prompt, panels), given


def _scored(options: ModelOptions, models: Variants, space: Space, score: Score) -> tuple[Objective, dict[str, Any]]:
    metric = score.metric or "tpot_mape"
    check.one_of("--metric", "value", metric, ["tpot_mape", "latencies"])
    if metric == "latencies" and score.group is not None:
        raise InputError("--group", score.group, "is for errors, not for latencies")
    scoring = score.scoring or defaults.SCORING
    check.one_of("--scoring", "value", scoring, SCORINGS)
    if np.all(models.base.own) and f"constants.{objectives.BUDGET}" in models.differing:
        raise InputError("--vary", objectives.BUDGET, "differs among the servers: their runs take different steps")
    truth = load_ground_truth(score.ground_truth, _splitting(models, space))
    refuse_layers(score.ground_truth or "ground truth", options.step_model, truth.runs.architecture)
    groups, group = truth.groups(), "all" if score.group is None else score.group
    check.one_of("--group", "value", group, groups)
    note(truth.notes())
    names = [e.name for e in truth.experiments] if metric == "latencies" else None
    objective = objectives.scored(models, truth.runs, groups[group], names, scoring=scoring)
    return objective, {"scoring": scoring, "metric": metric, "group": group}


def _splitting(models: Variants, space: Space) -> list[Model]:
    """Models with every value of those that the quadrature splits at. Raises InputError where they are many."""
    each: list[Model] = [models.base]
    for key in SPLITTING:  # also the path of the attribute
        values = models.differing.get(f"constants.{key}", np.zeros(0))
        if key in space.block(0, 0):
            axis = next((axis for axis in (space.axes if isinstance(space, Grid) else ()) if key in axis.columns), None)
            values = axis.columns[key] if axis else values
            if not 0 < len(values) <= MOST_SPLITTING:
                raise InputError("--vary", key, f"must be at most {MOST_SPLITTING} values of a --vary or --zip")
        each += [replace(models.base, {key: value}) for value in np.unique(values)]
    return each


def _reductions(keep: Keep, space: Space, objective: Objective) -> tuple[dict[str, Reduction], int]:
    """What is kept, by name, and the metric that ranks. Raises InputError."""
    reductions: dict[str, Reduction] = {}
    names, count = objective.metrics, len(objective.metrics)
    if keep.by is not None and keep.best is None and not keep.marginals:
        raise InputError("--by", keep.by, "is for --best and --marginals")
    by = _metric("--by", keep.by, names) if keep.by is not None else 0
    if keep.best is not None:
        most = int(check.number("--best", "N", keep.best, MOST_BEST))
        reductions["best"] = Best(most, by, count)
    if keep.pareto is not None:
        wanted = [_metric("--pareto", name.strip(), names) for name in keep.pareto.split(",")]
        if len(set(wanted)) < max(len(wanted), 2):
            raise InputError("--pareto", keep.pareto, "must be two or more different metrics")
        reductions["pareto"] = Pareto(wanted, count)
    if keep.marginals:
        if not isinstance(space, Grid):
            raise InputError("--marginals", "needs axes: --vary or --zip, without --random")
        reductions["marginals"] = Marginals(by, [len(axis) for axis in space.axes])
    return reductions, by


def _metric(option: str, name: str, names: Sequence[str]) -> int:
    """A metric's place; vLLM calls the ITL a TPOT."""
    name = "itl_ms" if name == "tpot_ms" and "itl_ms" in names else name
    check.one_of(option, "metric", name, names)
    return names.index(name)
