"""Predictions of all experiments against what was measured, in percent."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxroof.experiments import metrics
from jaxroof.experiments.evaluate import latencies_of
from jaxroof.experiments.recorded import Experiment
from jaxroof.experiments.runs import Runs
from jaxroof.parameters import Mask
from jaxroof.request.schedule import Latency
from jaxroof.step import Model
from jaxroof.units import MILLI, PERCENT

ERROR_COLUMNS = ("ttft_ape_pct", "tpot_ape_pct", "tpot_signed_pct", "e2e_ape_pct")
# Column → error of every experiment [%].
Errors = Mapping[str, NDArray[np.float64]]
SPLITS = ("train", "test", "all")


def errors(predicted: Latency, measured: Latency) -> dict[str, NDArray[np.float64]]:
    """Absolute errors of TTFT, TPOT and E2E and the signed one of TPOT, ``[experiment]``, in percent."""
    ttft = metrics.ape(predicted.ttft_s, measured.ttft_s)
    tpot = metrics.signed_error(predicted.tpot_s, measured.tpot_s)
    e2e = metrics.ape(predicted.e2e_s, measured.e2e_s)
    return {name: np.asarray(x) / PERCENT for name, x in zip(ERROR_COLUMNS, (ttft, abs(tpot), tpot, e2e), strict=True)}


def splits(groups: Mapping[str, Mask]) -> dict[str, Mask]:
    """Those of ``groups`` that are splits, or all experiments."""
    return {name: groups[name] for name in SPLITS if name in groups}


def aggregate(errors: Errors, mask: Mask) -> dict[str, float]:
    """MAPE of TTFT, TPOT and E2E over a group, in percent."""
    return {name.replace("ape", "mape"): float(x[mask].mean()) for name, x in errors.items() if "_ape_" in name}


def evaluate(models: Mapping[str, Model], runs: Runs, scoring: str) -> dict[str, Latency]:
    """Latencies of every run under every configuration, in one compiled call per step model."""
    predicted: dict[str, Latency] = {}
    for step in dict.fromkeys(model.step for model in models.values()):
        names = [name for name, model in models.items() if model.step == step]
        swept = latencies_of([models[name] for name in names], runs, scoring=scoring)
        predicted |= {name: jax.tree.map(lambda x, i=i: x[:, i], swept) for i, name in enumerate(names)}
    return {name: predicted[name] for name in models}


def milliseconds_and_errors(latency: Latency, errors: Errors, i: int) -> dict[str, float]:
    """One experiment's predictions [ms] and errors [%]."""
    milliseconds = {f"{name}_ms": float(latency[name][i]) / MILLI for name in metrics.METRICS}
    return milliseconds | {name: float(column[i]) for name, column in errors.items()}


def evaluation(
    predicted: Mapping[str, Latency],
    errors: Mapping[str, Errors],
    groups: Mapping[str, Mask],
    experiments: Sequence[Experiment],
) -> dict[str, Any]:
    """Configurations, experiments and aggregates: what ``study`` and ``evaluate`` share."""
    return {
        "configurations": list(predicted),
        "experiments": [
            {"name": e.name, "split": e.split, "family": e.model}
            | {name: milliseconds_and_errors(latency, errors[name], i) for name, latency in predicted.items()}
            for i, e in enumerate(experiments)
        ],
        "aggregate": {
            name: {split: aggregate(errors[name], mask) for split, mask in splits(groups).items()} for name in predicted
        },
    }
