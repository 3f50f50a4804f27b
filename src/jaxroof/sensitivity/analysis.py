"""What every constant does to every error, which side of each max binds, and what the experiments can tell."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxroof import defaults
from jaxroof.experiments.evaluate import breakdowns
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.runs import settled
from jaxroof.files import InputError
from jaxroof.parameters import Mask, Vector
from jaxroof.sensitivity.derivatives import Sensitivity, sensitivities
from jaxroof.sensitivity.identifiability import Identifiability, identifiability, indistinguishable
from jaxroof.step import Model, Part

PER = ("split", "experiment", "family", "tp")


@dataclasses.dataclass(frozen=True)
class Binding:
    """On how many experiments memory and compute bind a part of the steps of a phase.

    ``floor`` is the mean share of its time that is floor, ``closest_ratio`` is that of compute to memory time which
    is nearest to 1, or None.
    """

    phase: str
    part: str
    memory: int
    compute: int
    floor: float
    closest_ratio: float | None


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What ``residuals[residual]`` of log TTFT and log TPOT tell about the constants with a slope.

    ``alone[constant]`` is half the 95 % interval of each log-constant if it alone is free, ``together`` the analysis
    with all free at once, ``indistinguishable`` the pairs that no experiment tells apart, and their cosine.
    """

    residuals: Vector
    alone: Sequence[float]
    together: Identifiability
    indistinguishable: Sequence[tuple[str, str, float]]


@dataclasses.dataclass(frozen=True)
class SensitivityResult:
    """Latencies and derivatives of four metrics under ``scoring``, in every constant.

    ``groups`` are masks ``[experiment]`` by label, those of ``per`` and ``all``; no ``binding`` where a step is a sum.
    """

    model: Model
    truth: GroundTruth
    scoring: str
    per: str
    groups: Mapping[str, Mask]
    sensitivity: Sensitivity
    binding: Sequence[Binding]
    evidence: Evidence


def analyse(
    model: Model, truth: GroundTruth, *, scoring: str = defaults.SCORING, per: str = "split"
) -> SensitivityResult:
    """All of it, for the groups of a kind of PER. Raises InputError where a latency is no number."""
    model = settled(model, truth.runs)
    s = sensitivities(model, truth.runs, scoring=scoring)
    if not all(np.isfinite(seconds).all() for seconds in s.predicted.values()):
        raise InputError("result", "a latency is not finite; a constant is too extreme")
    groups = truth.by(per) | {"all": np.ones(len(truth.experiments), dtype=bool)}
    return SensitivityResult(model, truth, scoring, per, groups, s, _binding(model, truth, scoring), _evidence(s))


def _binding(model: Model, truth: GroundTruth, scoring: str) -> list[Binding]:
    if model.step == "memory":  # its steps are sums
        return []
    steps = breakdowns(model, truth.runs, scoring=scoring)
    return [
        _sides(phase, name, part)
        for phase, step in zip(("prefill", "decode"), steps, strict=True)
        for name, part in step.parts.items()
        if (np.asarray(part.seconds) > 0).any()
    ]


def _sides(phase: str, name: str, part: Part) -> Binding:
    columns = np.array([part.seconds, part.floor_s, part.memory_s, part.compute_s])
    seconds, floor, memory, compute = columns[:, columns[0] > 0]
    both = (memory > 0) & (compute > 0)
    ratio = compute[both] / memory[both]
    closest = float(ratio[abs(np.log(ratio)).argmin()]) if ratio.size else None
    binds = (int((memory > compute).sum()), int((compute >= memory).sum()))
    return Binding(phase, name, *binds, float((floor / seconds).mean()), closest)


def _evidence(s: Sensitivity) -> Evidence:
    pair = ("ttft", "tpot")
    jacobian = np.concatenate([s.log_slopes(metric) for metric in pair], axis=1).T
    residuals = np.concatenate([np.log(s.predicted[metric] / s.measured[metric]) for metric in pair])
    free = np.flatnonzero(np.isfinite(jacobian).all(axis=0) & (jacobian != 0).any(axis=0)).tolist()
    names, columns = [s.keys[i] for i in free], jacobian[:, free]
    alone = [identifiability([n], columns[:, [i]], residuals).half_widths[0] for i, n in enumerate(names)]
    return Evidence(residuals, alone, identifiability(names, columns, residuals), indistinguishable(names, columns))
