"""Measured experiments and published figures → stacked pytrees, with their labels beside them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxroof import defaults
from jaxroof.catalogue.load import load_architecture, load_deployment, load_model
from jaxroof.catalogue.sampling import load_sampling
from jaxroof.catalogue.servers import load_server
from jaxroof.experiments import metrics
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.recorded import Experiment, check_labels, load_published, load_recorded
from jaxroof.experiments.runs import Runs, schedules_by_scoring, stack_runs
from jaxroof.experiments.workloads import load_workloads
from jaxroof.files import InputError, Range, check, data_dir, errors_at
from jaxroof.parameters import Architecture, Server, scalar
from jaxroof.request.limits import check_sampling, check_window
from jaxroof.request.schedule import Latency
from jaxroof.request.workload import Workload, exact, sampled
from jaxroof.step import Model
from jaxroof.units import MILLI

# So many take some seconds.
PAIRS = Range(high=2e9, limit="pairs of a prompt and an output to average over")


def load_ground_truth(
    path: str | Path | None = None, models: Sequence[Model] = (), seed: int | None = None
) -> GroundTruth:
    """A folder with ``experiments.csv`` and ``workloads.toml``, or such a CSV file. Raises InputError.

    The steps of a request are nodes of a quadrature that splits where step time jumps: ``models`` are
    the constants that it is for (default: any step model with the default chunk and analytic MFU; those with
    tables share them). ``seed`` draws 50 requests per run in place of the exact length distributions.
    Without ``path``, the 13 measured runs of ``ground_truth/``, whose README says where they come from.

    >>> len(jaxroof.load_ground_truth().experiments)
    13
    """
    folder = Path(path or data_dir() / "ground_truth")
    csv_path = folder if folder.suffix == ".csv" else folder / "experiments.csv"
    experiments = load_recorded(csv_path)
    workloads = load_workloads(csv_path.with_name("workloads.toml"))
    models = models or [kernels := load_model(), dataclasses.replace(kernels, step="roofline")]
    catalogue = functools.cache(load_architecture), functools.cache(load_server)  # few, and many runs name them
    stacked = [_run(csv_path, e, workloads, models, catalogue, seed) for e in experiments]
    check_labels(csv_path, experiments)
    return GroundTruth(experiments, workloads, stack_runs(stacked), load_published(csv_path.with_name("published.csv")))


def load_experiments(path: str | Path | None = None, model: Model | None = None) -> Runs:
    """The measured runs, stacked: every leaf has a leading axis ``experiment``. Raises InputError.

    Arguments: ``path`` as :func:`load_ground_truth` takes it; ``model``, which only one with measured MFU tables or
    a chunk of its own needs: the model that the runs will be evaluated with. Returns :class:`Runs`.

    >>> jaxroof.load_experiments().architecture.hidden_size.shape
    (13,)
    """
    return load_ground_truth(path, [model] if model else []).runs


def _run(
    path: Path, e: Experiment, workloads: dict[str, Workload], models: Sequence[Model],
    catalogue: tuple[Callable[[str], Architecture], Callable[[str], Server]], seed: int | None,
) -> Runs:  # fmt: skip
    """One experiment, unstacked; ``catalogue`` loads its model and its server."""
    architecture, server_of = catalogue
    with errors_at(path, f"{e.name}.model"):
        arch = architecture(e.model)
    with errors_at(path, f"{e.name}.server"):
        server = server_of(e.server or defaults.server(models[0].step))
    deployment = load_deployment(f"{path}: {e.name}", arch, e.tp)
    if e.workload not in workloads:
        raise InputError(
            path, f"{e.name}.workload", f"no workload {e.workload}{check.suggestion(e.workload, workloads)}"
        )
    workload = workloads[e.workload]
    longest = workload.prefix_tokens + workload.prompt.max + workload.output.max
    for model in models:
        check_window(f"{path}: {e.name}", model.step, arch, longest)
    recorded = Latency(*(scalar(ms * MILLI) for ms in (e.ttft_ms, e.tpot_ms, e.e2e_ms)))
    tokens = float(metrics.realised_output_tokens(recorded))
    pairs = workload.prompt.max * max(workload.output.max, tokens)
    check.number(path.with_name("workloads.toml"), e.workload, pairs, PAIRS)
    shares = exact(workload) if seed is None else sampled(workload, seed)
    if not any(share.output[2:].any() for share in shares):
        raise InputError(
            path.with_name("workloads.toml"), f"{e.workload}.output", "no request has two tokens, so no TPOT"
        )
    measured = metrics.by_scoring(recorded)
    sampling = load_sampling(f"{path}: {e.name}.sampling", e.sampling, arch.sampling)
    used = [model.server_for(server) for model in models]
    for model, own in zip(models, used, strict=True):
        check_sampling(f"{path}: {e.name}", sampling, model.step, own)
    schedules = schedules_by_scoring(shares, tokens, sampling, models, used, arch, deployment)
    return Runs(arch, deployment, schedules, measured, server)
