"""Batching: one experiment and one setting outside become all experiments, many settings here.

A setting axis is a leading axis on any declared leaf of a ``Tier0``: ``leaves.replace`` with
arrays makes one, and so does :func:`stack`. Leaves without it are shared, not copied.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxroof import defaults
from jaxroof.experiments import metrics
from jaxroof.experiments.runs import Runs
from jaxroof.parameters import Architecture, Deployment, Tier0, get, put, walk
from jaxroof.request.latency import breakdown, latency, step_times
from jaxroof.request.schedule import Latency, Schedule
from jaxroof.step import STEP_MODELS, StepTime

# Settings that are no sweep are evaluated by fours.
FEW = 4


def latencies(
    tier0: Tier0, runs: Runs, *, scoring: str = defaults.SCORING, step_model: str = defaults.STEP_MODEL
) -> Latency:
    """Predicted TTFT, TPOT and E2E [s] of every run: ``[experiment]``, or ``[experiment setting]``."""
    return _latencies(tier0, runs.schedules[scoring], runs.architecture, runs.deployment, step_model=step_model)


def tpot_mape(
    tier0: Tier0,
    runs: Runs,
    *,
    scoring: str = defaults.SCORING,
    step_model: str = defaults.STEP_MODEL,
    group: Float[Array, " experiment"] | None = None,
) -> Float[Array, "..."]:
    """Mean over runs of |predicted TPOT / measured TPOT − 1|, TPOT in the convention of ``scoring``.

    ``group`` weighs the runs (1 or 0: a subset). A share, not percent; ``[setting]`` if there are settings.
    """
    predicted = latencies(tier0, runs, scoring=scoring, step_model=step_model).tpot_s
    measured = jnp.asarray(runs.measured[scoring].tpot_s)
    measured = measured.reshape(measured.shape + (1,) * (predicted.ndim - 1))
    return metrics.mean(metrics.ape(predicted, measured), group)


def breakdowns(tier0: Tier0, runs: Runs, *, scoring: str, step_model: str) -> tuple[StepTime, StepTime]:
    """What the prefill steps and the mean decode step of every run are made of, leaves ``[experiment]``."""
    return _breakdowns(tier0, runs.schedules[scoring], runs.architecture, runs.deployment, step_model=step_model)


def latencies_of(tier0s: Sequence[Tier0], runs: Runs, *, scoring: str, step_model: str) -> Latency:
    """Latencies ``[experiment setting]`` of a few settings; however few, they share one compiled program."""
    filled = [*tier0s, *[tier0s[-1]] * (-len(tier0s) % FEW)]
    swept = latencies(stack(*filled), runs, scoring=scoring, step_model=step_model)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:, : len(tier0s)], swept)


def stack(*settings: Tier0) -> Tier0:
    """One ``Tier0`` with a setting axis from several that share their MFU tables, the leaves that are no scalars."""
    return jax.tree.map(lambda first, *rest: first if np.ndim(first) else np.stack([first, *rest]), *settings)


@functools.partial(jax.jit, static_argnames="step_model")
def _latencies(
    tier0: Tier0, schedule: Schedule, arch: Architecture, deployment: Deployment, *, step_model: str
) -> Latency:
    one = functools.partial(latency, STEP_MODELS[step_model], settings=_setting_axes(tier0))
    return jax.vmap(one, in_axes=(0, 0, 0, None))(schedule, arch, deployment, tier0)


@functools.partial(jax.jit, static_argnames="step_model")
def _breakdowns(
    tier0: Tier0, schedule: Schedule, arch: Architecture, deployment: Deployment, *, step_model: str
) -> tuple[StepTime, StepTime]:
    def one(schedule: Schedule, arch: Architecture, deployment: Deployment) -> tuple[StepTime, StepTime]:
        return breakdown(schedule, *step_times(STEP_MODELS[step_model], schedule, arch, deployment, tier0))

    return jax.vmap(one)(schedule, arch, deployment)


def _setting_axes(tier0: Tier0) -> Tier0 | None:
    """0 at every declared leaf with a setting axis, None elsewhere; None if there is none."""
    axes: Tier0 = jax.tree.map(lambda _: None, tier0)
    paths = [path for _, path, _ in walk(tier0) if jnp.ndim(get(tier0, path)) > 0]
    return put(axes, dict.fromkeys(paths, 0)) if paths else None
