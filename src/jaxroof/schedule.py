"""Workloads → schedules: which steps a request takes, averaged over length distributions."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Array

from jaxroof.leaves import scalar
from jaxroof.params import Schedule
from jaxroof.quadrature import Vector, rule

# vLLM's default token budget of a step.
MAX_NUM_BATCHED_TOKENS = 2048
# Prefill steps so rare need one node between knots, which is exact for a step time that is affine there.
NEGLIGIBLE = 1e-3


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Gaussian token counts, clamped to [min, max], then rounded."""

    mean: float
    stdev: float
    min: int
    max: int

    def distribution(self) -> Vector:
        """Probability of each count 0 … max."""
        edges = (np.arange(self.min, self.max) + 0.5 - self.mean) / (self.stdev or 1e-9)
        below = np.array([0.5 * math.erfc(-edge / math.sqrt(2)) for edge in edges])
        inside = np.diff(below, prepend=0.0, append=1.0)
        return np.concatenate([np.zeros(self.min), inside])

    def exact_mean(self) -> float:
        """The mean of the clamped and rounded distribution."""
        return float(self.distribution() @ np.arange(self.max + 1))

    def draw(self, generator: np.random.Generator, count: int) -> Vector:
        """``count`` sampled token counts."""
        return np.rint(np.clip(generator.normal(self.mean, self.stdev, count), self.min, self.max))


@dataclasses.dataclass(frozen=True)
class Workload:
    """Lengths of a benchmark's requests; the prefix is shared and cached after the first request."""

    prefix_tokens: int
    prompt: Lengths
    output: Lengths


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of the requests: cached tokens, and independent prompt and output distributions.

    Distributions are arrays of probabilities, indexed by token count.
    """

    weight: float
    cached_tokens: int
    prompt: Vector
    output: Vector


@dataclasses.dataclass(frozen=True)
class Knots:
    """Where step time is not smooth: quadrature splits there.

    In the new tokens of a prefill step, per cached context; in the context of a decode step; and
    for the overheads' staircase at the multiples of each ``chunk_tokens``. ``nodes`` per interval.
    """

    chunk_tokens: Sequence[float] = (512.0,)
    prefill: Mapping[int, Sequence[float]] = dataclasses.field(default_factory=dict)
    decode: Sequence[float] = ()
    nodes: int = 2


def exact(workload: Workload) -> list[Share]:
    """The whole distribution, prefix cached."""
    prompt, output = workload.prompt.distribution(), workload.output.distribution()
    return [Share(1.0, workload.prefix_tokens, prompt, output)]


def sampled(workload: Workload, seed: int, count: int = 50) -> list[Share]:
    """``count`` drawn requests, the first of which finds the prefix not yet cached."""
    generator = np.random.default_rng(seed)
    prompts = workload.prompt.draw(generator, count).astype(int)
    outputs = workload.output.draw(generator, count).astype(int)
    prefix = workload.prefix_tokens
    cached, new = np.full(count, prefix), prompts.copy()
    cached[0], new[0] = 0, prefix + prompts[0]
    rows = zip(cached, new, outputs, strict=True)
    return [Share(1 / count, int(c), point(int(p)), point(int(n))) for c, p, n in rows]


def point(count: int) -> Vector:
    """The distribution that is always ``count`` tokens."""
    return np.eye(1, count + 1, count)[0]


def published(shares: Sequence[Share], knots: Knots = Knots(), budget: int = MAX_NUM_BATCHED_TOKENS) -> Schedule:
    """The published scoring: n/(n−1)·mean decode step as TPOT (n = 1 skipped), TTFT + n·step as E2E."""
    counted = sum(share.weight * share.output[2:].sum() for share in shares)
    tpot, e2e = [], []
    for share in shares:
        n = np.arange(len(share.output), dtype=float)
        steps = np.maximum(n - 1, 1)  # one output token: its one counted step is the first decode step
        per_request = share.weight * share.output * n / steps
        e2e.append(_tail_sums(per_request))
        tpot.append(_tail_sums(np.where(n > 1, per_request / steps, 0.0)) / counted)
    return _build(shares, tpot, e2e, 0.0, knots, budget)


def realised(
    shares: Sequence[Share], output_tokens: float, knots: Knots = Knots(), budget: int = MAX_NUM_BATCHED_TOKENS
) -> tuple[Schedule, Schedule]:
    """ITL and E2E-per-token scoring of requests that each give ``output_tokens`` (need not be whole)."""
    steps = output_tokens - 1
    taken = np.clip(steps - np.arange(max(math.ceil(steps), 1)), 0.0, 1.0)
    e2e = [share.weight * taken for share in shares]
    itl = _build(shares, [weights / (steps or 1.0) for weights in e2e], e2e, 0.0, knots, budget)
    per_token = _build(shares, [weights / output_tokens for weights in e2e], e2e, 1 / output_tokens, knots, budget)
    return itl, per_token


def _tail_sums(per_request: Vector) -> Vector:
    """Weight of decode step i = 0, 1, … when a request of n tokens takes steps 0 … max(n − 2, 0)."""
    last = np.concatenate([[per_request[:3].sum()], per_request[3:]])
    return np.cumsum(last[::-1])[::-1]


def _build(
    shares: Sequence[Share], tpot: list[Vector], e2e: list[Vector], tpot_ttft: float, knots: Knots, budget: int
) -> Schedule:
    context, weights = _decode_rule(shares, tpot, e2e, knots)
    measures = _prefill_measures(shares, budget)
    prefill = (*_prefill_rule(measures, knots), *_chunk_rule(measures, knots))
    return Schedule(*(scalar(leaf) for leaf in (*prefill, context, *weights, tpot_ttft)))


def _decode_rule(
    shares: Sequence[Share], tpot: list[Vector], e2e: list[Vector], knots: Knots
) -> tuple[Vector, list[Vector]]:
    """Decode step i of a request with prompt p has context cached + p + i: a convolution."""
    ends = [s.cached_tokens + len(s.prompt) + len(w) for s, w in zip(shares, e2e, strict=True)]
    measures = np.zeros((2, max(ends)))
    for share, *offsets in zip(shares, tpot, e2e, strict=True):
        for measure, weights in zip(measures, offsets, strict=True):
            shortest = np.flatnonzero(share.prompt)[0]
            spread = np.convolve(share.prompt[shortest:], weights)
            start = share.cached_tokens + shortest
            measure[start : start + len(spread)] += spread
    points = np.arange(measures.shape[1], dtype=float)
    return rule(points, list(np.maximum(measures, 0.0)), knots.decode, knots.nodes)


def _prefill_measures(shares: Sequence[Share], budget: int) -> dict[int, Vector]:
    """Cached context → weight of each count of new tokens. A prompt takes full steps of ``budget``, then the rest."""
    measures: dict[int, Vector] = {}
    for share in shares:
        prompt = share.weight * share.prompt
        for done in range(0, len(prompt) - 1, budget):
            measure = measures.setdefault(share.cached_tokens + done, np.zeros(budget + 1))
            rest = prompt[done + 1 : done + budget + 1]
            measure[1 : len(rest) + 1] += rest
            measure[budget] += prompt[done + budget + 1 :].sum()
    return measures


def _prefill_rule(measures: Mapping[int, Vector], knots: Knots) -> tuple[Vector, Vector, Vector]:
    contexts, new, weights = [], [], []
    for context, measure in sorted(measures.items()):
        splits = knots.prefill.get(context, ())
        nodes, (weight,) = rule(np.arange(float(len(measure))), [measure], splits, knots.nodes, NEGLIGIBLE)
        contexts.append(np.full(len(nodes), float(context)))
        new.append(nodes)
        weights.append(weight)
    return np.concatenate(contexts), np.concatenate(new), np.concatenate(weights)


def _chunk_rule(measures: Mapping[int, Vector], knots: Knots) -> tuple[Vector, Vector]:
    """One node between two jumps of ⌈new tokens / chunk⌉ is exact, whatever the cached context."""
    measure = np.sum(list(measures.values()), axis=0)
    jumps = [jump for chunk in set(knots.chunk_tokens) for jump in np.arange(chunk, len(measure), chunk)]
    nodes, (weight,) = rule(np.arange(float(len(measure))), [measure], jumps, 1)
    return nodes, weight


def pad(schedules: Sequence[Schedule]) -> list[Schedule]:
    """``schedules`` with further nodes of weight 0, up to the number of nodes of the longest."""
    fields = [field.name for field in dataclasses.fields(Schedule)]
    sizes = {name: max(np.size(getattr(s, name)) for s in schedules) for name in fields}

    def longer(schedule: Schedule, name: str) -> Array:
        leaf = np.asarray(getattr(schedule, name))
        fill = 0.0 if name.endswith("weight") else leaf[-1]
        return scalar(np.append(leaf, np.full(sizes[name] - leaf.size, fill)))

    names = [name for name in fields if name != "tpot_ttft_weight"]
    return [dataclasses.replace(s, **{name: longer(s, name) for name in names}) for s in schedules]
