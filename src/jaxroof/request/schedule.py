"""Schedules: which steps a request takes, averaged over length distributions."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from jaxroof.files import check
from jaxroof.parameters import Sampling, Scalar, Values, Vector, put, scalar
from jaxroof.request.quadrature import rule
from jaxroof.request.workload import Share
from jaxroof.units import MILLI

METRICS = ("ttft", "tpot", "e2e")

# Prefill steps so rare need one node between knots, which is exact for a step time that is affine there.
NEGLIGIBLE = 1e-3


class Schedule(eqx.Module):
    """The steps of a workload's average request, as quadrature nodes.

    Any mean latency over a workload is linear in the step times:
    ``TTFT = Σ prefill_weight·t(prefill node)``, ``E2E = TTFT + Σ e2e_weight·t(decode node)``,
    ``TPOT = tpot_ttft_weight·TTFT + Σ tpot_weight·t(decode node)``. A scoring is a set of weights.
    The overheads' staircase ⌈new tokens / chunk⌉ has prefill nodes of its own, so that the others
    need not split at its jumps. ``output_tokens`` of a request and their coefficient of variation say how many are
    in flight, ``sampling`` how they are drawn.
    """

    prefill_context_tokens: Float[Any, " prefill"]
    prefill_new_tokens: Float[Any, " prefill"]
    prefill_weight: Float[Any, " prefill"]
    chunk_new_tokens: Float[Any, " chunk"]
    chunk_weight: Float[Any, " chunk"]
    decode_context_tokens: Float[Any, " decode"]
    tpot_weight: Float[Any, " decode"]
    e2e_weight: Float[Any, " decode"]
    tpot_ttft_weight: Scalar
    output_tokens: Scalar
    output_cv: Scalar
    sampling: Sampling


class Latency(eqx.Module):
    """Mean latencies [s] of a request; the convention of ``tpot_s`` is that of its scoring.

    Numbers, or arrays of one shape: ``[experiment]``, ``[experiment setting]``. ``latency["ttft"]`` is
    ``latency.ttft_s``. Printed, numbers are in ms.

    >>> latency = jaxroof.load_experiments().measured["itl"]
    >>> latency["tpot"].shape
    (13,)
    """

    ttft_s: Values
    tpot_s: Values
    e2e_s: Values

    def __getitem__(self, metric: str) -> Values:
        """``ttft``, ``tpot`` or ``e2e`` [s]. Raises InputError for another name."""
        return getattr(self, f"{check.one_of('latency', 'metric', metric, METRICS)}_s")

    def __repr__(self) -> str:
        return f"Latency({', '.join(f'{name[:-1]}ms={_milliseconds(x)}' for name, x in vars(self).items())})"


def _milliseconds(seconds: Any) -> Any:
    """Numbers in ms; whatever else stands there while JAX transforms (a tracer, an axis) as it is."""
    concrete = eqx.is_array_like(seconds) and not isinstance(seconds, jax.core.Tracer)
    return np.round(np.asarray(seconds, dtype=np.float64) / MILLI, 3) if concrete else seconds


@dataclasses.dataclass(frozen=True)
class Knots:
    """Where step time is not smooth: quadrature splits there.

    In the new tokens of a prefill step, per cached context; in the context of a decode step; and
    for the overheads' staircase at the multiples of each ``chunk_tokens``. ``…_nodes`` are per interval.
    """

    chunk_tokens: Sequence[float] = (512.0,)
    prefill: Mapping[int, Sequence[float]] = dataclasses.field(default_factory=dict)
    decode: Sequence[float] = ()
    prefill_nodes: int = 2
    decode_nodes: int = 2


def every_scoring(
    shares: Sequence[Share], output_tokens: float, sampling: Sampling, budget: int, knots: Knots = Knots()
) -> tuple[Schedule, Schedule, Schedule]:
    """Published, ITL and E2E-per-token scoring; the first of drawn outputs, the others as :func:`realised`."""
    prefill = _prefill(shares, budget, knots)
    return (_published(shares, sampling, prefill, knots), *_realised(shares, output_tokens, sampling, prefill, knots))


def realised(
    shares: Sequence[Share], output_tokens: float, sampling: Sampling, budget: int, knots: Knots = Knots()
) -> tuple[Schedule, Schedule]:
    """ITL and E2E-per-token scoring of requests that each give ``output_tokens`` (need not be whole)."""
    return _realised(shares, output_tokens, sampling, _prefill(shares, budget, knots), knots)


def _published(shares: Sequence[Share], sampling: Sampling, prefill: Sequence[Vector], knots: Knots) -> Schedule:
    """The published scoring: n/(n−1)·mean decode step as TPOT (n = 1 skipped), TTFT + n·step as E2E."""
    counted = sum(share.weight * share.output[2:].sum() for share in shares)
    tpot, e2e = [], []
    for share in shares:
        n = np.arange(len(share.output), dtype=float)
        steps = np.maximum(n - 1, 1)  # one output token: its one counted step is the first decode step
        per_request = share.weight * share.output * n / steps
        e2e.append(_tail_sums(per_request))
        tpot.append(_tail_sums(np.where(n > 1, per_request / steps, 0.0)) / counted)
    mean = sum(share.weight * float(share.output @ np.arange(len(share.output))) for share in shares)
    return _build(shares, tpot, e2e, (0.0, mean, 0.0, sampling), prefill, knots)


def _realised(
    shares: Sequence[Share], output_tokens: float, sampling: Sampling, prefill: Sequence[Vector], knots: Knots
) -> tuple[Schedule, Schedule]:
    steps = output_tokens - 1
    taken = np.clip(steps - np.arange(max(math.ceil(steps), 1)), 0.0, 1.0)
    e2e = [share.weight * taken for share in shares]
    drawn = (output_tokens, 0.0, sampling)
    itl = _build(shares, [weights / (steps or 1.0) for weights in e2e], e2e, (0.0, *drawn), prefill, knots)
    first = (1 / output_tokens, *drawn)
    per_token = _build(shares, [weights / output_tokens for weights in e2e], e2e, first, prefill, knots)
    return itl, per_token


def _tail_sums(per_request: Vector) -> Vector:
    """Weight of decode step i = 0, 1, … when a request of n tokens takes steps 0 … max(n − 2, 0)."""
    last = np.concatenate([[per_request[:3].sum()], per_request[3:]])
    return np.cumsum(last[::-1])[::-1]


def _build(
    shares: Sequence[Share], tpot: list[Vector], e2e: list[Vector], others: tuple[float, float, float, Sampling],
    prefill: Sequence[Vector], knots: Knots,
) -> Schedule:  # fmt: skip
    """The nodes, and what else a schedule has, in its order."""
    context, weights = _decode_rule(shares, tpot, e2e, knots)
    tpot_ttft, output, cv, sampling = others
    nodes = [scalar(leaf) for leaf in (*prefill, context, *weights, tpot_ttft, output, cv)]
    return Schedule(*nodes, sampling)  # type: ignore[call-arg]  # mypy counts a list as one


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
    return rule(points, list(np.maximum(measures, 0.0)), knots.decode, knots.decode_nodes)


def _prefill(shares: Sequence[Share], budget: int, knots: Knots) -> tuple[Vector, ...]:
    """The prefill and chunk nodes with their weights, which all scorings share."""
    measures = _prefill_measures(shares, budget)
    return (*_prefill_rule(measures, knots), *_chunk_rule(measures, knots))


def _prefill_measures(shares: Sequence[Share], budget: int) -> dict[int, Vector]:
    """Cached context → weight of each count of new tokens. A prompt takes full steps of ``budget``, then the rest.

    A share of weight 1 with 100 cached tokens whose prompts are 3000 tokens (half of them) or 5000, at a budget of
    2048: {100: all at 2048, 2148: half at 952 and half at 2048, 4196: half at 904}. A measure's total is how many
    requests take that step.
    """
    measures: dict[int, Vector] = {}
    for share in shares:
        prompt = share.weight * share.prompt
        for done in range(0, len(prompt) - 1, budget):
            measure = measures.setdefault(share.cached_tokens + done, np.zeros(budget + 1))
            rest = prompt[done + 1 : done + budget + 1]
            measure[1 : len(rest) + 1] += rest  # prompts that end within this step
            # and those that go on, which fill it
            measure[budget] += prompt[done + budget + 1 :].sum()
    return measures


def _prefill_rule(measures: Mapping[int, Vector], knots: Knots) -> tuple[Vector, Vector, Vector]:
    contexts, new, weights = [], [], []
    for context, measure in sorted(measures.items()):
        splits = knots.prefill.get(context, ())
        nodes, (weight,) = rule(np.arange(float(len(measure))), [measure], splits, knots.prefill_nodes, NEGLIGIBLE)
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
    nodes = [name for name, leaf in vars(schedules[0]).items() if np.ndim(leaf)]
    sizes = {name: max(np.size(getattr(s, name)) for s in schedules) for name in nodes}

    def longer(schedule: Schedule, name: str) -> Vector:
        leaf = np.asarray(getattr(schedule, name))
        fill = 0.0 if name.endswith("weight") else leaf[-1]
        return np.asarray(scalar(np.append(leaf, np.full(sizes[name] - leaf.size, fill))))

    return [put(s, {name: longer(s, name) for name in nodes}) for s in schedules]
