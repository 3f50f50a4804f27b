"""Steps → TTFT, TPOT and E2E of a request, and what they are made of."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxroof.parameters import Architecture, Deployment, Scalar, Values, put
from jaxroof.request.in_flight import generated_tokens, longest_tokens, spread_tokens
from jaxroof.request.schedule import Latency, Schedule
from jaxroof.request.tracing import Result, as_primitives
from jaxroof.step import AFFINE, Batch, Model, Requests, StepTime
from jaxroof.step.overhead import chunks_s

# The staircase among the overheads of a prefill step: its cost per chunk and tokens per chunk.
CHUNKS = ("constants.overheads.prefill.per_chunk_s", "constants.overheads.prefill.chunk_tokens")


def latency(
    model: Model,
    schedule: Schedule,
    arch: Architecture,
    deployment: Deployment,
    batch: Scalar | None = None,
    settings: Model | None = None,
) -> Latency:
    """Mean TTFT, TPOT and E2E [s] of a request: sums of step times, see :class:`jaxroof.request.schedule.Schedule`.

    Without ``batch`` the server has one request at a time, as the measured runs. With it, ``batch``
    requests are in flight: they decode together, and the other batch − 1 ride along in a prefill step.
    A request that joins them on a server waits, for the steps that are queued.
    With ``settings``, the axes of ``model`` to map over, latencies are ``[setting]``.
    """
    if model.step in AFFINE:
        schedule = _merged(schedule)
    # The staircase of ⌈new tokens / chunk⌉ has nodes of its own, so the other nodes need not split at its jumps: it is
    # taken out of the steps (no cost per chunk of one token; its leaves lose their setting axis) and added at the end.
    smooth, axes = _without_chunks(model, (0.0, 1.0)), settings and _without_chunks(settings, (None, None))
    prefill, decode = step_times(smooth, schedule, arch, deployment, batch, axes, parts=False)
    return total(schedule, prefill, decode, _chunks_s(schedule, model, settings))


def total(schedule: Schedule, prefill: StepTime, decode: StepTime, chunks_s: Values | float = 0.0) -> Latency:
    """Latencies from the step times of a request's nodes ``[prefill ...]`` and ``[decode ...]`` [s].

    ``chunks_s`` is overhead of the prefill that those step times leave out.
    """
    ttft = prefill.admission_s[0] + _dot(schedule.prefill_weight, prefill.total_s) + chunks_s
    ttft += _waiting_s(schedule, prefill, decode)
    tpot = schedule.tpot_ttft_weight * ttft + _dot(schedule.tpot_weight, decode.total_s)
    return Latency(ttft, tpot, ttft + _dot(schedule.e2e_weight, decode.total_s))


def breakdown(schedule: Schedule, prefill: StepTime, decode: StepTime) -> tuple[StepTime, StepTime]:
    """The step times of a request's nodes, summed: all prefill steps (TTFT), and the mean decode step."""
    ttft = jax.tree.map(lambda x: _dot(schedule.prefill_weight, x), prefill)
    step = jax.tree.map(lambda x: _dot(schedule.tpot_weight, x), decode)
    return (
        # Once, however many steps.
        dataclasses.replace(ttft, admission_s=prefill.admission_s[0], waiting_s=_waiting_s(schedule, prefill, decode)),
        dataclasses.replace(step, admission_s=jnp.zeros_like(step.total_s)),
    )


def _waiting_s(schedule: Schedule, prefill: StepTime, decode: StepTime) -> Values:
    """What a request that joins others waits for before its own first step: as many decode steps as are queued [s]."""
    weight = schedule.e2e_weight / jnp.maximum(jnp.sum(schedule.e2e_weight), 1.0)
    return prefill.queued_steps[0] * _dot(weight, decode.total_s)


def step_times(
    model: Model,
    schedule: Schedule,
    arch: Architecture,
    deployment: Deployment,
    batch: Scalar | None = None,
    settings: Model | None = None,
    *,
    parts: bool = True,
) -> tuple[StepTime, StepTime]:
    """Times of a request's prefill steps ``[prefill]`` and decode steps ``[decode]``, with their ``parts`` or without.

    With ``settings``, the axes of ``model`` to map over, ``[prefill setting]`` and ``[decode setting]``:
    settings are the last axis, so that the vector units of a CPU run along them.
    """

    def step(batch: Batch, arch: Architecture, deployment: Deployment, model: Model) -> StepTime:
        time = model(batch, arch, deployment)
        return time if parts else dataclasses.replace(time, parts={})

    # Traced once per call, then mapped as plain primitives: by node here, by setting in _over, by experiment outside.
    # Each vmap would otherwise map every small jitted function of jax.numpy anew, and parts that nobody asked for.
    every = _over(settings, as_primitives(step), 3)
    if batch is None:
        # No rows rather than a count of 0: the program then has no decode side in its prefill steps at all.
        batch, others = jnp.ones_like(deployment.tp), no_requests()
    else:
        others = rows(jnp.mean(schedule.decode_context_tokens), 1.0, batch - 1)
    output, cv = schedule.output_tokens, schedule.output_cv
    # Penalties look at the last token too, which is in no cache yet.
    seen, spread = generated_tokens(output, cv) + 1, spread_tokens(output, cv)
    beside = jnp.maximum(batch - 1, 0.0)
    longest = longest_tokens(output, cv, jnp.maximum(beside, 1.0)) * jnp.minimum(beside, 1.0)
    joining = (schedule.sampling, seen * beside / batch, longest, spread)
    running = (schedule.sampling, seen, longest_tokens(output, cv, batch), spread)

    def prefill(context: Scalar, new_tokens: Scalar) -> StepTime:
        return every(Batch(rows(context, new_tokens, 1.0), others, *joining), arch, deployment, model)

    def decode(context: Scalar) -> StepTime:
        return every(Batch(no_requests(), rows(context, 1.0, batch), *running), arch, deployment, model)

    return (
        jax.vmap(prefill)(schedule.prefill_context_tokens, schedule.prefill_new_tokens),
        jax.vmap(decode)(schedule.decode_context_tokens),
    )


def no_requests() -> Requests:
    """A phase that is not there: no rows, so it costs nothing in a compiled step either."""
    none = jnp.zeros(0, dtype=jnp.result_type(float))
    return Requests(none, none, none)


def rows(context_tokens: Scalar | float, new_tokens: Scalar | float, count: Scalar | float) -> Requests:
    """``count`` equal requests as the one row of a phase."""
    return Requests(*(jnp.asarray(x, dtype=jnp.result_type(float))[None] for x in (context_tokens, new_tokens, count)))


def _merged(schedule: Schedule) -> Schedule:
    """One prefill node, the mean one: Σ w·t(c, m) = Σ w · t(mean c, mean m) for a step time affine in both."""
    weight = jnp.sum(schedule.prefill_weight, keepdims=True)
    context, new_tokens = (
        _dot(schedule.prefill_weight, tokens)[None] / weight
        for tokens in (schedule.prefill_context_tokens, schedule.prefill_new_tokens)
    )
    return dataclasses.replace(
        schedule, prefill_context_tokens=context, prefill_new_tokens=new_tokens, prefill_weight=weight
    )


def _chunks_s(schedule: Schedule, model: Model, settings: Model | None) -> Values:
    """The staircase term of a request's prefill steps, on its own nodes [s]."""

    def one(model: Model) -> Scalar:
        return _dot(schedule.chunk_weight, chunks_s(model.constants.overheads.prefill, schedule.chunk_new_tokens))

    return _over(settings, one, 0)(model)


def _without_chunks(tree: Model, values: Sequence[float | None]) -> Model:
    """``tree`` with ``values`` at the staircase's cost and tokens per chunk."""
    return put(tree, dict(zip(CHUNKS, values, strict=True)))


def _over(settings: Model | None, function: Callable[..., Result], shared: int) -> Callable[..., Result]:
    """``function`` of ``shared`` arguments and a ``Model``, mapped over its settings if any leaf still has some."""
    return jax.vmap(function, in_axes=(*(None,) * shared, settings)) if jax.tree.leaves(settings) else function


def _dot(weights: Float[Any, " node"], seconds: Float[Any, " node *rest"]) -> Float[Any, "*rest"]:
    return jnp.tensordot(weights, seconds, axes=1)
