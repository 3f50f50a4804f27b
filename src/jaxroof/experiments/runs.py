"""Measured experiments, stacked, with the schedules of their requests."""

import dataclasses
from collections.abc import Sequence
from typing import cast

import equinox as eqx
import jax
import numpy as np
from jaxtyping import ArrayLike

from jaxroof.experiments import metrics
from jaxroof.files import check
from jaxroof.parameters import Architecture, Deployment
from jaxroof.request import schedule
from jaxroof.request.kinks import knots
from jaxroof.request.schedule import MAX_NUM_BATCHED_TOKENS, Latency, Schedule
from jaxroof.request.workload import Share
from jaxroof.step import Model

# Constants at whose multiples step time jumps, so that the quadrature of a request splits there.
SPLITTING = ("overheads.prefill.chunk_tokens", "host.graph_tokens")


class Runs(eqx.Module):
    """Measured experiments, stacked: every leaf has a leading axis ``experiment``.

    ``schedules`` and ``measured`` hold one entry per scoring; measured latencies are in s.

    >>> runs = jaxroof.load_experiments()
    >>> (runs.measured["itl"]["tpot"][:2] * 1000).round(2)  # ms
    array([6.16, 6.63]...)
    """

    architecture: Architecture
    deployment: Deployment
    schedules: dict[str, Schedule]
    measured: dict[str, Latency]

    def scheduled(self, scoring: str) -> Schedule:
        """The schedules of a scoring. Raises InputError for one that there is none of."""
        return self.schedules[check.one_of("runs", "scoring", scoring, self.schedules)]


def select(runs: Runs, index: ArrayLike) -> Runs:
    """The runs at ``index`` (a boolean mask or positions)."""
    return cast(Runs, jax.tree.map(lambda leaf: leaf[np.asarray(index)], runs))


def schedules_by_scoring(
    shares: Sequence[Share], output_tokens: float, models: Sequence[Model], arch: Architecture, deployment: Deployment
) -> dict[str, Schedule]:
    """The request's steps under every scoring."""
    longest = max(s.cached_tokens + len(s.prompt) + max(len(s.output), int(output_tokens) + 1) for s in shares)
    starts = {s.cached_tokens + done for s in shares for done in range(0, len(s.prompt), MAX_NUM_BATCHED_TOKENS)}
    chunks = [float(model.constants.overheads.prefill.chunk_tokens) for model in models]
    graphs = [float(model.constants.host.graph_tokens) for model in models]
    splits = knots(models[0].constants.hardware.mfu, arch, deployment, sorted(starts), longest, chunks, graphs)
    itl, per_token = schedule.realised(shares, output_tokens, splits)
    return dict(zip(metrics.SCORINGS, (schedule.published(shares, splits), itl, per_token), strict=True))


def stack_runs(runs: Sequence[Runs]) -> Runs:
    """Stack experiments; shorter schedules are padded with nodes of weight 0."""
    longer = iter(schedule.pad([s for run in runs for s in run.schedules.values()]))
    padded = [dataclasses.replace(run, schedules={scoring: next(longer) for scoring in run.schedules}) for run in runs]
    return cast(Runs, jax.tree.map(lambda *leaves: np.stack(leaves), *padded))
