"""What a simulated server does next: one action of its scheduler, and the steps that follow.

Each action lets at most one request leave, be preempted or be admitted; once the scheduler's pass has nothing more to
do, the steps that follow are taken, at once as far as nothing can change.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp

from jaxroof.parameters import Flag, Scalar, Server
from jaxroof.serving.load import Load
from jaxroof.serving.scheduler import (
    Admission,
    Left,
    Pass,
    admission,
    admit,
    blocks,
    lags,
    next_arrival_s,
    pass_s,
    plan,
    preempt,
    retire,
)
from jaxroof.serving.state import NOBODY, State, Totals, count
from jaxroof.serving.steps import Jump, Pricing, next_steps


class Action(NamedTuple):
    """What one action did: steps from ``start_s`` on, with so many running requests; and who left before them.

    ``head`` is the first request that still waits; in these steps ``decodes_wait`` or not.
    """

    start_s: Scalar
    jump: Jump
    left: Left
    running: Scalar
    used_blocks: Scalar
    head: Scalar
    decodes_wait: Flag


def act(
    state: State, load: Load, server: Server, price: Pricing, kv_blocks: Scalar, closed: bool
) -> tuple[State, Flag, Action]:
    """The server after one action, whether there is more to do, and what was done."""
    pause_s = price.admission_s + load.think_s if closed else None
    state, chance, left, ready = _schedule(state, load, server, pause_s)
    work = plan(state, server)
    jump, kinked = next_steps(state, work, chance, server, price)
    shorter = jnp.maximum(jnp.floor(jump.steps / 2), 1.0)
    jump = jump._replace(steps=jnp.where(ready & ~kinked, jump.steps, 0.0))
    waits = (server.prefill_first > 0) & jnp.any(state.slots.prefill & work.active)
    used = kv_blocks - state.free_blocks
    done = Action(state.clock_s, jump, left, count(state.slots.occupied), used, state.head, waits)
    runs, idle = jump.steps > 0, ready & ~jnp.any(work.take > 0)
    in_flight, arrival_s = lags(state, server), next_arrival_s(state)
    wakes = idle & ~in_flight & ~chance.seen & jnp.isfinite(arrival_s)
    state = _take_steps(state, work, jump, server, kv_blocks)
    state = dataclasses.replace(
        state,
        # Nothing to do: the pass is repeated when the step in flight has ended, or when somebody arrives.
        clock_s=jnp.where(wakes, arrival_s, state.clock_s),
        fresh=(state.fresh & ~runs) | idle,
        preempted=state.preempted & ~(runs | idle),
        waited=_waited(state, chance, jump.steps, runs | idle),
        limit=jnp.where(ready & kinked, shorter, jnp.where(runs, jnp.inf, state.limit)),
        overflow=state.overflow | chance.overflow,
    )
    return state, ~state.overflow & (~idle | in_flight | wakes), done


def _schedule(state: State, load: Load, server: Server, pause_s: Scalar | None) -> tuple[State, Admission, Left, Flag]:
    """One request leaves, or one is preempted, or one is admitted; and whether that is all there is to do."""
    state, ended, further = retire(state, server, pause_s)
    work = plan(state, server)
    chance = admission(state, work, load, server)
    first = (server.prefill_first > 0) & chance.possible
    short = ~first & (jnp.sum(work.needs) > state.free_blocks)
    further |= short & (ended.request != NOBODY)
    pops = short & ~further
    admits, skips = (~further & ~pops & wanted for wanted in (chance.possible, chance.skip))
    state, popped = preempt(state, work, pops, load)
    state = admit(state, chance, admits, load, server)
    state = dataclasses.replace(state, head=state.head + skips.astype(jnp.int32))
    left = Left(*(jnp.where(pops, p, e) for p, e in zip(popped, ended, strict=True)))
    more = (admits | skips) & (next_arrival_s(state) <= pass_s(state, server))
    return state, chance, left, ~(further | pops | skips | more | chance.overflow)


def _take_steps(state: State, work: Pass, jump: Jump, server: Server, kv_blocks: Scalar) -> State:
    """The server after the steps of ``jump``; the same where there are none."""
    slots, steps, seconds = state.slots, jump.steps, jump.seconds(jump.steps)
    runs, clock_s = steps > 0, state.clock_s + seconds
    samples = runs & work.active & (work.take > 0) & (work.take >= work.due)
    completes, stays = samples & slots.prefill, jnp.where(runs & work.active & ~samples, 1.0, 0.0)
    grown = work.computed + work.take + jnp.where(samples & ~slots.prefill, steps - 1, 0.0)
    used = jnp.where(runs & work.active, blocks(grown, server) - blocks(work.computed, server), 0.0)
    free = state.free_blocks - jnp.sum(used)
    slots = dataclasses.replace(
        slots,
        offset=slots.offset - stays,
        last_step=slots.last_step + stays,
        first_step=jnp.where(completes, state.step, slots.first_step),
        due=slots.due - jnp.where(runs, work.take, 0.0),
        prefill=slots.prefill & ~completes,
        first_s=jnp.where(completes & jnp.isnan(slots.first_s), clock_s, slots.first_s),
    )
    # A step holds its new blocks; from a jump's first step to its last one they are taken evenly.
    first = state.free_blocks - jnp.sum(jnp.where(runs, work.needs, 0.0))
    used_blocks = jnp.where(jnp.isfinite(kv_blocks), kv_blocks - (first + free) / 2, 0.0)
    done = state.totals
    totals = Totals(
        done.busy_s + seconds,
        done.running_s + seconds * count(state.slots.occupied),
        done.blocks_s + seconds * used_blocks,
        done.steps + steps,
    )
    return dataclasses.replace(
        state,
        clock_s=clock_s,
        start_s=jnp.where(runs, state.clock_s + jump.seconds(steps - 1), state.start_s),
        step=state.step + steps,
        free_blocks=free,
        slots=slots,
        totals=totals,
    )


def _waited(state: State, chance: Admission, steps: Scalar, passed: Flag) -> Scalar:
    """Passes in a row that held waiting requests back; a pass that preempts does not count."""
    after = jnp.where(chance.held, state.waited + steps, 0.0)
    return jnp.where(passed & ~state.preempted, after, state.waited)
