"""Workloads drawn request by request, many seeds at once: what sampling alone moves.

Steps are tabulated once per experiment, at every integer context and prompt length; a drawn request is
then a look-up in prefix sums. Overheads are affine, so tables at two values of a constant give all.
"""

import dataclasses
from collections.abc import Sequence
from typing import cast

import jax
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from jaxroof.experiments import metrics
from jaxroof.experiments.affine import UNIT
from jaxroof.experiments.runs import Runs, settled
from jaxroof.parameters import Architecture, Deployment, Sampling, Vector, put, replace
from jaxroof.request.latency import step_times
from jaxroof.request.schedule import Latency, Schedule
from jaxroof.request.workload import Workload
from jaxroof.splits.search import Outcomes, search
from jaxroof.step import Model

SEEDS = 1000
REQUESTS = 50


@dataclasses.dataclass(frozen=True)
class Sampled:
    """Latencies ``[seed experiment]`` [s], affine in one constant: base + slope · value."""

    base: Latency
    slope: Latency

    def at(self, value: float) -> Latency:
        """Latencies at ``value`` of the constant, in the unit of its file."""
        return cast(Latency, jax.tree.map(lambda base, slope: base + slope * value, self.base, self.slope))


@dataclasses.dataclass(frozen=True)
class StepTable:
    """Step times of one experiment [s]; ``setting`` is the constant at 0 and at UNIT.

    ``cold_s`` and ``warm_s`` ``[setting prompt]`` are TTFTs of a prompt with nothing or the prefix cached,
    ``decode_sum_s[setting context]`` is the time of all decode steps at smaller contexts.
    """

    cold_s: Vector
    warm_s: Vector
    decode_sum_s: Vector


def sample(
    model: Model, runs: Runs, workloads: Sequence[Workload], keys: Sequence[str],
    *, seeds: int = SEEDS, requests: int = REQUESTS,
) -> Sampled:  # fmt: skip
    """Latencies under published scoring when ``requests`` are drawn per experiment, for seeds 0 … ``seeds`` − 1.

    ``workloads`` has each experiment's; all ``keys`` take the one constant's value. The requests are those of
    :func:`jaxroof.request.workload.sampled`.
    """
    tables = tabulate(model, runs, workloads, keys)
    drawn = {workload: draw(workload, seeds, requests) for workload in set(workloads)}
    columns = [_means(t, w.prefix_tokens, *drawn[w]) for t, w in zip(tables, workloads, strict=True)]
    zero, unit = (Latency(*x) for x in np.array(columns).transpose(2, 1, 3, 0))
    return Sampled(zero, jax.tree.map(lambda a, b: (b - a) / UNIT, zero, unit))


def draw(workload: Workload, seeds: int, requests: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Prompt and output tokens ``[seed request]`` that each seed draws."""
    generators = [np.random.default_rng(seed) for seed in range(seeds)]
    prompts, outputs = (
        np.array([lengths.draw(generator, requests) for generator in generators]).astype(int)
        for lengths in (workload.prompt, workload.output)
    )
    return prompts, outputs


def tabulate(model: Model, runs: Runs, workloads: Sequence[Workload], keys: Sequence[str]) -> list[StepTable]:
    """Every experiment's table; all have the longest one's size, so that they share one compiled program."""
    model = settled(model, runs)
    budget = int(model.constants.server.max_num_batched_tokens)
    drawn = runs.scheduled("published")
    of_requests = {name: getattr(drawn, name) for name in ("output_tokens", "output_cv", "sampling")}
    nodes = put(_nodes(workloads, budget), of_requests)
    settings = [replace(model, dict.fromkeys(keys, value)) for value in (0.0, UNIT)]
    times = [_step_seconds(model, nodes, runs.architecture, runs.deployment) for model in settings]
    prefill, decode, admission = (np.stack([np.asarray(x) for x in leaf], axis=1) for leaf in zip(*times, strict=True))
    cold, warm = (_ttft(half, budget) + admission[..., None] for half in np.split(prefill, 2, axis=-1))
    sums = np.cumsum(np.pad(decode, ((0, 0), (0, 0), (1, 0))), axis=-1)
    return [StepTable(*table) for table in zip(cold, warm, sums, strict=True)]


def _nodes(workloads: Sequence[Workload], budget: int) -> Schedule:
    """Prefill steps of 1 … budget new tokens after each number of full ones, cold then warm; then decode steps."""
    longest = max(w.prefix_tokens + w.prompt.max for w in workloads)
    new = np.tile(np.arange(1.0, budget + 1), 2 * -(-longest // budget))
    done = np.repeat(np.arange(0.0, longest, budget), budget)
    decode, none = np.arange(longest + max(w.output.max for w in workloads), dtype=float), np.zeros(0)
    ones = np.ones(len(decode))

    def one(cached: int) -> Schedule:
        context = np.concatenate([done, cached + done])
        zero = np.zeros(())
        return Schedule(context, new, np.ones(len(new)), none, none, decode, ones, ones, zero, zero, zero, Sampling())

    return cast(Schedule, jax.tree.map(lambda *x: np.stack(x), *(one(w.prefix_tokens) for w in workloads)))


@jax.jit
def _step_seconds(
    model: Model, nodes: Schedule, arch: Architecture, deployment: Deployment
) -> tuple[Array, Array, Array]:
    """Prefill ``[experiment node]``, decode ``[experiment context]`` and admission ``[experiment]`` times [s]."""
    prefill, decode = jax.vmap(step_times, in_axes=(None, 0, 0, 0))(model, nodes, arch, deployment)
    return prefill.total_s, decode.total_s, prefill.admission_s[:, 0]


def _ttft(prefill_s: Vector, budget: int) -> Vector:
    """TTFT ``[... prompt]`` by prompt tokens 0, 1, …: the full chunks before the last one, and the last one."""
    chunks = prefill_s.reshape(*prefill_s.shape[:-1], -1, budget)
    before = np.cumsum(chunks[..., -1:], axis=-2) - chunks[..., -1:]
    flat = (before + chunks).reshape(prefill_s.shape)
    return np.concatenate([np.zeros_like(flat[..., :1]), flat], axis=-1)


def _means(table: StepTable, prefix: int, prompts: NDArray[np.int64], outputs: NDArray[np.int64]) -> Vector:
    """Mean TTFT, TPOT and E2E of the drawn requests ``[latency setting seed]`` [s]; the first request is cold."""
    start, steps = prefix + prompts, np.maximum(outputs - 1, 1)
    step = (table.decode_sum_s[:, start + steps] - table.decode_sum_s[:, start]) / steps
    ttft = table.warm_s[:, prompts]
    ttft[..., 0] = table.cold_s[:, start[:, 0]]
    counted = outputs > 1
    tpot = (counted * outputs / steps * step).sum(axis=-1) / counted.sum(axis=-1)
    return np.stack([ttft.mean(axis=-1), tpot, (ttft + outputs * step).mean(axis=-1)])


def searched(sampled: Sampled, measured_tpot_s: Vector, values: Vector, train: NDArray[np.bool_]) -> Outcomes:
    """The search on the ``train`` mask ``[experiment]`` with every seed's own TPOT: outcomes ``[seed]``."""
    tpot = sampled.base.tpot_s[..., None] + sampled.slope.tpot_s[..., None] * values
    each = [search(ape, values, train[None]) for ape in metrics.ape(tpot, measured_tpot_s[:, None])]
    return Outcomes(*map(np.concatenate, zip(*each, strict=True)))
