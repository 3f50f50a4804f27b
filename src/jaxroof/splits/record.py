"""The JSON object of ``jaxroof splits``: splits, groups, sampled workloads and rounding, in µs, percent and pp."""

from typing import Any

import numpy as np

from jaxroof.parameters import Vector
from jaxroof.splits import sampling
from jaxroof.splits.analysis import KINDS, SHOWN_US, Searches, SplitsResult
from jaxroof.splits.search import TOLERANCE, GroupSearch, Outcomes, percentile
from jaxroof.units import MILLI, PERCENT

QUANTILES = (0, 5, 25, 50, 75, 95, 100)
QUANTITIES = ("optimum_us", "train_tpot_mape_pct", "test_tpot_mape_pct", "gap_pp")
Record = dict[str, Any]


def record(result: SplitsResult) -> Record:
    """Everything that the command shows, for JSON."""
    return {
        "step_model": result.model.step,
        "grid_us": result.values_us.tolist(),
        "splits": split_rows(result, "published"),
        "scorings": {
            scoring: _searches(result, found) | {"rounding": _rounding(found)}
            for scoring, found in result.searches.items()
        },
        "sampling": _sampled(result),
    }


def split_rows(result: SplitsResult, scoring: str) -> list[Record]:
    """One record per split: the names of its train experiments, its optimum and MAPEs."""
    names, rows = np.array(list(result.truth.by("experiment"))), _rows(result.searches[scoring].every)
    return [{"train": names[mask].tolist(), **row} for mask, row in zip(result.train, rows, strict=True)]


def _columns(outcomes: Outcomes) -> list[Vector]:
    return [outcomes.optimum_us, *(x / PERCENT for x in (outcomes.train, outcomes.test, outcomes.gap))]


def _rows(outcomes: Outcomes) -> list[Record]:
    """One record per split."""
    return [dict(zip(QUANTITIES, row, strict=True)) for row in np.array(_columns(outcomes)).T.tolist()]


def _quantiles(outcomes: Outcomes) -> Record:
    columns = zip(QUANTITIES, _columns(outcomes), strict=True)
    return {name: {str(q): float(np.percentile(column, q)) for q in QUANTILES} for name, column in columns}


def _searches(result: SplitsResult, found: Searches) -> Record:
    criteria = result.study.criteria
    keys = [
        {"kind": kind, "label": label, "experiments": int(mask.sum())}
        for kind in KINDS
        for label, mask in result.truth.by(kind).items()
    ]
    every, published, resampled, alone = found.every, found.published, found.resampled, found.alone["all"]

    def pass_pct(outcomes: Outcomes) -> Record:
        return {name: float(passed.mean()) / PERCENT for name, passed in outcomes.passed(criteria).items()}

    return {
        "quantiles": _quantiles(every),
        "mean_gap_pp": float(every.gap.mean()) / PERCENT,
        "criteria_pass_pct": pass_pct(every),
        "published_split": _rows(published)[0] | {
            "gap_percentile": percentile(every.gap, published.gap) / PERCENT,
            "abs_gap_percentile": percentile(abs(every.gap), abs(published.gap)) / PERCENT,
            "passed": {name: bool(passed[0]) for name, passed in published.passed(criteria).items()},
        },
        "test_set_makeup": _makeup(result, every),
        "leave_out": [key | row for key, row in zip(keys, _rows(found.left_out), strict=True)],
        "bootstrap": {
            "resamples": len(resampled.train), "mean_gap_pp": float(resampled.gap.mean()) / PERCENT,
            **_quantiles(resampled), "criteria_pass_pct": pass_pct(resampled),
        },
        "groups": [
            key | {"optimum_us": float(us), "tpot_mape_pct": best / PERCENT, "curve_pct": (loss / PERCENT).tolist()}
            for key, us, best, loss in zip(keys, alone.optimum_us, alone.best, alone.loss, strict=True)
        ],
        "global_constant": {"tolerance_pp": TOLERANCE / PERCENT}
        | {kind: _compromise(found.alone[kind]) for kind in (*KINDS, "all")},
    }  # fmt: skip


def _makeup(result: SplitsResult, every: Outcomes) -> list[Record]:
    """Gaps by how many experiments of the largest family are tested: the devil's advocate's asymmetry."""
    family, mask = max(result.truth.by("family").items(), key=lambda group: int(group[1].sum()))
    tested, published = ((~train & mask).sum(axis=-1) for train in (result.train, result.truth.by("split")["train"]))
    gaps = {count: every.gap[tested == count] / PERCENT for count in np.unique(tested)}
    return [
        {"family": family, "tested": int(count), "as_published": bool(count == published), "splits": len(gap)}
        | {"mean_gap_pp": float(gap.mean())}
        | {f"gap_{q}_pct_pp": float(np.percentile(gap, q)) for q in (5, 50, 95)}
        for count, gap in gaps.items()
    ]


def _compromise(alone: GroupSearch) -> Record:
    """The value whose worst excess over a group's own best is smallest."""
    least = float(alone.worst_excess.min())
    return {
        "exists": least <= TOLERANCE,
        "least_worst_excess_pp": least / PERCENT,
        "value_us": alone.compromise_us,
        "worst_group": alone.worst_group,
    }


def _rounding(found: Searches) -> list[Record]:
    """MAPEs of the published split with the intervals that the measurements' last digits leave."""
    values, names = [*SHOWN_US, float(found.published.optimum_us[0])], ("low", "high", "digits_low", "digits_high")
    return [
        {"metric": r.metric, "group": r.group, "overhead_us": value, "at_optimum": i == len(SHOWN_US)}
        | {"mape_pct": float((r.ape / PERCENT).mean(axis=0)[i])}
        | {f"{name}_pct": float(x[i]) / PERCENT for name, x in zip(names, (*r.recorded, *r.recovered), strict=True)}
        for r in found.rounding
        for i, value in enumerate(values)
    ]


def _sampled(result: SplitsResult) -> Record:
    """What drawn requests move, seed by seed, under published scoring."""
    sampled, rows = result.sampled, []
    for i, e in enumerate(result.truth.experiments):
        row: Record = {"name": e.name}
        for metric in ("tpot", "e2e"):
            true = float(sampled.exact[metric][i])
            off = (sampled.drawn[metric][:, i] / true - 1) / PERCENT
            row |= {f"{metric}_exact_ms": true / MILLI, f"{metric}_std_pct": float(off.std())}
            row |= {f"{metric}_lowest_pct": float(off.min()), f"{metric}_highest_pct": float(off.max())}
        rows.append(row)
    counts = zip(*np.unique(sampled.searched.optimum_us, return_counts=True), strict=True)
    return {
        "seeds": sampling.SEEDS, "requests": sampling.REQUESTS, "overhead_us": sampled.overhead_us,
        "experiments": rows, "quantiles": _quantiles(sampled.searched),
        "optimum_counts": {f"{us:g}": int(count) for us, count in counts},
    }  # fmt: skip
