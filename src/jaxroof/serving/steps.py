"""How long the coming steps take: one with prompts in it, or as many decode steps as are alike."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxroof.parameters import Flag, Sampling, Scalar, Server, Values
from jaxroof.request.latency import no_requests, rows
from jaxroof.serving.scheduler import Admission, Pass, next_arrival_s
from jaxroof.serving.state import State, count
from jaxroof.step import Batch, Requests

# Rounding errors of a step's time, over its resolution.
ROUNDING = 1e4


class Pricing(NamedTuple):
    """Time of a step [s] by its batch; of all steps: what a request waits for once, how tokens are drawn,
    the CV of contexts in flight; and how many steps are taken at once."""

    seconds: Callable[[Batch], Scalar]
    admission_s: Scalar
    sampling: Sampling
    context_cv: Scalar
    longest_jump: Scalar | float


class Decodes(NamedTuple):
    """Decoding requests of a step: how many, their context, and the tokens that requests have generated so far."""

    count: Scalar
    context: Scalar
    generated: Scalar
    longest: Scalar

    def later(self, steps: Scalar) -> "Decodes":
        """The same requests ``steps`` steps later."""
        grown = self.count * steps
        return Decodes(self.count, self.context + grown, self.generated + grown, self.longest + steps)


class Jump(NamedTuple):
    """``steps`` steps: the first takes ``first_s``, each other one ``slope_s`` longer than the one before."""

    steps: Values
    first_s: Values
    slope_s: Values

    def seconds(self, steps: Values) -> Values:
        """Time of the first ``steps`` of them [s]."""
        return steps * self.first_s + self.slope_s * steps * (steps - 1) / 2

    def reaching(self, seconds: Scalar) -> Scalar:
        """The fewest steps that take ``seconds`` at least."""
        b = self.first_s - self.slope_s / 2
        root = jnp.sqrt(jnp.maximum(b * b + 2 * self.slope_s * seconds, 0.0))
        steps = jnp.ceil(2 * jnp.maximum(seconds, 0.0) / (b + root))
        steps = jnp.where(self.seconds(steps - 1) >= seconds, steps - 1, steps)
        return jnp.maximum(jnp.where(self.seconds(steps) < seconds, steps + 1, steps), 0.0)


def next_steps(state: State, work: Pass, chance: Admission, server: Server, price: Pricing) -> tuple[Jump, Flag]:
    """The steps until something can change, and whether a kink of step time is in the way of as many as that.

    Decode steps are taken at once where their times are affine in the number of steps, which three of them show.
    """
    slots, scheduled = state.slots, work.take > 0
    prompts, decoding = scheduled & slots.prefill, scheduled & ~slots.prefill
    decodes = _decodes(state, work, decoding, scheduled)
    first_s = price.seconds(_batch(_prompts(work, prompts), decodes, price))
    lagging = slots.occupied & ~work.active
    alone = jnp.any(prompts) | jnp.any(lagging) | state.preempted
    # Nobody overtakes one that is seen and cannot join.
    arrival_s = jnp.where(chance.seen, jnp.inf, next_arrival_s(state) - state.clock_s)
    queued = jnp.where(server.async_scheduling > 0, 1.0, 0.0)
    most = jnp.minimum(_most(state, decoding, chance, server), price.longest_jump)
    most = jnp.minimum(most, queued + jnp.ceil(jnp.maximum(arrival_s, 0.0) / first_s))
    # An empty step of a line without a base takes no time, and no number of them reaches an arrival.
    empty = ~jnp.any(scheduled)
    most = jnp.where(empty, 0.0, jnp.where(alone, 1.0, jnp.maximum(most, 1.0)))
    last = jnp.maximum(most - 1, 0.0)
    middle = jnp.floor(last / 2)

    def decode_s(steps: Scalar) -> Scalar:
        return price.seconds(_batch(no_requests(), decodes.later(steps), price))

    middle_s, last_s = jax.vmap(decode_s)(jnp.stack([middle, last]))
    slope_s = jnp.where(last > 0, last_s - first_s, 0.0) / jnp.maximum(last, 1.0)
    resolution_s = ROUNDING * np.finfo(first_s.dtype).eps * first_s
    kinked = (last > 1) & (jnp.abs(first_s + slope_s * middle - middle_s) > resolution_s)
    found = Jump(most, first_s, slope_s)
    soon_s = jnp.minimum(arrival_s, found.seconds(most))
    steps = jnp.where(alone | empty, most, jnp.clip(queued + found.reaching(soon_s), 1.0, most))
    return found._replace(steps=jnp.where(kinked, most, steps)), kinked


def _decodes(state: State, work: Pass, decoding: Flag, scheduled: Flag) -> Decodes:
    generated = jnp.where(scheduled, state.slots.offset + state.step + 1 - state.slots.prompt_tokens, 0.0)
    context = jnp.where(decoding, work.computed, 0.0)
    return Decodes(count(decoding), jnp.sum(context), jnp.sum(generated), jnp.max(generated))


def _most(state: State, decoding: Flag, chance: Admission, server: Server) -> Scalar:
    """Steps that surely have the same requests: until one ends, blocks may run short, or those who wait are let in."""
    ends = jnp.min(jnp.where(decoding, state.slots.last_step, jnp.inf)) - state.step + 1
    # A request needs a block in each ``block_size`` steps.
    each = jnp.floor(state.free_blocks / jnp.maximum(count(decoding), 1.0))
    fit = jnp.maximum(server.block_size * each, 1.0)
    waits = jnp.where(chance.held, server.batch_wait_steps - state.waited, 1.0)
    waits = jnp.where(chance.seen & (server.batch_wait_steps > 0), waits, jnp.inf)
    return jnp.minimum(jnp.minimum(ends, fit), jnp.minimum(waits, state.limit))


def _batch(prompts: Requests, decodes: Decodes, price: Pricing) -> Batch:
    """A step's batch: decodes are one row, as a step's time is linear in their contexts at a fixed number."""
    some = jnp.maximum(decodes.count, 1.0)
    context = decodes.context / some
    sampled = jnp.maximum(jnp.sum(prompts.count) + decodes.count, 1.0)
    return Batch(
        prompts, rows(context, 1.0, decodes.count), price.sampling, decodes.generated / sampled, decodes.longest,
        price.context_cv * context,
    )  # fmt: skip


def _prompts(work: Pass, prompts: Flag) -> Requests:
    """Prompts as three rows with the same number, tokens m, contexts c and attended pairs Σ m·(c + m/2).

    Those of one new token are a row of their own, as ``memory`` discounts them otherwise. The others are two rows of
    half as many: at c ± t and m ± m/2, with the t that gives the pairs; a step's time is linear in such sums.
    """
    one, several = prompts & (work.take == 1), prompts & (work.take > 1)
    alone, others = count(one), count(several)
    some = jnp.maximum(others, 1.0)
    pairs = work.take * (work.computed + work.take / 2)
    m, c, mc = (jnp.sum(jnp.where(several, x, 0.0)) / some for x in (work.take, work.computed, pairs))
    s = jnp.where(others > 0, m / 2, 1.0)
    t = (mc - m * c - m * m / 2 - s * s / 2) / s
    c1 = jnp.sum(jnp.where(one, work.computed, 0.0)) / jnp.maximum(alone, 1.0)
    columns = (c + t, c - t, c1), (m + s, m - s, jnp.ones_like(c1)), (others / 2, others / 2, alone)
    return Requests(*(jnp.stack(column) for column in columns))
