"""``jaxroof study``: a study, a collection of them, gradient against grid, or mechanisms of servers."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from jaxroof.catalogue.names import beside
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.load import load_ground_truth
from jaxroof.files import InputError
from jaxroof.mechanisms.analysis import judge, score
from jaxroof.mechanisms.findings import mechanisms_report
from jaxroof.mechanisms.load import is_of_mechanisms, load_mechanisms
from jaxroof.mechanisms.record import record
from jaxroof.report.folder import check_out
from jaxroof.report.progress import progress
from jaxroof.report.report import Report
from jaxroof.request.limits import refuse_layers
from jaxroof.step import Model
from jaxroof.studies import run as core_study
from jaxroof.studies.collection_findings import collection_report
from jaxroof.studies.findings import named, study_report
from jaxroof.studies.load import check_groups, check_terms, load_studies, study_models
from jaxroof.studies.spec import MEASURED, Collection, ComparisonSpec, Study

ANALYTIC = "has analytic MFU; only a study with measured MFU takes tables"
Prepared = tuple[Study, GroundTruth, dict[str, Model]]


def run(name: str, mfu_tables: Path | None, out: Path | None, force: bool, json: bool) -> None:
    """Run a study, every member of a collection, gradient against grid, or a study of mechanisms."""
    if is_of_mechanisms(name):
        return _mechanisms(name, mfu_tables, out, force, json)
    spec, studies = load_studies(name)
    if mfu_tables and not any(study.mfu == MEASURED for study in studies.values()):
        raise InputError("--mfu-tables", name, ANALYTIC)
    prepared = _prepare(studies, mfu_tables)
    check_out(out, named(spec), force)
    if out and isinstance(spec, Collection):
        for study in studies.values():
            check_out(out / study.name, named(study), force)
    _report(name, spec, prepared, mfu_tables, out).deliver(out, force, json)


def _mechanisms(name: str, mfu_tables: Path | None, out: Path | None, force: bool, json: bool) -> None:
    if mfu_tables:
        raise InputError("--mfu-tables", name, ANALYTIC)
    spec, sources = load_mechanisms(name)
    check_out(out, named(spec), force)
    scored = {key: score(spec, source) for key, source in progress(sources.items(), "sources", len(sources))}
    mechanisms_report(_again(name, out, None), spec, record(judge(spec, scored))).deliver(out, force, json)


def _report(
    name: str, spec: Study | Collection | ComparisonSpec, prepared: Mapping[str, Prepared],
    mfu_tables: Path | None, out: Path | None,
) -> Report:  # fmt: skip
    again = _again(name, out, mfu_tables)
    if isinstance(spec, ComparisonSpec):  # its optimiser loads as long as another study runs
        from jaxroof.calibration.against_grid import compare_all
        from jaxroof.calibration.against_grid_findings import comparison_report

        return comparison_report(again, spec, compare_all(progress(prepared.values(), "problems", len(prepared))))
    runs = {
        member: (core_study.run_all(study, truth.runs, truth.groups(), models), truth)
        for member, (study, truth, models) in progress(prepared.items(), "studies", len(prepared))
    }
    if isinstance(spec, Collection):
        each = [
            _again(beside(Path(name), file), out and out / study.name, mfu_tables if study.mfu == MEASURED else None)
            for file, (study, _, _) in zip(spec.members, prepared.values(), strict=True)
        ]
        return collection_report(again, spec, runs, each)
    return study_report(again, *runs[name])


def _again(name: str, out: Path | None, mfu_tables: Path | None) -> str:
    """The command that runs again what is called ``name``, in the catalogue or by its path."""
    options = {"--mfu-tables": mfu_tables, "--out": out}
    return shlex.join(["jaxroof", "study", name, *(x for key, at in options.items() if at for x in (key, str(at)))])


def _prepare(specs: Mapping[str, Study], mfu_tables: Path | None) -> dict[str, Prepared]:
    """Studies, the measurements and their models, checked against each other. Raises InputError."""
    models = {name: study_models(spec, mfu_tables) for name, spec in specs.items()}
    truth = load_ground_truth(models=[model for each in models.values() for model in each.values()])
    for name, spec in specs.items():
        check_groups(name, spec, truth.groups())
        for step in {*(model.step for model in models[name].values()), *spec.also_step_model}:
            refuse_layers(name, step, truth.runs.architecture)
        check_terms(name, spec, models[name], truth.runs)
    return {name: (spec, truth, models[name]) for name, spec in specs.items()}
