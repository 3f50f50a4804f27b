"""Measured experiments, stacked, with the schedules of their requests."""

import dataclasses
from collections.abc import Sequence
from typing import cast

import equinox as eqx
import jax
import numpy as np
from jaxtyping import ArrayLike

from jaxroof.experiments import metrics
from jaxroof.files import InputError, check
from jaxroof.parameters import AnalyticMfu, Architecture, Deployment, Sampling, Server, alike, put
from jaxroof.request import schedule
from jaxroof.request.kinks import knots
from jaxroof.request.schedule import Latency, Schedule
from jaxroof.request.workload import Share
from jaxroof.step import Model

# Constants at whose multiples step time jumps, so that the quadrature of a request splits there.
SPLITTING = ("overheads.prefill.chunk_tokens", "server.graph_tokens", "server.max_num_seqs")


class Runs(eqx.Module):
    """Measured experiments, stacked: every leaf has a leading axis ``experiment``.

    ``schedules`` and ``measured`` hold one entry per scoring; measured latencies are in s. ``server`` is what each ran
    on: it wins over a model's default server, not over one that was named.

    >>> runs = jaxroof.load_experiments()
    >>> (runs.measured["itl"]["tpot"][:2] * 1000).round(2)  # ms
    array([6.16, 6.63]...)
    """

    architecture: Architecture
    deployment: Deployment
    schedules: dict[str, Schedule]
    measured: dict[str, Latency]
    server: Server

    def scheduled(self, scoring: str) -> Schedule:
        """The schedules of a scoring. Raises InputError for one that there is none of."""
        return self.schedules[check.one_of("runs", "scoring", scoring, self.schedules)]


def settled(model: Model, runs: Runs) -> Model:
    """``model`` with the one server that all ``runs`` have, unless it names its own. Raises InputError."""
    if model.own is None or np.all(model.own):
        return model
    if any(np.any(leaf != leaf[:1]) for leaf in map(np.asarray, jax.tree.leaves(runs.server))):
        raise InputError("runs", "server", "is not the same in all; name one (--server)")
    server = model.server_for(jax.tree.map(lambda leaf: leaf[0], runs.server))
    return put(model, {"constants.server": server, "own": np.ones_like(model.own)})


def select(runs: Runs, index: ArrayLike) -> Runs:
    """The runs at ``index`` (a boolean mask or positions)."""
    return cast(Runs, jax.tree.map(lambda leaf: leaf[np.asarray(index)], runs))


def schedules_by_scoring(
    shares: Sequence[Share], output_tokens: float, sampling: Sampling, models: Sequence[Model],
    servers: Sequence[Server], arch: Architecture, deployment: Deployment,
) -> dict[str, Schedule]:  # fmt: skip
    """The request's steps under every scoring, on a server with the token budget of the first of ``servers``."""
    budget = int(servers[0].max_num_batched_tokens)
    longest = max(s.cached_tokens + len(s.prompt) + max(len(s.output), int(output_tokens) + 1) for s in shares)
    starts = {s.cached_tokens + done for s in shares for done in range(0, len(s.prompt), budget)}
    chunks = [float(model.constants.overheads.prefill.chunk_tokens) for model in models]
    jumps = {float(limit) for server in servers for limit in server.graph_limits}
    if float(deployment.tp) == 1 and all(model.step == "kernels" for model in models):
        jumps = set()  # outside a CUDA graph only all-reduces are slower
    mfus = [model.constants.hardware.mfu for model in models]
    mfu = next((mfu for mfu in mfus if not isinstance(mfu, AnalyticMfu)), mfus[0])
    splits = knots(mfu, arch, deployment, sorted(starts), longest, budget, chunks, sorted(jumps))
    each = schedule.every_scoring(shares, output_tokens, sampling, budget, splits)
    return dict(zip(metrics.SCORINGS, each, strict=True))


def stack_runs(runs: Sequence[Runs]) -> Runs:
    """Stack experiments; shorter schedules are padded with nodes of weight 0, fewer kinds of layers with none."""
    runs = [
        dataclasses.replace(run, architecture=each)
        for run, each in zip(runs, alike([run.architecture for run in runs]), strict=True)
    ]
    longer = iter(schedule.pad([s for run in runs for s in run.schedules.values()]))
    padded = [dataclasses.replace(run, schedules={scoring: next(longer) for scoring in run.schedules}) for run in runs]
    return cast(Runs, jax.tree.map(lambda *leaves: np.stack(leaves), *padded))
