"""Measured experiments and published figures → stacked pytrees, with their labels beside them."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

from jaxroof.catalogue.load import check_window, load_architecture, load_deployment, load_model
from jaxroof.experiments import metrics
from jaxroof.experiments.ground_truth import Experiment, GroundTruth, Published
from jaxroof.experiments.runs import Runs, schedules_by_scoring, stack_runs
from jaxroof.experiments.workloads import TOKENS, load_workloads
from jaxroof.files import COUNT, NON_NEGATIVE, POSITIVE, InputError, Range, check, data_dir, read_csv
from jaxroof.parameters import scalar
from jaxroof.request.schedule import Latency
from jaxroof.request.workload import Workload, exact, sampled
from jaxroof.step import Model
from jaxroof.units import MILLI

COLUMNS = ("name", "model", "tp", "workload", "split", "ttft_ms", "tpot_ms", "e2e_ms", "source")


def load_ground_truth(path: Path | None = None, models: Sequence[Model] = (), seed: int | None = None) -> GroundTruth:
    """A folder with ``experiments.csv`` and ``workloads.toml``, or such a CSV file. Raises InputError.

    The steps of a request are nodes of a quadrature that splits where step time jumps: ``models`` are
    the constants that it is for (default: any with the default chunk and analytic MFU; they share their
    MFU). ``seed`` draws 50 requests per run in place of the exact length distributions.
    Without ``path``, the 13 measured runs of ``ground_truth/``, whose README says where they come from.

    >>> len(jaxroof.load_ground_truth().experiments)
    13
    """
    folder = path or data_dir() / "ground_truth"
    csv_path = folder if folder.suffix == ".csv" else folder / "experiments.csv"
    rows = read_csv(csv_path, COLUMNS)
    experiments = [_experiment(csv_path, row) for row in rows]
    names = [e.name for e in experiments]
    if duplicate := next((n for n in names if names.count(n) > 1), None):
        raise InputError(csv_path, duplicate, "stands twice")
    workloads = load_workloads(csv_path.with_name("workloads.toml"))
    models = models or [load_model()]
    stacked = [_run(csv_path, experiment, workloads, models, seed) for experiment in experiments]
    _check_labels(csv_path, experiments)
    return GroundTruth(experiments, workloads, stack_runs(stacked), _published(csv_path.with_name("published.csv")))


def load_experiments(path: Path | None = None, model: Model | None = None) -> Runs:
    """The measured runs, stacked: every leaf has a leading axis ``experiment``. Raises InputError.

    Arguments: ``path`` as :func:`load_ground_truth` takes it; ``model``, which only one with measured MFU tables or
    a chunk of its own needs: the model that the runs will be evaluated with. Returns :class:`Runs`.

    >>> jaxroof.load_experiments().architecture.hidden_size.shape
    (13,)
    """
    return load_ground_truth(path, [model] if model else []).runs


def _check_labels(path: Path, experiments: Sequence[Experiment]) -> None:
    """A group is named by one label: a workload may not be called as a split or a model is."""
    kinds = [{"all"}, {"train", "test"}, *({getattr(e, kind) for e in experiments} for kind in ("workload", "model"))]
    kinds.append({f"tp{e.tp}" for e in experiments})
    labels = sorted(label for kind in kinds for label in kind)
    if twice := next((label for label, other in itertools.pairwise(labels) if label == other), None):
        raise InputError(path, twice, "names two groups of experiments")


def _experiment(path: Path, row: dict[str, str]) -> Experiment:
    where = row["name"]
    if row["split"] not in ("train", "test"):
        raise InputError(path, f"{where}.split", f"must be train or test, got {row['split']!r}")
    measured = {
        key: check.parsed_number(path, f"{where}.{key}", row[key], POSITIVE) for key in ("ttft_ms", "tpot_ms", "e2e_ms")
    }
    if measured["e2e_ms"] <= max(measured["ttft_ms"], measured["tpot_ms"]):
        raise InputError(path, f"{where}.e2e_ms", "must exceed ttft_ms and tpot_ms")
    check.number(path, f"{where}: e2e_ms / tpot_ms", measured["e2e_ms"] / measured["tpot_ms"], Range(high=TOKENS.high))
    tp = int(check.parsed_number(path, f"{where}.tp", row["tp"], COUNT))
    return Experiment(where, row["model"], tp, row["workload"], row["split"], **measured)


def _run(path: Path, e: Experiment, workloads: dict[str, Workload], models: Sequence[Model], seed: int | None) -> Runs:
    """One experiment, unstacked."""
    try:
        arch = load_architecture(e.model)
    except InputError as error:
        raise InputError(path, f"{e.name}.model", str(error)) from None
    deployment = load_deployment(f"{path}: {e.name}", arch, e.tp)
    if e.workload not in workloads:
        raise InputError(
            path, f"{e.name}.workload", f"no workload {e.workload}{check.suggestion(e.workload, workloads)}"
        )
    workload = workloads[e.workload]
    longest = workload.prefix_tokens + workload.prompt.max + workload.output.max
    check_window(f"{path}: {e.name}", arch, longest)
    shares = exact(workload) if seed is None else sampled(workload, seed)
    if not any(share.output[2:].any() for share in shares):
        raise InputError(
            path.with_name("workloads.toml"), f"{e.workload}.output", "no request has two tokens, so no TPOT"
        )
    recorded = Latency(*(scalar(ms * MILLI) for ms in (e.ttft_ms, e.tpot_ms, e.e2e_ms)))
    measured = metrics.by_scoring(recorded)
    tokens = float(metrics.realised_output_tokens(recorded))
    return Runs(arch, deployment, schedules_by_scoring(shares, tokens, models, arch, deployment), measured)


def _published(path: Path) -> list[Published]:
    """Published figures beside the experiments; none where there is no such file."""
    if not path.exists():
        return []
    rows = read_csv(path, [field.name for field in dataclasses.fields(Published)])
    values = [check.parsed_number(path, "value", row.pop("value"), NON_NEGATIVE) for row in rows]
    return [Published(value=value, **row) for value, row in zip(values, rows, strict=True)]
