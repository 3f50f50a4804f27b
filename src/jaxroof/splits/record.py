"""The JSON object of ``jaxroof splits``: splits, groups, sampled workloads and rounding, in µs, percent and pp."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxroof.experiments import metrics, rounding
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.rounding import Interval
from jaxroof.experiments.scores import SPLITS
from jaxroof.files import POSITIVE, InputError, check, data_dir, read_csv
from jaxroof.parameters import replace
from jaxroof.report.progress import progress
from jaxroof.splits import sampling, search
from jaxroof.splits.search import Analysis, Outcomes
from jaxroof.step import Model
from jaxroof.studies.criteria import passes
from jaxroof.studies.load import load_study
from jaxroof.units import MILLI, PERCENT

SCORINGS = ("published", "itl")
DIGITS = data_dir() / "ground_truth/tpot_digits.csv"
QUANTILES = (0, 5, 25, 50, 75, 95, 100)
SHOWN_US = (0.0, 80.0, 100.0)
QUANTITIES = ("optimum_us", "train_tpot_mape_pct", "test_tpot_mape_pct", "gap_pp")
KINDS = ("family", "tp", "workload")
Record = dict[str, Any]


def results(model: Model, truth: GroundTruth) -> tuple[Record, dict[str, Analysis], Outcomes]:
    """The JSON object, the analysis by scoring, and the search on every sampled workload."""
    digits = tpot_digits(DIGITS, truth)
    analyses: dict[str, Analysis] = {}
    scorings: Record = {}
    drawn: list[tuple[Record, Outcomes]] = []
    steps = [*SCORINGS, "sampling"]
    for step in progress(steps, "searches", len(steps)):
        if step in SCORINGS:
            a = analyses[step] = _analyse(model, truth, step)
            table = _rounding(model, truth, a, step, digits)
            scorings[step] = _scoring_record(a, truth) | {"rounding": table}
        else:
            drawn.append(_sampling(model, truth, analyses["published"]))
    ((sampled, searched),) = drawn
    rows = split_rows(analyses["published"], truth)
    grid = search.GRID.coarse().tolist()
    data = {"step_model": model.step, "grid_us": grid, "splits": rows, "scorings": scorings, "sampling": sampled}
    return data, analyses, searched


def tpot_digits(path: Path, truth: GroundTruth) -> Interval | None:
    """Intervals of TPOT [s] that a file's more precise values leave, unbounded where it has none; None without a file.

    Raises InputError for an unknown experiment, or a value that does not round to the recorded one.
    """
    if not path.exists():
        return None
    recorded = {e.name: e.tpot_ms for e in truth.experiments}
    low, high = dict.fromkeys(recorded, -np.inf), dict.fromkeys(recorded, np.inf)
    for row in read_csv(path, ("name", "tpot_ms", "source")):
        name, text = row["name"], row["tpot_ms"]
        check.one_of(path, "name", name, recorded)
        value = check.parsed_number(path, f"{name}.tpot_ms", text, POSITIVE)
        half_ms = 0.5 * 10.0 ** int(Decimal(text).as_tuple().exponent)
        if abs(value - recorded[name]) * MILLI > rounding.HALF_UNIT_S * (1 + 1e-9):
            raise InputError(path, f"{name}.tpot_ms", f"{text} does not round to the recorded {recorded[name]:g}")
        low[name], high[name] = value - half_ms, value + half_ms
    return Interval(*(np.array(list(end.values())) * MILLI for end in (low, high)))


def _labels(truth: GroundTruth) -> dict[tuple[str, str], np.ndarray]:
    """(kind, label) → mask, for every family, tensor-parallel degree and workload."""
    labels = ([e.model, f"tp{e.tp}", e.workload] for e in truth.experiments)
    columns = dict(zip(KINDS, zip(*labels, strict=True), strict=True))
    groups = truth.groups()
    return {(kind, label): groups[label] for kind, column in columns.items() for label in dict.fromkeys(column)}


def _analyse(model: Model, truth: GroundTruth, scoring: str) -> Analysis:
    values = search.GRID.coarse()
    predicted = search.tpot_s(model, truth.runs, values, scoring=scoring)
    ape = np.asarray(metrics.ape(predicted, np.asarray(truth.runs.measured[scoring].tpot_s)[:, None]))
    published = np.array([e.split == "train" for e in truth.experiments])
    try:
        return search.analyse(ape, values, published, np.array(list(_labels(truth).values())))
    except ValueError as error:
        raise InputError("ground truth", "split", str(error)) from None


def _rows(outcomes: Outcomes) -> list[Record]:
    """One record per split."""
    columns = (outcomes.optimum_us, outcomes.train / PERCENT, outcomes.test / PERCENT, outcomes.gap / PERCENT)
    return [dict(zip(QUANTITIES, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def split_rows(a: Analysis, truth: GroundTruth) -> list[Record]:
    """One record per split: the names of its train experiments, its optimum and MAPEs."""
    names = np.array([e.name for e in truth.experiments])
    return [{"train": names[mask].tolist(), **row} for mask, row in zip(a.train, _rows(a.every), strict=True)]


def _quantiles(outcomes: Outcomes) -> dict[str, dict[str, float]]:
    table = pd.DataFrame(_rows(outcomes))
    return {name: {str(q): float(np.percentile(table[name], q)) for q in QUANTILES} for name in QUANTITIES}


def _passes(outcomes: Outcomes) -> dict[str, float]:
    criteria = load_study("hg1").criteria
    rates = {c.name: float(passes(c, outcomes.train, outcomes.test).mean()) / PERCENT for c in criteria}
    every = np.all([passes(c, outcomes.train, outcomes.test) for c in criteria], axis=0)
    return rates | {"all three": float(every.mean()) / PERCENT}


def _scoring_record(a: Analysis, truth: GroundTruth) -> Record:
    labels = _labels(truth)
    keys = [{"kind": kind, "label": label, "experiments": int(mask.sum())} for (kind, label), mask in labels.items()]
    (published,) = _rows(a.published)
    gap = float(a.published.gap[0])
    published["gap_percentile"] = search.percentile(a.every.gap, gap) / PERCENT
    published["abs_gap_percentile"] = search.percentile(abs(a.every.gap), abs(gap)) / PERCENT
    alone = zip(keys, a.alone.optimum_us, a.alone.best, a.alone.loss, strict=True)
    return {
        "quantiles": _quantiles(a.every),
        "mean_gap_pp": float(a.every.gap.mean()) / PERCENT,
        "criteria_pass_pct": _passes(a.every),
        "published_split": published | {"passed": {name: rate > 0 for name, rate in _passes(a.published).items()}},
        "test_set_makeup": _makeup(a, truth),
        "leave_out": [key | row for key, row in zip(keys, _rows(a.left_out), strict=True)],
        "bootstrap": {
            "resamples": len(a.resampled.train), "mean_gap_pp": float(a.resampled.gap.mean()) / PERCENT,
            **_quantiles(a.resampled), "criteria_pass_pct": _passes(a.resampled)
        },
        "groups": [
            key | {"optimum_us": float(us), "tpot_mape_pct": best / PERCENT, "curve_pct": (loss / PERCENT).tolist()}
            for key, us, best, loss in alone
        ],
        "global_constant": _global_constant(a, keys),
    }  # fmt: skip


def _makeup(a: Analysis, truth: GroundTruth) -> list[Record]:
    """Gaps by how many experiments of the largest family are tested: the devil's advocate's asymmetry."""
    families = {label: mask for (kind, label), mask in _labels(truth).items() if kind == "family"}
    family = max(families, key=lambda label: int(families[label].sum()))
    tested = (~a.train & families[family]).sum(axis=1)
    published = sum(families[family][i] for i, e in enumerate(truth.experiments) if e.split == "test")
    rows = []
    for count in np.unique(tested):
        gap = a.every.gap[tested == count] / PERCENT
        row = {"family": family, "tested": int(count), "as_published": bool(count == published), "splits": len(gap)}
        row["mean_gap_pp"] = float(gap.mean())
        rows.append(row | {f"gap_{q}_pct_pp": float(np.percentile(gap, q)) for q in (5, 50, 95)})
    return rows


def _global_constant(a: Analysis, keys: Sequence[Record]) -> Record:
    """Per kind of group and over all of them: the value whose worst excess over a group's own best is smallest."""
    record: Record = {"tolerance_pp": search.TOLERANCE / PERCENT}
    for kind in (*KINDS, "all"):
        rows = [i for i, key in enumerate(keys) if kind in (key["kind"], "all")]
        some = search.GroupSearch(a.values_us, a.alone.loss[rows])
        at = int(np.argmin(some.worst_excess))
        worst = rows[int(np.argmax(some.loss[:, at] - some.best))]
        record[kind] = {
            "exists": bool(some.worst_excess[at] <= search.TOLERANCE),
            "least_worst_excess_pp": float(some.worst_excess[at]) / PERCENT,
            "value_us": some.compromise_us,
            "worst_group": keys[worst]["label"],
        }
    return record


def _rounding(model: Model, truth: GroundTruth, a: Analysis, scoring: str, digits: Interval | None) -> list[Record]:
    """MAPEs of the published split with the intervals that the measurements' last digits leave."""
    values = [*SHOWN_US, float(a.published.optimum_us[0])]
    settings = replace(model, dict.fromkeys(search.KEYS, np.array(values)))
    predicted = latencies(settings, truth.runs, scoring=scoring)
    measured = truth.runs.measured[scoring]
    ends = [rounding.scored(rounding.recorded(truth.runs.measured["published"], x), scoring) for x in (None, digits)]
    groups, rows = truth.groups(), []
    for metric in ("ttft", "tpot", "e2e"):
        seconds = np.asarray(getattr(predicted, f"{metric}_s"))
        ape = np.asarray(metrics.ape(seconds, np.asarray(getattr(measured, f"{metric}_s"))[:, None])) / PERCENT
        wide, narrow = (rounding.ape(seconds, end[metric]) for end in ends)
        for group in SPLITS:
            mask = groups[group]
            columns = [ape[mask].mean(axis=0)]
            columns += [x / PERCENT for i in (wide.mean(mask), narrow.mean(mask)) for x in (i.low, i.high)]
            names = ("mape_pct", "low_pct", "high_pct", "digits_low_pct", "digits_high_pct")
            for i, value in enumerate(values):
                label = {"metric": metric, "group": group, "overhead_us": value, "at_optimum": i == len(SHOWN_US)}
                rows.append(label | {name: float(x[i]) for name, x in zip(names, columns, strict=True)})
    return rows


def _sampling(model: Model, truth: GroundTruth, a: Analysis) -> tuple[Record, Outcomes]:
    """What 50 drawn requests per experiment move, seed by seed, under published scoring."""
    workloads = [truth.workloads[e.workload] for e in truth.experiments]
    sampled = sampling.sample(model, truth.runs, workloads, search.KEYS)
    measured = np.asarray(truth.runs.measured["published"].tpot_s)
    train = truth.groups()["train"]
    searched = sampling.searched(sampled, measured, a.values_us, train)
    value = float(a.published.optimum_us[0])
    exact = latencies(replace(model, dict.fromkeys(search.KEYS, value)), truth.runs, scoring="published")
    drawn, rows = sampled.at(value), []
    for i, e in enumerate(truth.experiments):
        row: Record = {"name": e.name}
        for metric in ("tpot", "e2e"):
            true = float(getattr(exact, f"{metric}_s")[i])
            off = (getattr(drawn, f"{metric}_s")[:, i] / true - 1) / PERCENT
            row |= {f"{metric}_exact_ms": true / MILLI, f"{metric}_std_pct": float(off.std())}
            row |= {f"{metric}_lowest_pct": float(off.min()), f"{metric}_highest_pct": float(off.max())}
        rows.append(row)
    record = {"seeds": sampling.SEEDS, "requests": sampling.REQUESTS, "overhead_us": value, "experiments": rows}
    counts = {f"{us:g}": int(n) for us, n in zip(*np.unique(searched.optimum_us, return_counts=True), strict=True)}
    return record | {"quantiles": _quantiles(searched), "optimum_counts": counts}, searched
