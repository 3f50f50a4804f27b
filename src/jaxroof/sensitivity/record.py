"""The JSON object of ``jaxroof sensitivity``: gradients, slopes, what binds and what the experiments can tell."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxroof.experiments.evaluate import breakdowns
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.scores import SPLITS
from jaxroof.files import InputError
from jaxroof.parameters import Mask
from jaxroof.sensitivity.derivatives import HOMES, Sensitivity, either, sensitivities
from jaxroof.sensitivity.identifiability import Identifiability, identifiability, in_words, indistinguishable
from jaxroof.step import Model, Part
from jaxroof.units import MILLI, PERCENT

PER = ("split", "experiment", "family", "tp")
METRICS = tuple(HOMES)
# How much less stiff than the stiffest direction the counted ones may be.
STIFFNESS = (1e-2, 1e-4, 1e-6)
Record = dict[str, Any]


def results(model: Model, truth: GroundTruth, *, scoring: str, per: str) -> Record:
    """Everything the command shows, of all four metrics. Raises InputError where a latency is no number."""
    s = sensitivities(model, truth.runs, scoring=scoring)
    if not s.finite():
        raise InputError("result", "a latency is not finite; a constant is too extreme")
    names, masks = [e.name for e in truth.experiments], groups(truth, per)
    return {
        "step_model": model.step,
        "scoring": scoring,
        "per": per,
        "constants": dict(zip(s.keys, s.values.tolist(), strict=True)),
        "experiments": [_experiment(s, truth, i) for i in range(len(names))],
        "groups": {group: [names[i] for i in np.flatnonzero(mask).tolist()] for group, mask in masks.items()},
        "metrics": {metric: _metric(s, metric, masks, names) for metric in METRICS},
        "binding": _binding(model, truth, scoring),
        "identifiability": _identifiability(s),
    }


def groups(truth: GroundTruth, per: str) -> dict[str, Mask]:
    """Masks over the experiments by label, ``all`` last."""
    each = {
        "split": [label for label in SPLITS if any(e.split == label for e in truth.experiments)],
        "family": [e.model for e in truth.experiments],
        "tp": [f"tp{tp}" for tp in sorted({e.tp for e in truth.experiments})],
    }
    known = truth.groups()
    if per == "experiment":
        masks = {e.name: np.arange(len(truth.experiments)) == i for i, e in enumerate(truth.experiments)}
    else:
        masks = {label: known[label] for label in dict.fromkeys(each[per])}
    return masks | {"all": known["all"]}


def _experiment(s: Sensitivity, truth: GroundTruth, i: int) -> Record:
    e = truth.experiments[i]
    row: Record = {"name": e.name, "split": e.split, "family": e.model, "tp": e.tp, "workload": e.workload}
    for metric in METRICS:
        measured, predicted = float(s.measured[metric][i]), float(s.predicted[metric][i])
        row[f"{metric}_measured_ms"], row[f"{metric}_ms"] = measured / MILLI, predicted / MILLI
        row[f"{metric}_signed_pct"] = (predicted / measured - 1) / PERCENT
    return row


def _metric(s: Sensitivity, metric: str, masks: Mapping[str, Mask], names: list[str]) -> Record:
    """One metric: what moves it, and by how much, per group; per experiment; and 10 % away."""
    moves, log_slopes = s.moves(metric), s.log_slopes(metric)
    lower, higher = s.swings(metric, masks["all"])
    moving = {s.keys[i]: i for i in np.flatnonzero(moves).tolist()}
    return {
        "groups": {group: _group(s, metric, mask, moving, names) for group, mask in masks.items()},
        "notes": {key: _note(s, metric, masks["all"], i) for key, i in moving.items()},
        "log_slopes": {
            key: dict(zip(names, _numbers(log_slopes[i]), strict=True)) for key, i in moving.items() if s.values[i] > 0
        },
        "swings": {
            key: {"lower_mape_pct": float(lower[i]) / PERCENT, "higher_mape_pct": float(higher[i]) / PERCENT}
            for key, i in moving.items()
            if s.values[i] > 0
        },
        "no_effect": [s.keys[i] for i in np.flatnonzero(~moves).tolist()],
    }  # fmt: skip


def _group(s: Sensitivity, metric: str, mask: Mask, moving: Mapping[str, int], names: list[str]) -> Record:
    left, right = s.mape_gradient(metric, mask) / PERCENT
    both = np.stack([left, right])
    gradient = np.where((left != right) & ~np.isnan(both).any(axis=0), np.nan, either(both))
    # One-sided above 0: a log-latency [%] per unit, to compare terms of different units.
    added = (s.slopes[metric][1] / s.predicted[metric])[:, mask].mean(axis=1)
    per_percent = right * PERCENT / np.where(added == 0, np.nan, added)
    pushes = s.pushes(metric)

    def constant(i: int) -> Record:
        pushed = {
            way: [names[j] for j in np.flatnonzero(mask) if pushes[i, j] == sign]
            for way, sign in (("up", 1), ("down", -1))
        }
        slopes = {"gradient_pp_per_unit": gradient, "left_pp_per_unit": left, "right_pp_per_unit": right}
        row = {name: _number(column[i]) for name, column in slopes.items()}
        if s.values[i] == 0:
            return row | {"pp_per_pct_of_latency": _number(per_percent[i])} | pushed
        return row | {"elasticity_pp": _number(gradient[i] * s.values[i])} | pushed

    mape_pct = float(s.ape(metric)[mask].mean()) / PERCENT
    return {"mape_pct": mape_pct, "constants": {key: constant(i) for key, i in moving.items()}}


def _note(s: Sensitivity, metric: str, mask: Mask, i: int) -> str | None:
    """What a single gradient would hide, where there is something."""
    below, above = s.mape_gradient(metric, mask)[:, i]
    if np.isnan([below, above]).all():
        return "jump"
    if np.isnan([below, above]).any():
        return "end of range"
    if below != above:
        return "kink"
    return None if s.has_slope(metric)[i] else "flat here"


def _binding(model: Model, truth: GroundTruth, scoring: str) -> list[Record]:
    """Per part of each phase's steps: on how many experiments memory and compute bind; ``memory`` has no max."""
    if model.step == "memory":
        return []
    steps = breakdowns(model, truth.runs, scoring=scoring)
    return [
        {"phase": phase, "part": name, **_sides(part)}
        for phase, step in zip(("prefill", "decode"), steps, strict=True)
        for name, part in step.parts.items()
        if (np.asarray(part.seconds) > 0).any()
    ]


def _sides(part: Part) -> Record:
    there = np.asarray(part.seconds) > 0
    columns = (part.seconds, part.floor_s, part.memory_s, part.compute_s)
    seconds, floor, memory, compute = (np.asarray(column)[there] for column in columns)
    both = (memory > 0) & (compute > 0)
    ratio = compute[both] / memory[both]
    return {
        "memory": int((memory > compute).sum()),
        "compute": int((compute >= memory).sum()),
        "floor_pct": float((floor / seconds).mean()) / PERCENT,
        "closest_compute_per_memory": float(ratio[abs(np.log(ratio)).argmin()]) if ratio.size else None,
    }


def _identifiability(s: Sensitivity) -> Record:
    """Gauss-Newton analysis of log TTFT and log TPOT of every experiment, in the constants with a slope."""
    pair = ("ttft", "tpot")
    jacobian = np.concatenate([s.log_slopes(metric) for metric in pair], axis=1).T
    residuals = np.concatenate([np.log(s.predicted[metric] / s.measured[metric]) for metric in pair])
    free = np.isfinite(jacobian).all(axis=0) & (jacobian != 0).any(axis=0)
    names, columns = [s.keys[i] for i in np.flatnonzero(free).tolist()], jacobian[:, free]
    together = identifiability(names, columns, residuals)
    alone = [identifiability([n], columns[:, [i]], residuals).half_widths[0] for i, n in enumerate(names)]
    return {
        "constants": names,
        "residuals": len(residuals),
        "residual_rms_pct": float(np.sqrt((residuals**2).mean())) / PERCENT,
        "alone_half_interval_pct": dict(zip(names, (_number(x / PERCENT) for x in alone), strict=True)),
        "together_half_interval_pct": dict(
            zip(names, (_number(x / PERCENT) for x in together.half_widths), strict=True)
        ),
        "not_identified_together": [name for name, known in zip(names, together.identified, strict=True) if not known],
        "indistinguishable": [
            {"constants": [a, b], "cosine": cosine} for a, b, cosine in indistinguishable(names, columns)
        ],
        **_spectrum(together),
    }


def _spectrum(x: Identifiability) -> Record:
    """Eigenvalues, stiffest first; the stiffest three and the sloppiest seen direction in words."""
    relative = x.eigenvalues / max(x.eigenvalues.max(initial=0.0), np.finfo(float).tiny)
    seen = np.flatnonzero(x.seen)
    ends = {"stiffest": seen[:3], "sloppiest_seen": seen[-1:]}
    return {
        "eigenvalues": x.eigenvalues.tolist(),
        "directions_seen": len(seen),
        "directions_within": {f"{share:g}": int((relative >= share).sum()) for share in STIFFNESS},
        **{end: [in_words(x.names, x.directions[:, i]) for i in which] for end, which in ends.items()},
    }


def _number(x: float) -> float | None:
    """``x`` for JSON: no NaN, no infinity, no −0."""
    return float(x) + 0.0 if np.isfinite(x) else None


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(x) for x in values]
