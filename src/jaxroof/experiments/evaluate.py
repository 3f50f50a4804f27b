"""Batching: one experiment and one setting outside become all experiments, many settings here.

A setting axis is a leading axis on any constant of a :class:`Model`: ``leaves.replace`` with
arrays makes one, and so does :func:`stack`. Leaves without it are shared, not copied.
"""

from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxroof import defaults
from jaxroof.experiments import metrics
from jaxroof.experiments.runs import Runs, settled
from jaxroof.parameters import Architecture, Deployment, Server, setting_axes
from jaxroof.request.latency import breakdown, latency, step_times
from jaxroof.request.limits import check_window, known, refuse_layers
from jaxroof.request.schedule import Latency, Schedule
from jaxroof.step import Model, StepTime

# Settings that are no sweep are evaluated by fours.
FEW = 4


def latencies(model: Model, runs: Runs, *, scoring: str = defaults.SCORING) -> Latency:
    """Predicted TTFT, TPOT and E2E [s] of every run: ``[experiment]``, or ``[experiment setting]``.

    Arguments: ``model``, any of whose constants may have a leading axis ``setting``; ``runs`` of
    :func:`load_experiments`; ``scoring``, ``published``, ``itl`` or ``e2e_per_token``: the TPOT's convention.
    Raises InputError for another scoring, an unknown step model, layers that are not plain outside ``kernels``.

    >>> runs, model = jaxroof.load_experiments(), jaxroof.load_model("memory", overheads="h2b")
    >>> (jaxroof.latencies(model, runs)["tpot"][:2] * 1000).round(2)  # ms
    Array([7.99, 8.21]...)
    >>> swept = jaxroof.replace(model, {"hardware.hbm_efficiency": [0.7, 0.8, 0.9]})
    >>> jaxroof.latencies(swept, runs).ttft_s.shape
    (13, 3)
    """
    refuse_layers("runs", model.step, runs.architecture)
    schedule = runs.scheduled(scoring)
    if known(runs.architecture.layers.sliding_window, schedule.decode_context_tokens):
        longest = np.max(schedule.decode_context_tokens, axis=-1) + 1
        check_window("runs", model.step, runs.architecture, longest)
    return cast(Latency, latencies_at(model, schedule, runs.architecture, runs.deployment, runs.server))


def tpot_mape(
    model: Model, runs: Runs, *, scoring: str = defaults.SCORING, group: Float[ArrayLike, " experiment"] | None = None
) -> Float[Array, "..."]:
    """Mean over runs of |predicted TPOT / measured TPOT − 1|, TPOT in the convention of ``scoring``.

    ``group[experiment]`` weighs the runs (1 or 0: a subset). A share, not percent; ``[setting]`` if there are
    settings. Arguments and errors otherwise as for :func:`latencies`. Differentiable: ``jax.grad`` of it is a
    model of slopes per SI unit (per second of an overhead; :func:`sensitivities` has them per unit of the keys).

    >>> runs, model = jaxroof.load_experiments(), jaxroof.load_model("memory", overheads="h2b")
    >>> round(float(jaxroof.tpot_mape(model, runs)), 3)
    0.157
    """
    predicted = latencies(model, runs, scoring=scoring).tpot_s
    measured = jnp.asarray(runs.measured[scoring].tpot_s)
    measured = measured.reshape(measured.shape + (1,) * (predicted.ndim - 1))
    return cast(Array, metrics.mean(metrics.ape(predicted, measured), group))


def breakdowns(model: Model, runs: Runs, *, scoring: str = defaults.SCORING) -> tuple[StepTime, StepTime]:
    """What the prefill steps and the mean decode step of every run are made of, leaves ``[experiment]``."""
    schedule = runs.scheduled(scoring)
    both: tuple[StepTime, StepTime] = _breakdowns(model, schedule, runs.architecture, runs.deployment, runs.server)
    return both


def latencies_of(models: Sequence[Model], runs: Runs, *, scoring: str = defaults.SCORING) -> Latency:
    """Latencies ``[experiment setting]`` of a few models of one step; however few, they share one compiled program."""
    own = [np.asarray(model.own, dtype=float) for model in models]
    if not all(np.array_equal(each, own[0]) for each in own):
        models = [settled(model, runs) for model in models]  # a stack shares what is its own
    filled = [*models, *[models[-1]] * (-len(models) % FEW)]
    swept = latencies(stack(*filled), runs, scoring=scoring)
    return cast(Latency, jax.tree.map(lambda leaf: np.asarray(leaf)[:, : len(models)], swept))


def stack(*settings: Model) -> Model:
    """One model with a setting axis from several that share their MFU tables, the leaves that are no scalars."""
    return cast(Model, jax.tree.map(lambda x, *rest: x if np.ndim(x) else np.stack([x, *rest]), *settings))


@jax.jit
def latencies_at(
    model: Model, schedule: Schedule, arch: Architecture, deployment: Deployment, server: Server
) -> Latency:
    """:func:`latencies` of stacked runs, part by part and unchecked: nothing of them is static."""
    axes = setting_axes(model)

    def one(schedule: Schedule, arch: Architecture, deployment: Deployment, server: Server) -> Latency:
        return latency(model.served_by(server), schedule, arch, deployment, settings=axes)

    return jax.vmap(one)(schedule, arch, deployment, server)


@jax.jit
def _breakdowns(
    model: Model, schedule: Schedule, arch: Architecture, deployment: Deployment, server: Server
) -> tuple[StepTime, StepTime]:
    def one(
        schedule: Schedule, arch: Architecture, deployment: Deployment, server: Server
    ) -> tuple[StepTime, StepTime]:
        return step_times(model.served_by(server), schedule, arch, deployment)

    prefill, decode = jax.vmap(one)(schedule, arch, deployment, server)
    return jax.vmap(breakdown)(schedule, prefill, decode)
