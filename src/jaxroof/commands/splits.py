"""``jaxroof splits``: HG1's search on every train/test split, group and sampled workload."""

from pathlib import Path

from jaxroof.catalogue.choice import command_line
from jaxroof.catalogue.load import load_model
from jaxroof.experiments.load import load_ground_truth
from jaxroof.report.folder import check_out
from jaxroof.request.limits import check_takes_time, refuse_layers
from jaxroof.splits import findings
from jaxroof.splits.analysis import analyse
from jaxroof.splits.load import tpot_digits
from jaxroof.splits.record import record
from jaxroof.studies.load import load_study


def run(step_model: str, server: str | None, out: Path | None, force: bool, json: bool) -> None:
    """Analyse under both scorings; print tables, or one JSON object; fill the folder ``out``."""
    model = load_model(step_model, server=server)
    check_takes_time("--step-model", model)
    truth = load_ground_truth(models=[model])
    refuse_layers("ground truth", step_model, truth.runs.architecture)
    check_out(out, findings.NAME, force)
    result = analyse(model, truth, load_study("hg1"), tpot_digits(truth))
    again = command_line(findings.NAME, {"step_model": step_model, "server": server, "out": out})
    findings.splits_report(result, record(result), again).deliver(out, force, json)
