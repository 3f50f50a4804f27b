"""What a request meets on a server where ν others arrive in the time between two tokens.

With n output tokens ν·(n − 1) others decode. A step of these and x prompts takes f(x):

- x is a binomial count, of the mean that time and rate give, at most what the token budget holds; ``t̄ = E f(x)``
- a step that is looked at from within lasts ``E f² / t̄``: the longer, the likelier. A request waits for half of it,
  and for one that asynchronous scheduling has queued
- its own step holds its prompt, and those that came in the same step
- prompts beyond the budget queue as in M/D/c; one of several chunks takes as many steps, the last one shared
- between its tokens there is one decode more, and the prompts that came since its own step: in a time D it meets
  ``λ·(D + own − the last step)``, and those that came behind it while it queued
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxroof.parameters import Scalar
from jaxroof.serving.setting import Asked
from jaxroof.serving.step_costs import TINY, Alone, Costs, Filling

# What a share of the time or of a step's room is at most: beyond, there is no steady state.
FULL = 0.995
# In which the arrivals per step settle.
ROUNDS = 4


class Meeting(NamedTuple):
    """Times of a request [s]: until its first token, between tokens, in its slot.

    Others are there for a share ``others`` of the time. ``step_s`` is the mean step; of the number of requests inside,
    ``spread`` is variance over mean.
    """

    ttft_s: Scalar
    itl_s: Scalar
    stays_s: Scalar
    step_s: Scalar
    others: Scalar
    spread: Scalar


def meet(asked: Asked, idle: Alone, filled: Filling, costs: Costs, arriving: Scalar, clients: Scalar) -> Meeting:
    """What a request meets where ``arriving`` others come between two tokens; of ``clients``, if they are not 0."""
    rate = asked.demand.rate_per_s

    def closer(per_step: Scalar, _: None) -> tuple[Scalar, None]:
        # A request meets longer steps than the mean one, in which fewer come.
        step_s, itl_s = _steps(asked, filled, costs, per_step)[:2]
        added_s = jnp.where(per_step > 0, step_s - costs.decode_s, 0.0) / jnp.where(per_step > 0, per_step, 1.0)
        open_loop = rate * costs.decode_s / jnp.maximum(1 - rate * added_s, 1 - FULL)
        return jnp.where(clients > 0, arriving * step_s / itl_s, open_loop), None

    per_step, _ = jax.lax.scan(closer, arriving, length=ROUNDS)
    return _meeting(asked, filled, costs, idle, per_step, clients)


def mean_step_s(asked: Asked, filled: Filling, costs: Costs, per_step: Scalar) -> Scalar:
    """Mean step where ``per_step`` requests come in each, and stay for as many steps as they have tokens [s]."""
    return _steps(asked, filled, costs, per_step)[0]


def _steps(asked: Asked, filled: Filling, costs: Costs, per_step: Scalar) -> tuple[Scalar, ...]:
    """Mean step, time between tokens, own steps, the step that is looked at from within, the queue [s]."""
    step_s, within_s = _passing(filled, costs, per_step)
    per_s = per_step / step_s
    company = jnp.minimum(per_s * within_s, jnp.maximum(filled.most - 1, 0.0))
    own_s = costs.own_s + jnp.where(filled.chunks > 1, 0.0, costs.with_company_s(company) - costs.one_s)
    queue_s, served_s = _queue(filled, costs, per_s)
    behind_s = within_s / 2 / filled.most + queue_s * (1 - step_s / served_s)
    itl_s = _between_tokens_s(asked, filled, costs, step_s, own_s, behind_s)
    return step_s, itl_s, own_s, within_s, queue_s


def _passing(filled: Filling, costs: Costs, per_step: Scalar) -> tuple[Scalar, Scalar]:
    """Mean step and the one looked at from within [s]: the first counts of prompts one by one, the rest at its mean."""
    full = jnp.minimum(per_step * filled.units / filled.most, FULL)
    none = (1 - full) ** filled.most
    one = none * filled.most * full / (1 - full)
    two = jnp.minimum(one * jnp.maximum(filled.most - 1, 0.0) / 2 * full / (1 - full), 1 - none - one)
    several = 1 - none - one - two
    units = full * filled.most - one - two * costs.two
    several_s = costs.beyond_two_s(jnp.maximum(units / jnp.maximum(several, 1e-9), costs.two))
    times = (none, costs.decode_s), (one, costs.one_s), (two, costs.two_s), (several, several_s)
    step_s = sum(share * seconds for share, seconds in times)
    # Two steps that follow each other are looked at one by one.
    apart = sum(share * ((seconds - costs.stands_s) ** 2 + costs.stands_s**2) for share, seconds in times[1:])
    within_s = (none * costs.decode_s**2 + apart) / step_s
    # A prompt's rest costs more than its share of a chunk, unless the next prompt fills its step up.
    share = filled.units - (filled.chunks - 1)
    rest_s = costs.rest_s - costs.decode_s - share * (costs.one_s - costs.decode_s)
    step_s += jnp.where(filled.chunks > 1, per_step * (1 - full) * rest_s, 0.0)
    return step_s, within_s


def _queue(filled: Filling, costs: Costs, per_s: Scalar) -> tuple[Scalar, Scalar]:
    """Wait for the prompts before one's own where ``per_s`` requests come per second, and a step of these [s]."""
    # Prompts queue in time, of which their steps take more than others do.
    fullest_s, one_s = (seconds - costs.stands_s for seconds in (costs.with_company_s(filled.most - 1), costs.one_s))
    taken = jnp.minimum(per_s * filled.units / filled.most * fullest_s, FULL)
    served_s = one_s + (fullest_s - one_s) * taken
    queue = filled.units * taken ** jnp.sqrt(2 * (filled.most + 1)) / (2 * filled.most * (1 - taken))
    return served_s * queue + (filled.units - 1) * one_s * taken / 2, served_s


def _between_tokens_s(
    asked: Asked, filled: Filling, costs: Costs, step_s: Scalar, own_s: Scalar, behind_s: Scalar
) -> Scalar:
    """Time between tokens, with prompts that came since one's own step began and, behind it, in ``behind_s`` [s]."""
    added, some = (step_s - costs.decode_s) / step_s, jnp.maximum(asked.gaps, 1.0)
    # Prompts come one step before they are met, with asynchronous scheduling two: then in the queued step too, and of
    # one's own step only if there are two steps after it. Of several chunks, those of the last steps are partly met.
    lag = jnp.where(asked.model.constants.server.async_scheduling > 0, 1.0, 0.0)
    before_s = lag * step_s + own_s * jnp.clip(asked.gaps - lag, 0.0, 1.0) + behind_s
    steps = jnp.maximum(asked.gaps - 1 - lag, 0.0) - (filled.chunks - 1) / 2
    return (costs.joined_s + added * before_s / some) / jnp.maximum(1 - added * steps / some, 1 - FULL)


def _meeting(asked: Asked, filled: Filling, costs: Costs, idle: Alone, per_step: Scalar, clients: Scalar) -> Meeting:
    demand, server, gaps = asked.demand, asked.model.constants.server, asked.gaps
    step_s, itl_s, own_s, within_s, queue_s = _steps(asked, filled, costs, per_step)
    stays_s, per_s = own_s + gaps * itl_s, per_step / step_s
    closed = clients > 0
    # Requests in a server are negative-binomial where each one makes the others stay longer; alone, one stays least.
    ratio = jnp.clip((idle.prompt_s + gaps * costs.decode_s) / stays_s, 1e-3, 1 - 1e-6)
    nobody = ratio ** (per_s * ratio * stays_s / (1 - ratio))
    # Of the other clients each is there with the share of a cycle that it stays.
    several = clients > 1
    beside = jnp.where(several, clients - 1, 1.0)
    away = jnp.clip(1 - per_s * stays_s / beside, TINY, 1.0)
    others = 1 - jnp.where(closed, jnp.where(several, away**beside, 1.0), nobody)
    # A client that sends as soon as it has its answer does so when a step ends.
    within = jnp.where(closed & (demand.think_s + idle.admission_s == 0), 0.0, 0.5)
    queued = jnp.where(server.async_scheduling > 0, 1.0, 0.0)
    held_s = server.batch_wait_steps * jnp.minimum(per_s * gaps * itl_s, 1.0) * step_s
    wait_s = others * (within * within_s + queued * step_s) + queue_s + held_s
    return Meeting(idle.admission_s + wait_s + own_s, itl_s, stays_s, step_s, others, 1 / ratio)
