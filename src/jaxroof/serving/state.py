"""What a simulated server knows: its clock, its running requests in slots, and what has come of every request."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jaxroof.parameters import Flag, Scalar
from jaxroof.serving.load import Load

NOBODY = -1


class Slots(eqx.Module):
    """The running requests, in any order. Shapes ``[slot]``.

    A decode is never touched: ``last_step`` is the step of its last token, and before step g its KV cache holds
    ``offset + g`` tokens. A prompt (``prefill``: a prompt, and what was generated before a preemption) has ``due``
    tokens still to compute; the others are as if it were complete in the coming step, and move on while it is not.
    """

    request: Int[Any, " slot"]
    offset: Float[Any, " slot"]
    last_step: Float[Any, " slot"]
    first_step: Float[Any, " slot"]
    due: Float[Any, " slot"]
    prefill: Bool[Any, " slot"]
    prompt_tokens: Float[Any, " slot"]
    first_s: Float[Any, " slot"]

    @property
    def occupied(self) -> Bool[Any, " slot"]:
        """Where a request is."""
        return self.request != NOBODY


class Requests(eqx.Module):
    """What has come of each request. Shapes ``[request]``.

    ``arrival_s`` is inf before it is sent, ``first_s`` and ``last_s`` NaN before it has that token; ``generated``
    counts the tokens that it had when it was last preempted.
    """

    arrival_s: Float[Any, " request"]
    first_s: Float[Any, " request"]
    last_s: Float[Any, " request"]
    generated: Float[Any, " request"]
    preemptions: Float[Any, " request"]


class Totals(eqx.Module):
    """Time in which steps ran [s], its integrals over running requests and blocks in use, and their count."""

    busy_s: Scalar
    running_s: Scalar
    blocks_s: Scalar
    steps: Scalar


class State(eqx.Module):
    """A server between two actions.

    The last step began at ``start_s`` and ends at ``clock_s``; ``step`` is the number of the next one. Asynchronous
    scheduling decides on it when the last one begins, unless its pass is ``fresh``: at ``clock_s``, with nothing in
    flight. ``head`` is the first waiting request. In this pass requests were
    ``preempted``; ``waited`` counts passes that held waiting requests back; ``limit`` bounds a jump that met a kink.
    ``overflow``: more requests would run than there are slots here, though the server has more.
    """

    clock_s: Scalar
    start_s: Scalar
    step: Scalar
    fresh: Flag
    head: Int[Any, ""]
    free_blocks: Scalar
    preempted: Flag
    waited: Scalar
    limit: Scalar
    overflow: Flag
    slots: Slots
    requests: Requests
    totals: Totals


def count(mask: Flag) -> Scalar:
    """How many of them hold."""
    return jnp.sum(jnp.where(mask, 1.0, 0.0))


def idle_server(load: Load, kv_blocks: Scalar, slots: int) -> State:
    """A server with ``slots`` free places before anything was sent."""
    zero, no, first = jnp.zeros(()), jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    place, each = jnp.zeros(slots), jnp.zeros_like(load.arrival_s)
    nobody, unknown = jnp.full(slots, NOBODY, jnp.int32), jnp.full_like(each, jnp.nan)
    return State(
        clock_s=zero, start_s=zero, step=zero, fresh=~no, head=first,
        free_blocks=kv_blocks + zero, preempted=no,
        waited=zero, limit=zero + jnp.inf, overflow=no,
        slots=Slots(nobody, place, place, place, place, place > 0, place, place),
        requests=Requests(load.arrival_s, unknown, unknown, each, each),
        totals=Totals(zero, zero, zero, zero),
    )  # fmt: skip
