"""``jaxroof study``: a study, a collection of them, or gradient against grid."""

from collections.abc import Mapping
from pathlib import Path

from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.load import load_ground_truth
from jaxroof.files import check_writable
from jaxroof.report.progress import progress
from jaxroof.request.limits import refuse_mixture
from jaxroof.step import Model
from jaxroof.studies import record, write
from jaxroof.studies import run as core_study
from jaxroof.studies.load import check_groups, check_terms, load_studies, study_models
from jaxroof.studies.spec import Collection, ComparisonSpec, Study

Prepared = tuple[Study, GroundTruth, dict[str, Model]]


def run(name: str, out: Path | None, json: bool) -> None:
    """Run a study, every member of a collection, or gradient against grid."""
    spec, studies = load_studies(name)
    prepared = _prepare(studies)
    check_writable(out)
    if isinstance(spec, ComparisonSpec):
        return _compare(spec, prepared, out, json, name)
    runs = {
        member: (core_study.run_all(study, truth.runs, truth.groups(), models), truth)
        for member, (study, truth, models) in progress(prepared.items(), "studies", len(prepared))
    }
    if isinstance(spec, Collection):
        write.show_collection(out, spec, runs, record.collection(spec, runs), json, name)
    else:
        ((results, truth),) = runs.values()
        write.show_study(out, name, results, record.study(results, truth), truth, json)


def _compare(spec: ComparisonSpec, prepared: Mapping[str, Prepared], out: Path | None, json: bool, name: str) -> None:
    """Solve every problem of a comparison by its grid and by descent."""
    from jaxroof.calibration.against_grid import compare_all  # its optimiser loads as long as another study runs
    from jaxroof.calibration.against_grid_findings import show_comparison

    result = compare_all(progress(prepared.values(), "problems", len(prepared)))
    show_comparison(out, spec, result, json, name)


def _prepare(specs: Mapping[str, Study]) -> dict[str, Prepared]:
    """Studies, the measurements and their models, checked against each other. Raises InputError."""
    models = {name: study_models(spec) for name, spec in specs.items()}
    truth = load_ground_truth(models=[model for each in models.values() for model in each.values()])
    for name, spec in specs.items():
        check_groups(name, spec, truth.groups())
        for step in {*(model.step for model in models[name].values()), *spec.also_step_model}:
            refuse_mixture(name, step, truth.runs.architecture)
        check_terms(name, spec, models[name], truth.runs)
    return {name: (spec, truth, models[name]) for name, spec in specs.items()}
