"""Measured experiments and published figures, with their labels."""

import dataclasses

import numpy as np

from jaxroof.experiments.recorded import Experiment, Published
from jaxroof.experiments.runs import Runs
from jaxroof.parameters import Mask
from jaxroof.request.workload import Workload

# Output tokens that are further off than this share are no longer those of a sample of the workload.
MISCOUNT = 0.03
# Kind of group → an experiment's label.
LABELS = {
    "split": "{0.split}", "family": "{0.model}", "tp": "tp{0.tp}", "workload": "{0.workload}", "experiment": "{0.name}",
}  # fmt: skip


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

    def by(self, kind: str) -> dict[str, Mask]:
        """Masks ``[experiment]`` of every split, family, tensor-parallel degree (``tp4``), workload or experiment.

        By label, in file order; but train comes before test, and degrees rise.
        """
        names = [LABELS[kind].format(e) for e in self.experiments]
        ranked = {"split": lambda e: e.split != "train", "tp": lambda e: e.tp}.get(kind, lambda e: 0)
        ordered = [LABELS[kind].format(e) for e in sorted(self.experiments, key=ranked)]
        return {name: np.array(names) == name for name in dict.fromkeys(ordered)}

    def groups(self) -> dict[str, Mask]:
        """Masks over the experiments.

        All, each split, workload, model, tensor-parallel degree (``tp4``), model and degree
        (``llama-2-70b-tp4``), and vocabulary (``vocab32k``).
        """
        groups = {"all": np.ones(len(self.experiments), dtype=bool)}
        for kind in ("split", "workload", "family", "tp"):
            groups |= self.by(kind)
        vocab = np.rint(np.asarray(self.runs.architecture.vocab_size) / 1000)
        for labels in ([f"{e.model}-tp{e.tp}" for e in self.experiments], [f"vocab{size:.0f}k" for size in vocab]):
            groups |= {label: np.array(labels) == label for label in sorted(set(labels))}
        return groups
