"""A study's search on every train/test split, group and sampled workload, and what rounding leaves open of it."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxroof.experiments import metrics, rounding
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.ground_truth import GroundTruth
from jaxroof.experiments.rounding import Interval
from jaxroof.experiments.scores import SPLITS
from jaxroof.files import InputError
from jaxroof.parameters import Mask, Vector, replace
from jaxroof.request.schedule import Latency
from jaxroof.splits import sampling
from jaxroof.splits.search import GroupSearch, Outcomes, bootstrap, every_split, search, search_groups, tpot_ape
from jaxroof.step import Model
from jaxroof.studies.spec import Study

SCORINGS = ("published", "itl")
KINDS = ("family", "tp", "workload")
# Where rounding is judged, beside the optimum [µs].
SHOWN_US = (0.0, 80.0, 100.0)


@dataclasses.dataclass(frozen=True)
class Rounding:
    """APE of a ``metric`` ``[experiment value]`` over a ``group`` of the published split, a share.

    The overheads are SHOWN_US and the optimum. Of the MAPE the records leave the interval ``recorded[value]``, and
    with more digits of their TPOT ``recovered[value]``.
    """

    metric: str
    group: str
    ape: Vector
    recorded: Interval
    recovered: Interval


@dataclasses.dataclass(frozen=True)
class Searches:
    """The search under one scoring, and what ``rounding`` leaves open of the published split's MAPEs.

    On ``every`` split ``[split]``, on the ``published`` one, with each group left out ``[group]``, on bootstrap
    resamples ``[resample]``; ``alone`` on each group, by kind of group and of all groups under ``all``.
    """

    every: Outcomes
    published: Outcomes
    left_out: Outcomes
    resampled: Outcomes
    alone: Mapping[str, GroupSearch]
    rounding: Sequence[Rounding]


@dataclasses.dataclass(frozen=True)
class SampledSearch:
    """Requests drawn seed by seed, under published scoring: the search on each seed's TPOT, ``searched[seed]``.

    Latencies [s] at ``overhead_us``, the published split's optimum: ``exact[experiment]``, ``drawn[seed experiment]``.
    """

    overhead_us: float
    searched: Outcomes
    exact: Latency
    drawn: Latency


@dataclasses.dataclass(frozen=True)
class SplitsResult:
    """What the choice of a split, a group or a sample decides about the search of ``study``.

    ``train[split experiment]`` are the train masks of every split, ``values_us[value]`` is the grid, ``searches`` are
    by scoring.
    """

    model: Model
    truth: GroundTruth
    study: Study
    values_us: Vector
    train: Mask
    searches: Mapping[str, Searches]
    sampled: SampledSearch


def analyse(model: Model, truth: GroundTruth, study: Study, digits: Interval | None = None) -> SplitsResult:
    """All of it under both scorings; ``digits`` narrow the measured TPOT [s].

    Raises InputError for a study without a search, and where a split leaves train or test empty.
    """
    if study.search is None:
        raise InputError(study.name, "searches nothing")
    keys, values, count = study.search.keys, study.search.free[0].values(), len(truth.experiments)
    groups = {kind: truth.by(kind) for kind in KINDS}
    groups["all"] = {label: mask for masks in groups.values() for label, mask in masks.items()}
    published = truth.by("split").get("train", np.zeros(count, dtype=bool))
    weights = {
        "every": every_split(count, int(published.sum())),
        "published": published[None],
        "left_out": ~np.array(list(groups["all"].values())),
        "resampled": bootstrap(count),
    }
    searches = {}
    for scoring in SCORINGS:
        ape = tpot_ape(model, truth.runs, keys, values, scoring=scoring)
        outcomes = {name: search(ape, values, train) for name, train in weights.items()}
        alone = {kind: search_groups(ape, values, masks) for kind, masks in groups.items()}
        at = replace(model, dict.fromkeys(keys, np.array([*SHOWN_US, *outcomes["published"].optimum_us])))
        searches[scoring] = Searches(**outcomes, alone=alone, rounding=_rounding(at, truth, scoring, digits))
    sampled = _sampled(model, truth, keys, values, float(searches["published"].published.optimum_us[0]))
    return SplitsResult(model, truth, study, values, weights["every"], searches, sampled)


def _rounding(model: Model, truth: GroundTruth, scoring: str, digits: Interval | None) -> list[Rounding]:
    """``model`` has a setting axis, the values."""
    predicted, measured = latencies(model, truth.runs, scoring=scoring), truth.runs.measured
    ends = [rounding.scored(rounding.recorded(measured["published"], tpot), scoring) for tpot in (None, digits)]
    groups, found = truth.groups(), []
    for metric in metrics.METRICS:
        seconds, recorded = (np.asarray(x[metric]) for x in (predicted, measured[scoring]))
        ape, intervals = metrics.ape(seconds, recorded[:, None]), [rounding.ape(seconds, end[metric]) for end in ends]
        found += [Rounding(metric, g, ape[groups[g]], *(x.mean(groups[g]) for x in intervals)) for g in SPLITS]
    return found


def _sampled(model: Model, truth: GroundTruth, keys: Sequence[str], values_us: Vector, at_us: float) -> SampledSearch:
    drawn = sampling.sample(model, truth.runs, [truth.workloads[e.workload] for e in truth.experiments], keys)
    exact = latencies(replace(model, dict.fromkeys(keys, at_us)), truth.runs, scoring="published")
    measured_s = np.asarray(truth.runs.measured["published"].tpot_s)
    searched = sampling.searched(drawn, measured_s, values_us, truth.by("split")["train"])
    return SampledSearch(at_us, searched, exact, drawn.at(at_us))
