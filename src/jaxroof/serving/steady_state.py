"""Means of a server under a steady load: the root of one equation, with gradients.

The unknown is ν, how many others arrive in the time T between two tokens of a request, which then meets what
:mod:`jaxroof.serving.meeting` says. At a rate of λ ``ν = λ·T``. Where clients wait for answers the others are one less,
and come at a rate of ``(clients − 1) / cycle``. No more are inside than have a slot; the others queue for one.
"""

import functools
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from jaxroof.parameters import Architecture, Deployment, Flag, Scalar, Values
from jaxroof.request.in_flight import generated_tokens
from jaxroof.serving import capacity
from jaxroof.serving.bracketed_root import root
from jaxroof.serving.demand import Demand
from jaxroof.serving.meeting import Meeting, mean_step_s, meet
from jaxroof.serving.setting import Asked, Axes, make_asked, over
from jaxroof.serving.step_costs import TINY, Alone, alone, costs_beside, filling, seconds_of, steps_alone, steps_beside
from jaxroof.step import Model

ENDLESS = 1e15  # blocks; finite, so that derivatives are


class Steady(eqx.Module):
    """Means of a server in a steady state; times [s].

    ``batch`` requests run while steps run, which is a share ``utilisation`` of the time, and hold a share ``kv_share``
    of the KV cache. Where an open loop is ``saturated``, its queue grows for ever: TTFT and E2E are inf, and the rest
    is as at ``saturation_requests_per_s``, with every slot taken; a closed loop is where clients wait for one.

    >>> line = jaxroof.with_settings(jaxroof.load_model("linear"), ["linear.base_us=10000"])
    >>> bool(jaxroof.steady_state(line, jaxroof.Demand(512, 200, rate_per_s=2)).saturated)
    False
    """

    ttft_s: Values
    itl_s: Values
    e2e_s: Values
    requests_per_s: Values
    tokens_per_s: Values
    batch: Values
    utilisation: Values
    kv_share: Values
    saturation_requests_per_s: Values
    saturated: Flag


def steady(asked: Asked) -> Steady:
    """The steady state of one setting, to be mapped and differentiated."""
    means = _solved(asked)
    return Steady(**means | {"saturated": means["saturated"] > 0})


@jax.custom_jvp
def _solved(asked: Asked) -> dict[str, Scalar]:
    return _at(asked, _arriving(asked))[1]


@_solved.defjvp
def _solved_jvp(asked: tuple[Asked], moved: tuple[Asked]) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """The implicit derivative: how the root moves, and what that does to the means."""
    arriving = _arriving(*asked)
    still, one = jnp.zeros_like(arriving), jnp.ones_like(arriving)
    (_, means), (excess, direct) = jax.jvp(_at, (*asked, arriving), (*moved, still))
    _, (slope, along) = jax.jvp(functools.partial(_at, *asked), (arriving,), (one,))
    steady = (means["saturated"] == 0) & (slope != 0)
    moves = jnp.where(steady, -excess / jnp.where(steady, slope, 1.0), 0.0)
    return means, {name: direct[name] + moves * along[name] for name in means}


def _at(asked: Asked, arriving: Scalar) -> tuple[Scalar, dict[str, Scalar]]:
    """What is to be 0, and the means, where ``arriving`` others come between two tokens."""
    idle, most_per_s = _unloaded(asked)
    found = _met(asked, idle, arriving)
    return _excess(asked, found, arriving), _means(asked, found, most_per_s)


def steady_state(
    model: Model,
    demand: Demand,
    arch: Architecture | None = None,
    deployment: Deployment | None = None,
    *,
    kv_blocks: Any = None,
) -> Steady:
    """Mean latencies and throughput of a server on which ``demand`` is steady: as many as :func:`simulate` has them.

    Arguments: ``model``, ``arch`` and ``deployment`` as for :func:`predict`, the last two needless for a ``linear``
    model; ``kv_blocks``, usable ones, by default what fits beside the weights, without end for ``linear``. Any leaf of
    all may have a leading axis of settings; or map it with ``vmap``. ``jax.grad`` gives the derivative in every
    constant, rate and length: implicit, at the root of the equation.
    Arrivals of an open loop are Poisson's; clients of a closed one do not keep in step with each other.
    Against the simulation below 80 % of saturation the ITL is within 1 % on average (docs/serving.md).
    Raises InputError for what cannot be served or is not modelled; tracers are not checked.

    >>> model, arch = jaxroof.load_model(), jaxroof.load_architecture("llama-3.1-8b")
    >>> demand = jaxroof.Demand(prompt_tokens=512, output_tokens=128, rate_per_s=4)
    >>> means = jaxroof.steady_state(model, demand, arch, jaxroof.Deployment(tp=1))
    >>> round(1000 * float(means.itl_s), 2)  # ms; an idle server has 6.49
    6.97
    """
    asked = make_asked(model, demand, arch, deployment, kv_blocks)
    return cast(Steady, _steady(asked, asked.axes))


@functools.partial(jax.jit, static_argnames="axes")
def _steady(asked: Asked, axes: Axes) -> Steady:
    return cast(Steady, (over(steady, axes) if 0 in axes else steady)(asked))


def _unloaded(asked: Asked) -> tuple[Alone, Scalar]:
    """An idle server, and the most requests per second."""
    most = _most_arriving(asked)
    idle_steps, fullest = steps_alone(asked), filling(asked, most * asked.gaps)
    times = seconds_of(asked, [*idle_steps, *steps_beside(asked, fullest, most)])
    idle = alone(asked, times[: len(idle_steps)])
    beside = costs_beside(asked, idle, fullest, most, times[len(idle_steps) :])
    return idle, most / mean_step_s(asked, fullest, beside, most)


def _met(asked: Asked, idle: Alone, arriving: Scalar) -> Meeting:
    """What a request meets where ``arriving`` others come between two tokens."""
    filled = filling(asked, arriving * asked.gaps)
    beside = costs_beside(asked, idle, filled, arriving, seconds_of(asked, steps_beside(asked, filled, arriving)))
    return meet(asked, idle, filled, beside, arriving, _inside(asked))


def _excess(asked: Asked, found: Meeting, arriving: Scalar) -> Scalar:
    """Others that come between two tokens, beyond those that were said to."""
    cycle_s = found.ttft_s + asked.gaps * found.itl_s + asked.demand.think_s
    others_per_s = jnp.maximum(_inside(asked) - 1, 0.0) / cycle_s
    return jnp.where(asked.demand.clients > 0, others_per_s, asked.demand.rate_per_s) * found.itl_s - arriving


def _arriving(asked: Asked) -> Scalar:
    """The others that come between two tokens, as many as there are slots for where there is no steady state."""
    idle, most_per_s = _unloaded(asked)

    def excess(arriving: Scalar) -> Scalar:
        return _excess(asked, _met(asked, idle, arriving), arriving)

    bound = _slots(asked)[0] / jnp.maximum(asked.gaps, 1.0)
    unsteady = (asked.demand.clients == 0) & (asked.demand.rate_per_s >= most_per_s)
    return jnp.where(unsteady, bound, root(excess, bound))


def _inside(asked: Asked) -> Scalar:
    """Clients of a closed loop that have a slot."""
    return jnp.minimum(asked.demand.clients, _slots(asked)[0])


def _most_arriving(asked: Asked) -> Scalar:
    """Requests per step with every slot taken, or with prompts in all of every step."""
    filled = filling(asked, jnp.zeros_like(asked.gaps))
    new, budget = asked.demand.prompt_tokens - filled.hit, asked.model.constants.server.max_num_batched_tokens
    return jnp.minimum(_slots(asked)[0] / (asked.gaps + filled.chunks), budget / (new + asked.gaps))


def _means(asked: Asked, found: Meeting, most_per_s: Scalar) -> dict[str, Scalar]:
    """The fields of :class:`Steady`, all of them floats."""
    demand, gaps, server = asked.demand, asked.gaps, asked.model.constants.server
    slots, held = _slots(asked)
    closed, e2e_s = demand.clients > 0, found.ttft_s + gaps * found.itl_s
    saturated = jnp.where(closed, demand.clients > slots, demand.rate_per_s >= most_per_s)
    inside_per_s = jnp.minimum(demand.clients, slots) / (e2e_s + demand.think_s)
    rate = jnp.where(closed, inside_per_s, jnp.minimum(demand.rate_per_s, most_per_s))
    # A slot comes free one step late if there is one.
    lag_s = jnp.where(server.async_scheduling > 0, found.others * found.step_s, 0.0)
    running = jnp.minimum(rate * (found.stays_s + lag_s), jnp.where(closed, _inside(asked), slots))
    # Each client that has a slot is there with the share of a cycle that it stays.
    away = jnp.clip(1 - found.stays_s / (e2e_s + demand.think_s), TINY, 1.0)
    busy = jnp.where(closed, 1 - away ** jnp.where(closed, _inside(asked), 1.0), found.others)
    endless = saturated & ~closed
    busy = jnp.where(endless, 1.0, busy)
    chunks = filling(asked, jnp.zeros_like(gaps)).chunks
    itl_s = jnp.where(endless, slots / (most_per_s * (gaps + chunks)), found.itl_s)
    clients_wait_s = jnp.maximum(demand.clients - slots, 0.0) / jnp.where(closed, inside_per_s, 1.0)
    waits_s = jnp.where(closed, clients_wait_s, _slot_wait_s(asked, found, most_per_s, slots))
    return {
        "ttft_s": found.ttft_s + waits_s,
        "itl_s": itl_s,
        "e2e_s": e2e_s + waits_s,
        "requests_per_s": rate,
        "tokens_per_s": rate * demand.output_tokens,
        "batch": running / busy,
        "utilisation": busy,
        "kv_share": running * held / (_kv_blocks(asked) * server.block_size) / busy,
        "saturation_requests_per_s": most_per_s,
        "saturated": jnp.where(saturated, 1.0, 0.0),
    }


def _slots(asked: Asked) -> tuple[Scalar, Scalar]:
    """Requests that are inside at most, by slots or KV cache; and the tokens that one holds, to whole blocks."""
    demand, server = asked.demand, asked.model.constants.server
    held = demand.prompt_tokens + generated_tokens(demand.output_tokens, demand.output_cv) + server.block_size / 2
    fit = _kv_blocks(asked) * server.block_size / held
    return jnp.clip(fit, 1.0, server.max_num_seqs), held


def _kv_blocks(asked: Asked) -> Scalar:
    if asked.kv_blocks is not None:
        return jnp.minimum(asked.kv_blocks, ENDLESS)
    if asked.model.step == "linear":
        return jnp.full_like(asked.gaps, ENDLESS)
    constants = asked.model.constants
    return capacity.kv_tokens(asked.architecture, asked.deployment.tp, constants) / constants.server.block_size


def _slot_wait_s(asked: Asked, found: Meeting, most_per_s: Scalar, slots: Scalar) -> Scalar:
    """Wait of an open loop's request for a slot [s], inf where there is no steady state.

    Halfin and Whitt's share of requests that wait, ``1 / (1 + β·Φ(β)/φ(β))`` with ``β = (1 − load)·√slots``. The number
    inside varies more than Poisson's where each one makes the others stay longer: slots count in units of that ratio.
    Stays of equal outputs are alike, which halves the wait (Allen and Cunneen).
    """
    load = asked.demand.rate_per_s / most_per_s
    free = 1 - jnp.minimum(load, 0.999)
    # Beyond 8 nobody waits, and the density is too small to divide by.
    spare = jnp.minimum(free * jnp.sqrt(slots / found.spread), 8.0)
    waits = 1 / (1 + spare * norm.cdf(spare) / norm.pdf(spare))
    seconds = waits / (most_per_s * free) * (1 + asked.demand.output_cv**2) / 2
    return jnp.where(load < 1, seconds, jnp.inf)
