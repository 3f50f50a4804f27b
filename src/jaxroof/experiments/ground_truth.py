"""Measured experiments and published figures, with their labels."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from jaxroof.experiments.runs import Runs
from jaxroof.request.workload import Workload

# Output tokens that are further off than this share are no longer those of a sample of the workload.
MISCOUNT = 0.03


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
    """The experiments, in file order, and the same stacked for the model.

    ``runs`` is what :func:`jaxroof.latencies` takes; ``groups()`` are masks over it.

    >>> truth = jaxroof.load_ground_truth()
    >>> truth.experiments[0].name, int(truth.groups()["train"].sum())
    ('jan30-llama2-7b-tp1-chatsweep', 9)
    """

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
