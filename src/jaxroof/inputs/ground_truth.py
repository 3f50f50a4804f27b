"""Measured experiments and published figures → stacked pytrees, with their labels beside them."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from jaxroof import metrics, schedule
from jaxroof.inputs import files
from jaxroof.inputs.configs import check_window, load_architecture, load_deployment, load_tier0
from jaxroof.inputs.errors import InputError
from jaxroof.inputs.workloads import TOKENS, load_workloads
from jaxroof.knots import knots
from jaxroof.leaves import COUNT, NON_NEGATIVE, POSITIVE, Range, scalar
from jaxroof.params import Architecture, Deployment, Latency, Runs, Schedule, Tier0
from jaxroof.schedule import MAX_NUM_BATCHED_TOKENS, Share, Workload
from jaxroof.units import MILLI

# Constants at whose multiples step time jumps, so that the quadrature of a request splits there.
SPLITTING = ("overheads.prefill.chunk_tokens", "host.graph_tokens")

# Output tokens that are further off than this share are no longer those of a sample of the workload.
MISCOUNT = 0.03
COLUMNS = ("name", "model", "tp", "workload", "split", "ttft_ms", "tpot_ms", "e2e_ms", "source")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One measured run and its labels; means in ms, TPOT = E2E per token as recorded."""

    name: str
    model: str
    tp: int
    workload: str
    split: str
    ttft_ms: float
    tpot_ms: float
    e2e_ms: float


@dataclasses.dataclass(frozen=True)
class Published:
    """A published figure: of an experiment or a group, under a study's configuration."""

    study: str
    configuration: str
    subject: str
    metric: str
    value: float
    source: str


def is_itl(e: Experiment, tokens: float) -> bool:
    """Whether ``tokens`` per request say that ``tpot_ms`` leaves the first one out."""
    per_token, itl = abs(e.e2e_ms / e.tpot_ms / tokens - 1), abs(((e.e2e_ms - e.ttft_ms) / e.tpot_ms + 1) / tokens - 1)
    return per_token > MISCOUNT and itl < per_token / 3


@dataclasses.dataclass(frozen=True)
class GroundTruth:
    """The experiments, in file order, and the same stacked for the model."""

    experiments: list[Experiment]
    workloads: dict[str, Workload]
    runs: Runs
    published: list[Published]

    def notes(self) -> list[str]:
        """Records whose TPOT looks like the ITL that clients print: their workload's tokens fit it, and not E2E/n."""
        means = {name: workload.output.exact_mean() for name, workload in self.workloads.items()}
        return [
            f"{e.name}: tpot_ms must be E2E/n but looks like (E2E − TTFT)/(n − 1): as E2E/n it makes "
            f"{e.e2e_ms / e.tpot_ms:.4g} output tokens, and the workload has {means[e.workload]:.4g}"
            for e in self.experiments
            if is_itl(e, means[e.workload])
        ]

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Masks over the experiments.

        All, each split, workload, model, tensor-parallel degree (``tp4``), model and degree
        (``llama-2-70b-tp4``), and vocabulary (``vocab32k``).
        """
        groups = {"all": np.ones(len(self.experiments), dtype=bool)}
        for field in ("split", "workload", "model"):
            labels = [getattr(e, field) for e in self.experiments]
            groups |= {label: np.array(labels) == label for label in dict.fromkeys(labels)}
        vocab = np.rint(np.asarray(self.runs.architecture.vocab_size) / 1000)
        for labels in (
            [f"tp{e.tp}" for e in self.experiments],
            [f"{e.model}-tp{e.tp}" for e in self.experiments],
            [f"vocab{size:.0f}k" for size in vocab],
        ):
            groups |= {label: np.array(labels) == label for label in sorted(set(labels))}
        return groups


def load_ground_truth(path: Path | None = None, tier0s: Sequence[Tier0] = (), seed: int | None = None) -> GroundTruth:
    """A folder with ``experiments.csv`` and ``workloads.toml``, or such a CSV file. Raises InputError.

    The steps of a request are nodes of a quadrature that splits where step time jumps: ``tier0s`` are
    the constants that it is for (default: any with the default chunk and analytic MFU; they share their
    MFU). ``seed`` draws 50 requests per run in place of the exact length distributions.
    """
    folder = path or files.data_dir() / "ground_truth"
    csv_path = folder if folder.suffix == ".csv" else folder / "experiments.csv"
    rows = files.read_csv(csv_path, COLUMNS)
    experiments = [_experiment(csv_path, row) for row in rows]
    names = [e.name for e in experiments]
    if duplicate := next((n for n in names if names.count(n) > 1), None):
        raise InputError(csv_path, duplicate, "stands twice")
    workloads = load_workloads(csv_path.with_name("workloads.toml"))
    tier0s = tier0s or [load_tier0()]
    stacked = [_run(csv_path, experiment, workloads, tier0s, seed) for experiment in experiments]
    _check_labels(csv_path, experiments)
    return GroundTruth(experiments, workloads, _stack(stacked), _published(csv_path.with_name("published.csv")))


def load_experiments(path: Path | None = None, tier0: Tier0 | None = None) -> Runs:
    """The measured runs, stacked: every leaf has a leading axis ``experiment``. Raises InputError.

    With measured MFU tables or a chunk of its own, pass the ``tier0`` that they will be evaluated with.
    """
    return load_ground_truth(path, [tier0] if tier0 else []).runs


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
        key: files.parsed_number(path, f"{where}.{key}", row[key], POSITIVE) for key in ("ttft_ms", "tpot_ms", "e2e_ms")
    }
    if measured["e2e_ms"] <= max(measured["ttft_ms"], measured["tpot_ms"]):
        raise InputError(path, f"{where}.e2e_ms", "must exceed ttft_ms and tpot_ms")
    files.number(path, f"{where}: e2e_ms / tpot_ms", measured["e2e_ms"] / measured["tpot_ms"], Range(high=TOKENS.high))
    tp = int(files.parsed_number(path, f"{where}.tp", row["tp"], COUNT))
    return Experiment(where, row["model"], tp, row["workload"], row["split"], **measured)


def _run(path: Path, e: Experiment, workloads: dict[str, Workload], tier0s: Sequence[Tier0], seed: int | None) -> Runs:
    """One experiment, unstacked."""
    try:
        arch = load_architecture(e.model)
    except InputError as error:
        raise InputError(path, f"{e.name}.model", str(error)) from None
    deployment = load_deployment(f"{path}: {e.name}", arch, e.tp)
    if e.workload not in workloads:
        raise InputError(
            path, f"{e.name}.workload", f"no workload {e.workload}{files.suggestion(e.workload, workloads)}"
        )
    workload = workloads[e.workload]
    longest = workload.prefix_tokens + workload.prompt.max + workload.output.max
    check_window(f"{path}: {e.name}", arch, longest)
    shares = schedule.exact(workload) if seed is None else schedule.sampled(workload, seed)
    if not any(share.output[2:].any() for share in shares):
        raise InputError(
            path.with_name("workloads.toml"), f"{e.workload}.output", "no request has two tokens, so no TPOT"
        )
    recorded = Latency(*(scalar(ms * MILLI) for ms in (e.ttft_ms, e.tpot_ms, e.e2e_ms)))
    measured = metrics.by_scoring(recorded)
    tokens = float(metrics.realised_output_tokens(recorded))
    return Runs(arch, deployment, _schedules(shares, tokens, tier0s, arch, deployment), measured)


def _schedules(
    shares: Sequence[Share], output_tokens: float, tier0s: Sequence[Tier0], arch: Architecture, deployment: Deployment
) -> dict[str, Schedule]:
    """The request's steps under every scoring."""
    longest = max(s.cached_tokens + len(s.prompt) + max(len(s.output), int(output_tokens) + 1) for s in shares)
    starts = {s.cached_tokens + done for s in shares for done in range(0, len(s.prompt), MAX_NUM_BATCHED_TOKENS)}
    chunks = [float(t.overheads.prefill.chunk_tokens) for t in tier0s]
    graphs = [float(t.host.graph_tokens) for t in tier0s]
    splits = knots(tier0s[0].hardware.mfu, arch, deployment, sorted(starts), longest, chunks, graphs)
    itl, per_token = schedule.realised(shares, output_tokens, splits)
    return dict(zip(metrics.SCORINGS, (schedule.published(shares, splits), itl, per_token), strict=True))


def _stack(runs: Sequence[Runs]) -> Runs:
    """Stack experiments; shorter schedules are padded with nodes of weight 0."""
    longer = iter(schedule.pad([s for run in runs for s in run.schedules.values()]))
    padded = [dataclasses.replace(run, schedules={scoring: next(longer) for scoring in run.schedules}) for run in runs]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *padded)


def _published(path: Path) -> list[Published]:
    """Published figures beside the experiments; none where there is no such file."""
    if not path.exists():
        return []
    rows = files.read_csv(path, [field.name for field in dataclasses.fields(Published)])
    values = [files.parsed_number(path, "value", row.pop("value"), NON_NEGATIVE) for row in rows]
    return [Published(value=value, **row) for value, row in zip(values, rows, strict=True)]
