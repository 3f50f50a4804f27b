"""The JSON object of ``jaxroof sensitivity``: gradients, slopes, what binds and what the experiments can tell."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from jaxroof.experiments.recorded import Experiment
from jaxroof.parameters import Mask
from jaxroof.sensitivity.analysis import Evidence, SensitivityResult
from jaxroof.sensitivity.derivatives import METRICS_AND_ITL, Sensitivity, either
from jaxroof.sensitivity.identifiability import in_words
from jaxroof.units import MILLI, PERCENT

# How much less stiff than the stiffest direction the counted ones may be.
STIFFNESS = (1e-2, 1e-4, 1e-6)
Record = dict[str, Any]


def record(result: SensitivityResult) -> Record:
    """Everything the command shows, of all four metrics."""
    s, names = result.sensitivity, list(result.truth.by("experiment"))
    return cast(Record, _plain({
        "step_model": result.model.step,
        "scoring": result.scoring,
        "per": result.per,
        "constants": dict(zip(s.keys, s.values.tolist(), strict=True)),
        "experiments": [_experiment(s, e, i) for i, e in enumerate(result.truth.experiments)],
        "groups": {group: _where(mask, names) for group, mask in result.groups.items()},
        "metrics": {metric: _metric(s, metric, result.groups, names) for metric in METRICS_AND_ITL},
        "binding": [
            {"phase": b.phase, "part": b.part, "memory": b.memory, "compute": b.compute,
             "floor_pct": b.floor / PERCENT, "closest_compute_per_memory": b.closest_ratio}
            for b in result.binding
        ],
        "identifiability": _evidence(result.evidence),
    }))  # fmt: skip


def _plain(x: Any) -> Any:
    """``x`` for JSON: no NaN, no infinity, no −0."""
    if isinstance(x, dict):
        return {key: _plain(value) for key, value in x.items()}
    if isinstance(x, list):
        return [_plain(value) for value in x]
    return (float(x) + 0.0 if np.isfinite(x) else None) if isinstance(x, float) else x


def _where(mask: Mask, names: Sequence[str]) -> list[str]:
    return [names[i] for i in np.flatnonzero(mask).tolist()]


def _experiment(s: Sensitivity, e: Experiment, i: int) -> Record:
    row: Record = {"name": e.name, "split": e.split, "family": e.model, "tp": e.tp, "workload": e.workload}
    for metric in METRICS_AND_ITL:
        measured, predicted = float(s.measured[metric][i]), float(s.predicted[metric][i])
        row[f"{metric}_measured_ms"], row[f"{metric}_ms"] = measured / MILLI, predicted / MILLI
        row[f"{metric}_signed_pct"] = (predicted / measured - 1) / PERCENT
    return row


def _metric(s: Sensitivity, metric: str, groups: Mapping[str, Mask], names: Sequence[str]) -> Record:
    """One metric: what moves it, and by how much, per group; per experiment; and 10 % away."""
    moves, log_slopes, everything = s.moves(metric), s.log_slopes(metric), groups["all"]
    swings = (s.swings(metric, everything) / PERCENT).T.tolist()
    moving = {s.keys[i]: i for i in np.flatnonzero(moves).tolist()}
    above = {key: i for key, i in moving.items() if s.values[i] > 0}
    return {
        "groups": {group: _group(s, metric, mask, moving, names) for group, mask in groups.items()},
        "notes": {key: _note(s, metric, everything, i) for key, i in moving.items()},
        "log_slopes": {key: dict(zip(names, log_slopes[i].tolist(), strict=True)) for key, i in above.items()},
        "swings": {
            key: dict(zip(("lower_mape_pct", "higher_mape_pct"), swings[i], strict=True)) for key, i in above.items()
        },
        "no_effect": _where(~moves, s.keys),
    }


def _group(s: Sensitivity, metric: str, mask: Mask, moving: Mapping[str, int], names: Sequence[str]) -> Record:
    left, right = sides = s.mape_gradient(metric, mask) / PERCENT
    gradient = np.where((left != right) & ~np.isnan(sides).any(axis=0), np.nan, either(sides))
    # One-sided above 0: a log-latency [%] per unit, to compare terms of different units.
    added = (s.slopes[metric][1] / s.predicted[metric])[:, mask].mean(axis=1)
    per_percent = right * PERCENT / np.where(added == 0, np.nan, added)
    pushes = s.pushes(metric)

    def constant(i: int) -> Record:
        pushed = {way: _where(mask & (pushes[i] == sign), names) for way, sign in (("up", 1), ("down", -1))}
        above = s.values[i] != 0
        asked = {"elasticity_pp": gradient[i] * s.values[i]} if above else {"pp_per_pct_of_latency": per_percent[i]}
        slopes = {"gradient_pp_per_unit": gradient[i], "left_pp_per_unit": left[i], "right_pp_per_unit": right[i]}
        return {**slopes, **asked, **pushed}

    mape_pct = float(s.ape(metric)[mask].mean()) / PERCENT
    return {"mape_pct": mape_pct, "constants": {key: constant(i) for key, i in moving.items()}}


def _note(s: Sensitivity, metric: str, mask: Mask, i: int) -> str | None:
    """What a single gradient would hide, where there is something."""
    below, above = s.mape_gradient(metric, mask)[:, i]
    if missing := int(np.isnan([below, above]).sum()):
        return "jump" if missing == 2 else "end of range"
    if below != above:
        return "kink"
    return None if s.has_slope(metric)[i] else "flat here"


def _evidence(evidence: Evidence) -> Record:
    """Intervals, pairs, eigenvalues from the stiffest; the stiffest three and the sloppiest seen direction in words."""
    x = evidence.together
    relative = x.eigenvalues / max(x.eigenvalues.max(initial=0.0), np.finfo(float).tiny)
    seen = np.flatnonzero(x.seen)
    ends = {"stiffest": seen[:3], "sloppiest_seen": seen[-1:]}
    return {
        "constants": list(x.names),
        "residuals": len(evidence.residuals),
        "residual_rms_pct": float(np.sqrt((evidence.residuals**2).mean())) / PERCENT,
        "alone_half_interval_pct": {name: width / PERCENT for name, width in zip(x.names, evidence.alone, strict=True)},
        "together_half_interval_pct": dict(zip(x.names, (x.half_widths / PERCENT).tolist(), strict=True)),
        "not_identified_together": _where(~x.identified, x.names),
        "indistinguishable": [{"constants": [a, b], "cosine": cosine} for a, b, cosine in evidence.indistinguishable],
        "eigenvalues": x.eigenvalues.tolist(),
        "directions_seen": len(seen),
        "directions_within": {f"{share:g}": int((relative >= share).sum()) for share in STIFFNESS},
        **{end: [in_words(x.names, x.directions[:, i]) for i in which] for end, which in ends.items()},
    }
