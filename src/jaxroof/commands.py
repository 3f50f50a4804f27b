"""What each command does: load, one core call, write."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxroof import prediction as core_prediction
from jaxroof import study as core_study
from jaxroof import work
from jaxroof.capacity import weights_fit
from jaxroof.comparison import compare
from jaxroof.inputs import files
from jaxroof.inputs.collections import load_collection
from jaxroof.inputs.comparisons import ComparisonSpec, load_comparison
from jaxroof.inputs.configs import catalogue, find, load_architecture, load_deployment, load_tier0, with_settings
from jaxroof.inputs.errors import InputError
from jaxroof.inputs.ground_truth import GroundTruth, load_ground_truth
from jaxroof.inputs.studies import check_groups, check_terms, load_study, study_tier0s
from jaxroof.inputs.workloads import CACHED_TOKENS, TOKENS
from jaxroof.leaves import COUNT, Range
from jaxroof.metrics import SCORINGS
from jaxroof.outputs import records, report, tables
from jaxroof.outputs.comparison_report import show_comparison
from jaxroof.outputs.progress import progress
from jaxroof.params import Architecture, Deployment, Tier0
from jaxroof.spec import Study
from jaxroof.step import STEP_MODELS
from jaxroof.units import GIGA


@dataclasses.dataclass(frozen=True)
class Constants:
    """The options that choose a step-time model and its constants."""

    named_step_model: str | None
    hardware: str
    formula: str | None
    mfu_tables: Path | None
    settings: Sequence[str]

    @property
    def step_model(self) -> str:
        """``kernels``, unless named or an overhead formula is given: those describe what ``memory`` lacks."""
        formula_given = self.formula or self.hardware.endswith(".json")
        return self.named_step_model or ("memory" if formula_given else "kernels")

    @property
    def default_scoring(self) -> str:
        """``itl`` for ``kernels``; what was published is ``published``."""
        return "itl" if self.step_model == "kernels" else "published"

    def tier0(self) -> Tier0:
        """The constants, checked. Raises InputError."""
        files.one_of("--step-model", "value", self.step_model, STEP_MODELS)
        if self.mfu_tables is not None and self.step_model != "roofline":
            raise InputError("--mfu-tables", self.step_model, "uses no MFU tables; only roofline does")
        formula = self.formula or ("none" if self.step_model == "kernels" else None)
        return with_settings(load_tier0(self.hardware, formula, self.mfu_tables), self.settings)

    def formula_name(self) -> str:
        """What the overheads are before ``--set``."""
        original = self.hardware if self.hardware.endswith(".json") else "h2b"
        return self.formula or ("none" if self.step_model == "kernels" else original)


@dataclasses.dataclass(frozen=True)
class Request:
    """The options that describe a request and where it is served."""

    model: str
    tp: int
    prompt: int
    output: int
    cached: int
    batch: int


def study(name: str, out: Path | None, json: bool) -> None:
    """Run a study, every member of a collection, or gradient against grid."""
    if comparison := load_comparison(name):
        return _compare(comparison, out, json)
    collection = load_collection(name)
    prepared = _prepare(collection.members if collection else [name])
    if out is not None:
        report.check_writable(out)
    runs = {
        member: (core_study.run_all(spec, truth.runs, truth.groups(), tier0s), truth)
        for member, (spec, truth, tier0s) in progress(prepared.items(), "studies", len(prepared))
    }
    if collection:
        report.show_collection(out, collection, runs, records.collection(collection, runs), json)
    else:
        ((results, truth),) = runs.values()
        report.show_study(out, name, results, records.study(results, truth), truth, json)


def _compare(spec: ComparisonSpec, out: Path | None, json: bool) -> None:
    """Solve every problem of a comparison by its grid and by descent."""
    if out is not None:
        report.check_writable(out)
    prepared = _prepare([problem.name for problem in spec.problems])
    compared = {
        name: compare(study, list(tier0s.values())[-1], truth.runs, truth.groups()["train"])
        for name, (study, truth, tier0s) in progress(prepared.items(), "problems", len(prepared))
    }
    show_comparison(out, spec, compared, json)


def _prepare(names: Sequence[str]) -> dict[str, tuple[Study, GroundTruth, dict[str, Tier0]]]:
    """Studies, the measurements and their constants, checked against each other. Raises InputError."""
    specs = {name: load_study(name) for name in names}
    constants = {name: study_tier0s(spec) for name, spec in specs.items()}
    truth = load_ground_truth(tier0s=[tier0 for tier0s in constants.values() for tier0 in tier0s.values()])
    for name, spec in specs.items():
        check_groups(name, spec, truth.groups())
        for step_model in {*spec.step_models().values(), *spec.also_step_model}:
            refuse_mixture(name, step_model, truth.runs.architecture)
        check_terms(name, spec, constants[name], truth.runs)
    return {name: (spec, truth, constants[name]) for name, spec in specs.items()}


def evaluate(
    constants: Constants, *, scoring: str | None, ground_truth: Path | None, seed: int | None, json: bool
) -> None:
    """Errors of one set of constants on every experiment."""
    step_model = constants.step_model
    tier0, truth, scoring = measured(constants, scoring, ground_truth, seed)
    predicted = core_study.evaluate({"run": tier0}, truth.runs, scoring, {"run": step_model})
    errors = {"run": core_study.errors(predicted["run"], truth.runs.measured[scoring])}
    data = {"step_model": step_model, "scoring": scoring}
    data |= records.evaluation(predicted, errors, truth.groups(), truth.experiments)
    _show(data, tables.evaluation_table(data), f"{step_model}, {scoring} scoring", json)


def measured(
    constants: Constants, scoring: str | None, ground_truth: Path | None, seed: int | None = None
) -> tuple[Tier0, GroundTruth, str]:
    """Constants, the measurements to compare with, and under which scoring. Raises InputError."""
    tier0, step_model = constants.tier0(), constants.step_model
    scoring = scoring or constants.default_scoring
    files.one_of("--scoring", "value", scoring, SCORINGS)
    if seed is not None:
        files.number("--sampled", "seed", seed, Range(whole=True))
    truth = load_ground_truth(ground_truth, [tier0], seed)
    refuse_mixture(ground_truth or "ground truth", step_model, truth.runs.architecture)
    return tier0, truth, scoring


def predict(constants: Constants, request: Request, plot: Path | None, json: bool) -> None:
    """Latency of one request; with ``plot`` its breakdown as a PNG, and its parts."""
    for option, legal in {"prompt": TOKENS, "output": TOKENS, "cached": CACHED_TOKENS, "batch": COUNT}.items():
        files.number("predict", f"--{option}", getattr(request, option), legal)
    tier0, arch = constants.tier0(), load_architecture(request.model)
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


def list_(kind: str, json: bool) -> None:
    """Names of a catalogue, with what tells them apart."""
    listings = {"models": _models, "hardware": _titled, "overheads": _titled, "studies": _titled}
    files.one_of("list", "kind", kind, [*listings, "experiments"])
    rows = (
        [dataclasses.asdict(e) for e in load_ground_truth().experiments]
        if kind == "experiments"
        else listings[kind](kind)
    )
    _show({kind: rows}, pd.DataFrame(rows), kind, json)


def capacity_note(arch: Architecture, deployment: Deployment, tier0: Tier0) -> str | None:
    """A line where the weights alone do not fit the GPUs."""
    weights_gb, gpu_gb = (
        float(work.total_weight_bytes(arch) / deployment.tp) / GIGA,
        float(tier0.hardware.hbm_bytes) / GIGA,
    )
    fit = weights_fit(arch, deployment.tp, tier0.hardware.hbm_bytes)
    return None if fit else f"{weights_gb:.0f} GB of weights per GPU do not fit its {gpu_gb:.0f} GB"


def refuse_mixture(where: object, step_model: str, arch: Architecture) -> None:
    """Only ``kernels`` models a mixture of experts. Raises InputError."""
    if step_model != "kernels" and np.any(np.asarray(arch.num_experts) > 0):
        raise InputError(where, "num_experts", f"the {step_model} step time is for dense models; use kernels")


def _models(kind: str) -> list[dict[str, Any]]:
    architectures = {name: load_architecture(name) for name in catalogue(kind)}
    return [
        {
            "name": name,
            "parameters_billion": float(work.parameter_count(arch)) / 1e9,
            "layers": int(arch.num_hidden_layers),
        }
        for name, arch in architectures.items()
    ]


def _titled(kind: str) -> list[dict[str, Any]]:
    return [{"name": name, "title": files.read_toml(find(kind, name))["title"]} for name in catalogue(kind)]


def _show(data: Mapping[str, Any], table: pd.DataFrame, title: str, json: bool) -> None:
    if json:
        sys.stdout.write(report.dump(data))
    else:
        report.print_table(table, title)
