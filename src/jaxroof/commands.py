"""What each command does: load, one core call, write."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from jaxroof import files, report, tables, work
from jaxroof import predict as core_predict
from jaxroof import study as core_study
from jaxroof.configs import catalogue, find, load_architecture, load_tier0, with_settings
from jaxroof.ground_truth import CACHED_TOKENS, TOKENS, check_tp, load_ground_truth
from jaxroof.leaves import COUNT, Range
from jaxroof.metrics import SCORINGS
from jaxroof.params import Tier0
from jaxroof.step import STEP_MODELS
from jaxroof.studies import check_groups, load_study, study_tier0s


@dataclasses.dataclass(frozen=True)
class Constants:
    """The options that choose a step-time model and its constants."""

    step_model: str
    hardware: str
    formula: str | None
    mfu_tables: Path | None
    settings: Sequence[str]

    def tier0(self) -> Tier0:
        """The constants, checked. Raises InputError."""
        files.one_of("--step-model", "value", self.step_model, STEP_MODELS)
        return with_settings(load_tier0(self.hardware, self.formula, self.mfu_tables), self.settings)


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
    """Run a study under its scoring, then under the others it names."""
    spec = load_study(name)
    tier0s, truth = study_tier0s(spec), load_ground_truth()
    groups = truth.groups()
    check_groups(name, spec, groups)
    if out is not None:
        report.check_writable(out)
    scorings = [spec.scoring, *spec.also_scoring]
    results = [core_study.run(spec, scoring, truth.runs, groups, tier0s) for scoring in scorings]
    data = tables.results(results[0], truth.experiments)
    if others := results[1:]:
        data["also"] = {result.scoring: tables.results(result, truth.experiments) for result in others}
    if out is not None:
        report.write_study(out, results, data, truth)
    if json:
        sys.stdout.write(report.dump(data))
    else:
        for result in results:
            report.print_study(result, truth)


def evaluate(constants: Constants, *, scoring: str, ground_truth: Path | None, seed: int | None, json: bool) -> None:
    """Errors of one set of constants on every experiment."""
    files.one_of("--scoring", "value", scoring, SCORINGS)
    tier0 = constants.tier0()
    if seed is not None:
        files.number("--sampled", "seed", seed, Range(whole=True))
    truth = load_ground_truth(ground_truth, tier0, seed)
    predicted = core_study.evaluate({"run": tier0}, truth.runs, scoring, constants.step_model)
    errors = {"run": core_study.errors(predicted["run"], truth.runs.measured[scoring])}
    data = {"step_model": constants.step_model, "scoring": scoring}
    data |= tables.evaluation(predicted, errors, truth.groups(), truth.experiments)
    _show(data, tables.evaluation_table(data), f"{constants.step_model}, {scoring} scoring", json)


def predict(constants: Constants, request: Request, json: bool) -> None:
    """Latency of one request."""
    for option, legal in {"prompt": TOKENS, "output": TOKENS, "cached": CACHED_TOKENS, "batch": COUNT}.items():
        files.number("predict", f"--{option}", getattr(request, option), legal)
    tier0, arch = constants.tier0(), load_architecture(request.model)
    deployment = check_tp("predict", arch, request.tp)
    prediction = core_predict.predict(
        arch, deployment, tier0, prompt=request.prompt, output=request.output,
        cached=request.cached, batch=request.batch, step_model=constants.step_model,
    )  # fmt: skip
    data = tables.prediction(prediction, request.output)
    flat = {key: value for key, value in data.items() if key != "breakdown"} | data["breakdown"]
    table = pd.DataFrame({"quantity": list(flat), "ms": [float("nan") if v is None else v for v in flat.values()]})
    title = f"{request.model} on {request.tp} × {constants.hardware}, {constants.step_model} step time"
    _show(data, table, title, json)


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
