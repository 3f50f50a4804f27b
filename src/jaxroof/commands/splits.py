"""``jaxroof splits``: HG1's search on every train/test split, group and sampled workload."""

from pathlib import Path

from jaxroof.commands.options import refuse_mixture
from jaxroof.inputs import files
from jaxroof.inputs.configs import load_tier0
from jaxroof.inputs.ground_truth import load_ground_truth
from jaxroof.outputs import report, splits_report
from jaxroof.outputs.splits_record import results
from jaxroof.step import STEP_MODELS


def run(step_model: str, out: Path | None, json: bool) -> None:
    """Analyse under both scorings; print tables, or one JSON object; fill the folder ``out``."""
    files.one_of("--step-model", "value", step_model, STEP_MODELS)
    tier0 = load_tier0(overheads="none")
    truth = load_ground_truth(tier0s=[tier0])
    refuse_mixture("ground truth", step_model, truth.runs.architecture)
    if out is not None:
        report.check_writable(out)
    data, analyses, sampled = results(tier0, truth, step_model)
    if out is not None:
        csvs, figures = splits_report.csvs(data, analyses, truth), list(splits_report.figures(data, analyses, sampled))
        report.write_folder(out, lambda draft: splits_report.fill(draft, data, csvs, figures))
    shown = {title: table for title, (_, table) in splits_report.tables(data).items()}
    report.show(data, shown, splits_report.answers(data), json)
