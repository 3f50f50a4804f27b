"""One action of vLLM V1's scheduler at a time: an ended request leaves, one is preempted, or one is admitted."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxroof.parameters import Flag, Scalar, Server, Values
from jaxroof.serving.load import Load
from jaxroof.serving.state import NOBODY, Requests, State, count

LAST = np.iinfo(np.int32).max


class Pass(NamedTuple):
    """What the coming step does for each running request, as far as the scheduler's pass has come. Shapes ``[slot]``.

    ``active``: may have work. ``computed`` tokens are in its KV cache, ``take`` of the ``due`` ones join them. It
    has ``held`` blocks and ``needs`` further ones.
    """

    active: Bool[Any, " slot"]
    computed: Float[Any, " slot"]
    due: Float[Any, " slot"]
    take: Float[Any, " slot"]
    held: Float[Any, " slot"]
    needs: Float[Any, " slot"]


class Left(NamedTuple):
    """A request that left its slot (NOBODY: none), and the steps of its first and last token there."""

    request: Int[Any, ""]
    first_step: Scalar
    last_step: Scalar


def blocks(tokens: Values, server: Server) -> Values:
    """⌈tokens / block size⌉."""
    return jnp.ceil(tokens / server.block_size)


def found_tokens(cached: Values, tokens: Values, server: Server) -> Values:
    """Of ``tokens`` those that are in the prefix cache: whole blocks, and one token at least is computed."""
    return jnp.floor(jnp.minimum(cached, tokens - 1) / server.block_size) * server.block_size


def at_once(tokens: Values, server: Server) -> Values:
    """Of a prompt's ``tokens`` as many as one step may take."""
    threshold = server.long_prefill_token_threshold
    return jnp.where(threshold > 0, jnp.minimum(tokens, threshold), tokens)


def lags(state: State, server: Server) -> Flag:
    """Whether a step is in flight at the coming pass."""
    return (server.async_scheduling > 0) & ~state.fresh


def next_arrival_s(state: State) -> Scalar:
    """When the first waiting request arrives [s]; inf if it is not sent yet, or there is none."""
    arrival_s = state.requests.arrival_s
    return jnp.where(state.head < arrival_s.size, arrival_s[jnp.minimum(state.head, arrival_s.size - 1)], jnp.inf)


def pass_s(state: State, server: Server) -> Scalar:
    """Time of the coming pass [s]: it sees what has arrived until then."""
    return jnp.where(lags(state, server), state.start_s, state.clock_s)


def plan(state: State, server: Server) -> Pass:
    """Running requests first, in order of admission, within the token budget.

    Only the last one can be cut short: when it was admitted those before it left tokens of the budget, and since then
    they want no more. Where prompts go first, decodes wait for them.
    """
    slots = state.slots
    active = slots.occupied & (slots.last_step >= state.step)
    prompts = active & slots.prefill
    decode = jnp.where((server.prefill_first > 0) & jnp.any(prompts), 0.0, 1.0)
    due = jnp.where(active, jnp.where(slots.prefill, slots.due, decode), 0.0)
    want = at_once(due, server)
    last = prompts & (slots.request == jnp.max(jnp.where(prompts, slots.request, NOBODY)))
    take = want - jnp.where(last, jnp.maximum(jnp.sum(want) - server.max_num_batched_tokens, 0.0), 0.0)
    computed = slots.offset + state.step + 1 - jnp.where(slots.prefill, slots.due, 1.0)
    held = jnp.where(slots.occupied, blocks(computed, server), 0.0)
    needs = jnp.where(active, blocks(computed + take, server) - held, 0.0)
    return Pass(active, computed, due, take, held, needs)


def retire(state: State, server: Server, pause_s: Scalar | None) -> tuple[State, Left, Flag]:
    """Let one request go whose last token the pass knows; and whether further ones are to go.

    In a closed loop its client sends the next request ``pause_s`` later.
    """
    slots, lag = state.slots, lags(state, server)
    over = slots.occupied & (slots.last_step < state.step - jnp.where(lag, 1.0, 0.0))
    i, ends = jnp.argmin(jnp.where(over, slots.request, LAST)), jnp.any(over)
    # A step in flight began when the one that gave these last tokens ended.
    last_s = jnp.where(lag, state.start_s, state.clock_s)
    held = blocks(slots.offset[i] + slots.last_step[i] + 1, server)
    left = Left(jnp.where(ends, slots.request[i], NOBODY), slots.first_step[i], slots.last_step[i])
    requests = _set(state.requests, left.request, first_s=slots.first_s[i], last_s=last_s)
    free = state.free_blocks + jnp.where(ends, held, 0.0)
    state = _vacate(dataclasses.replace(state, requests=requests, free_blocks=free), i, ends)
    if pause_s is not None:
        state = _send_next(state, ends, last_s + pause_s)
    return state, left, jnp.sum(over) > 1


def preempt(state: State, work: Pass, wanted: Flag, load: Load) -> tuple[State, Left]:
    """Put the last of the running back to the front of the waiting ones; it computes all its tokens anew.

    A token in flight is still delivered. If it is the last one, that is the end: it gives up its blocks and stays.
    """
    slots = state.slots
    i = jnp.argmax(jnp.where(work.held > 0, slots.request, NOBODY))
    ends = slots.last_step[i] < state.step
    request = jnp.where(wanted, slots.request[i], NOBODY)
    goes = wanted & ~ends
    left = Left(jnp.where(goes & ~slots.prefill[i], request, NOBODY), slots.first_step[i], state.step - 1)
    to_come = slots.last_step[i] - state.step + 1
    requests = _set(
        state.requests, request, first_s=slots.first_s[i], generated=load.output_tokens[request] - to_come,
        preemptions=state.requests.preemptions[request] + 1,
    )  # fmt: skip
    here = (jnp.arange(slots.request.size) == i) & wanted
    # Its blocks come free here: with offset + last_step + 1 = 0 tokens in its KV cache it frees none as it leaves.
    emptied = dataclasses.replace(slots, offset=jnp.where(here, -1 - slots.last_step, slots.offset))
    state = dataclasses.replace(
        state, slots=emptied, requests=requests, head=jnp.where(goes, request, state.head),
        preempted=state.preempted | wanted,
        free_blocks=state.free_blocks + jnp.where(wanted, work.held[i], 0.0),
    )  # fmt: skip
    return _vacate(state, i, goes), left


class Admission(NamedTuple):
    """Whether the first waiting request can join the coming step, and what it would bring.

    ``seen``: the pass sees it; ``held``: it is held back for further ones; ``skip``: it ended while it waited.
    """

    possible: Flag
    seen: Flag
    held: Flag
    skip: Flag
    overflow: Flag
    hit: Scalar
    tokens: Scalar


def admission(state: State, work: Pass, load: Load, server: Server) -> Admission:
    """First come, first served: whether ``head`` fits the slots, the token budget and the blocks that are left."""
    slots, head = state.slots, jnp.minimum(state.head, load.arrival_s.size - 1)
    seen = next_arrival_s(state) <= pass_s(state, server)
    skip = seen & ~jnp.isnan(state.requests.last_s[head])
    tokens = load.prompt_tokens[head] + state.requests.generated[head]
    hit = found_tokens(load.cached_tokens[head], tokens, server)
    # Where prompts go first, decodes take nothing from a step that has one.
    counts = (server.prefill_first == 0) | slots.prefill
    left = server.max_num_batched_tokens - jnp.sum(jnp.where(counts, work.take, 0.0))
    free = state.free_blocks - jnp.sum(jnp.where(counts, work.needs, 0.0))
    chunk = jnp.minimum(at_once(tokens - hit, server), left)
    asked = blocks(jnp.where(server.reserve_full_prompt > 0, tokens, hit + chunk), server)
    running = count(slots.occupied)
    decoding = jnp.any(work.active & ~slots.prefill)
    held = seen & decoding & (state.waited < server.batch_wait_steps)
    fits = (left > 0) & (asked <= free) & (running < server.max_num_seqs)
    wanted = seen & ~skip & ~held & ~state.preempted & fits
    full = running >= slots.request.size
    return Admission(wanted & ~full, seen, held, skip, wanted & full, hit, tokens)


def admit(state: State, chance: Admission, wanted: Flag, load: Load, server: Server) -> State:
    """Give ``head`` a slot, if ``wanted``."""
    slots, head = state.slots, jnp.minimum(state.head, load.arrival_s.size - 1)
    generated = state.requests.generated[head]
    here = (jnp.arange(slots.request.size) == jnp.argmin(slots.request)) & wanted

    def put(values: Any, value: Any) -> Any:
        return jnp.where(here, value, values)

    slots = dataclasses.replace(
        slots,
        request=put(slots.request, head),
        offset=put(slots.offset, chance.tokens - state.step - 1),
        last_step=put(slots.last_step, state.step + load.output_tokens[head] - generated - 1),
        due=put(slots.due, chance.tokens - chance.hit),
        prefill=put(slots.prefill, True),
        prompt_tokens=put(slots.prompt_tokens, load.prompt_tokens[head]),
        first_s=put(slots.first_s, state.requests.first_s[head]),
    )
    found = jnp.where(wanted, chance.hit / server.block_size, 0.0)
    head = state.head + wanted.astype(jnp.int32)
    return dataclasses.replace(state, slots=slots, head=head, free_blocks=state.free_blocks - found)


def _set(requests: Requests, i: Int[Any, ""], **values: Scalar) -> Requests:
    """``values`` of request ``i``; nothing where it is NOBODY."""
    i = jnp.where(i == NOBODY, requests.arrival_s.size, i)  # which is dropped
    set_ = {name: getattr(requests, name).at[i].set(value, mode="drop") for name, value in values.items()}
    return dataclasses.replace(requests, **set_)


def _vacate(state: State, i: Int[Any, ""], wanted: Flag) -> State:
    slots = state.slots
    here = (jnp.arange(slots.request.size) == i) & wanted
    slots = dataclasses.replace(slots, request=jnp.where(here, NOBODY, slots.request))
    return dataclasses.replace(state, slots=slots)


def _send_next(state: State, ends: Flag, at_s: Scalar) -> State:
    """A client of a closed loop sends the next request at ``at_s``, once one has ended, in order of arrival."""
    arrival_s = state.requests.arrival_s
    later = arrival_s > at_s
    first = later & ~jnp.roll(later, 1).at[0].set(False)
    shifted = jnp.where(first, at_s, jnp.roll(arrival_s, 1))
    arrival_s = jnp.where(later & ends & jnp.isinf(arrival_s[-1]), shifted, arrival_s)
    return dataclasses.replace(state, requests=dataclasses.replace(state.requests, arrival_s=arrival_s))
