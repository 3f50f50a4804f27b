"""``jaxroof study``: a study, a collection of them, or gradient against grid."""

from collections.abc import Mapping
from pathlib import Path

from jaxroof.catalogue.choice import refuse_mixture
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.load import load_ground_truth
from jaxroof.files import check_writable
from jaxroof.parameters import Tier0
from jaxroof.report.progress import progress
from jaxroof.studies import record, write
from jaxroof.studies import run as core_study
from jaxroof.studies.load import check_groups, check_terms, load_studies, study_tier0s
from jaxroof.studies.spec import Collection, ComparisonSpec, Study

Prepared = tuple[Study, GroundTruth, dict[str, Tier0]]


def run(name: str, out: Path | None, json: bool) -> None:
    """Run a study, every member of a collection, or gradient against grid."""
    spec, studies = load_studies(name)
    prepared = _prepare(studies)
    if out is not None:
        check_writable(out)
    if isinstance(spec, ComparisonSpec):
        return _compare(spec, prepared, out, json)
    runs = {
        member: (core_study.run_all(study, truth.runs, truth.groups(), tier0s), truth)
        for member, (study, truth, tier0s) in progress(prepared.items(), "studies", len(prepared))
    }
    if isinstance(spec, Collection):
        write.show_collection(out, spec, runs, record.collection(spec, runs), json)
    else:
        ((results, truth),) = runs.values()
        write.show_study(out, name, results, record.study(results, truth), truth, json)


def _compare(spec: ComparisonSpec, prepared: Mapping[str, Prepared], out: Path | None, json: bool) -> None:
    """Solve every problem of a comparison by its grid and by descent."""
    from jaxroof.calibration.against_grid import compare  # its optimiser takes as long to load as another study to run
    from jaxroof.calibration.against_grid_findings import show_comparison

    compared = {
        name: compare(study, list(tier0s.values())[-1], truth.runs, truth.groups()["train"])
        for name, (study, truth, tier0s) in progress(prepared.items(), "problems", len(prepared))
    }
    show_comparison(out, spec, compared, json)


def _prepare(specs: Mapping[str, Study]) -> dict[str, Prepared]:
    """Studies, the measurements and their constants, checked against each other. Raises InputError."""
    constants = {name: study_tier0s(spec) for name, spec in specs.items()}
    truth = load_ground_truth(tier0s=[tier0 for tier0s in constants.values() for tier0 in tier0s.values()])
    for name, spec in specs.items():
        check_groups(name, spec, truth.groups())
        for step_model in {*spec.step_models().values(), *spec.also_step_model}:
            refuse_mixture(name, step_model, truth.runs.architecture)
        check_terms(name, spec, constants[name], truth.runs)
    return {name: (spec, truth, constants[name]) for name, spec in specs.items()}
