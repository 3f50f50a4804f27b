"""A discrete-event simulation of servers under load: one program for many settings."""

import dataclasses
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxroof.parameters import Architecture, Deployment, Flag, Scalar, Values, scalar
from jaxroof.request.in_flight import contexts_spread_tokens, generated_tokens
from jaxroof.request.tracing import as_primitives
from jaxroof.serving.actions import Action, act
from jaxroof.serving.load import Load
from jaxroof.serving.setting import Axes, Setting, admission_s, alone, make_setting, over, part
from jaxroof.serving.state import State, idle_server
from jaxroof.serving.steps import Pricing
from jaxroof.step import Batch, Model

# Settings of one program: what they know of their slots stays in a core's cache.
CHUNK = 128
# Places for running requests: few first, more where a server turns out to need them.
LEAST_SLOTS, MORE = 32, 4
# Far more than a server needs that gets on: to admit a request, let it go, a few jumps, and some of it again.
ACTIONS_PER_REQUEST = 1000
# Actions of one call where every one is kept.
ROUND = 1024


class Simulation(eqx.Module):
    """What came of the requests of a server, in the order of their arrival: ``[request]`` or ``[setting request]``.

    Times [s] are those at which clients send and have tokens, NaN where that never came. Of the time ``busy_s`` in
    which steps ran, ``batch`` and ``used_blocks`` are the means of running requests and of KV blocks that they held.

    >>> line = jaxroof.with_settings(jaxroof.load_model("linear"), ["linear.base_us=10000"])
    >>> load = jaxroof.Load(arrival_s=[0.0], prompt_tokens=[64], cached_tokens=[0], output_tokens=[5])
    >>> (1000 * jaxroof.simulate(line, load).e2e_s).round(3)  # ms
    array([50.])
    """

    arrival_s: Values
    first_s: Values
    last_s: Values
    output_tokens: Values
    preemptions: Values
    busy_s: Values
    batch: Values
    used_blocks: Values
    kv_blocks: Values
    steps: Values

    @property
    def ttft_s(self) -> Values:
        """Time to first token [s]."""
        return self.first_s - self.arrival_s

    @property
    def e2e_s(self) -> Values:
        """Time to last token [s]."""
        return self.last_s - self.arrival_s

    @property
    def itl_s(self) -> Values:
        """Mean time between a request's tokens [s], NaN where it has one token."""
        gaps = self.output_tokens - 1
        return np.where(gaps > 0, (self.last_s - self.first_s) / np.maximum(gaps, 1), np.nan)


def simulate(
    model: Model,
    load: Load,
    arch: Architecture | None = None,
    deployment: Deployment | None = None,
    *,
    kv_blocks: Any = None,
) -> Simulation:
    """Serve ``load`` by vLLM V1's scheduler, step by step, each as long as ``model`` says.

    Arguments: ``model``, ``arch`` and ``deployment`` as for :func:`predict`, the last two needless for a ``linear``
    model; ``kv_blocks``, usable ones, by default what fits beside the weights, without end for ``linear``. Any leaf of
    the model, the architecture, the deployment, and the load as a whole may have a leading axis: settings, which one
    compiled program serves. Times are exact for the step model: decode steps between two events are summed in closed
    form. Raises InputError for what cannot be served or is not simulated (:mod:`jaxroof.serving.limits`).

    It cannot be differentiated: arrivals stay while steps move, and what changes when a step's end passes an arrival
    has no derivative. :func:`steady_state` has the gradient of the means.

    >>> model = jaxroof.with_settings(jaxroof.load_model("linear"), ["linear.base_us=10000"])
    >>> load = jaxroof.Load(arrival_s=[0.0, 0.005], prompt_tokens=[64, 64], cached_tokens=[0, 0], output_tokens=[5, 1])
    >>> (1000 * jaxroof.simulate(model, load).ttft_s).round(3)  # the second waits for the running step and a queued one
    array([10., 25.])
    """
    setting = make_setting(model, load, arch, deployment, kv_blocks)
    count = setting.count
    if count is None:
        return cast(Simulation, jax.tree.map(lambda leaf: leaf[0], _served(alone(setting))))
    size, axes = min(CHUNK, count), setting.axes
    # The last chunk is as large as the others, so that one program serves all.
    places = [np.minimum(np.arange(first, first + size), count - 1) for first in range(0, count, size)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = pool.map(lambda chosen: _served(part(setting, axes, chosen)), places)
        return cast(Simulation, jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts))


def with_history(setting: Setting, longest_jump: float = np.inf) -> tuple[Simulation, Action]:
    """A single server, and all that it did: ``[action]``; at most ``longest_jump`` steps at once."""
    actions: list[Action] = []

    def rounds(one: Setting, slots: int) -> State:
        state, alive = idle_server(one.load, one.kv_blocks, slots), True
        actions.clear()
        while alive and len(actions) * ROUND < ACTIONS_PER_REQUEST * one.load.requests:
            state, alive, done = _round(one, state, scalar(longest_jump), one.load.closed)
            actions.append(jax.tree.map(np.asarray, done))
        return cast(State, jax.jit(_delivered)(one, state))

    state = _with_slots(setting, rounds)
    return _simulation(state, setting), jax.tree.map(lambda *parts: np.concatenate(parts), *actions)


def _served(setting: Setting) -> Simulation:
    """Simulate settings ``[setting]``, with as many slots as they need."""
    axes, closed = setting.axes, setting.load.closed
    return _simulation(_with_slots(setting, lambda one, slots: _program(one, axes, slots, closed)), setting)


def _with_slots(setting: Setting, run: Callable[[Setting, int], State]) -> State:
    """Run it with few slots, and again with more where a server would have used more."""
    most = int(min(np.max(setting.model.constants.server.max_num_seqs), setting.load.requests))
    slots = LEAST_SLOTS
    while True:
        state = run(setting, slots)
        if not np.any(state.overflow):
            return cast(State, jax.tree.map(np.asarray, state))
        slots = min(MORE * slots, most)


@functools.partial(jax.jit, static_argnames=("axes", "slots", "closed"))
def _program(setting: Setting, axes: Axes, slots: int, closed: bool) -> State:
    start = over(lambda one: idle_server(one.load, one.kv_blocks, slots), axes)(setting)
    acts = over(lambda one, state: _act(one, state, closed)[:2], axes)
    most = ACTIONS_PER_REQUEST * setting.load.requests

    def more(carry: tuple[State, Flag, Any]) -> Flag:
        state, alive, done = carry
        return jnp.any(alive) & (done < most) & ~jnp.any(state.overflow)

    def body(carry: tuple[State, Flag, Any]) -> tuple[State, Flag, Any]:
        return *acts(setting, carry[0]), carry[2] + 1

    state, _, _ = jax.lax.while_loop(more, body, (start, jnp.ones_like(start.overflow), 0))
    return cast(State, over(_delivered, axes)(setting, state))


@functools.partial(jax.jit, static_argnames=("closed",))
def _round(setting: Setting, state: State, longest_jump: Scalar, closed: bool) -> tuple[State, Flag, Action]:
    def body(state: State, _: None) -> tuple[State, tuple[Flag, Action]]:
        state, alive, done = _act(setting, state, closed, longest_jump)
        return state, (alive, done)

    state, (alive, done) = jax.lax.scan(body, state, length=ROUND)
    return state, alive[-1] & ~state.overflow, done


def _act(
    setting: Setting, state: State, closed: bool, longest_jump: Scalar | float = np.inf
) -> tuple[State, Flag, Action]:
    return act(
        state, setting.load, setting.model.constants.server, _pricing(setting, longest_jump), setting.kv_blocks, closed
    )


def _pricing(setting: Setting, longest_jump: Scalar | float = np.inf) -> Pricing:
    """Contexts in flight spread as the outputs of the load do, as for a batch that is predicted, and its prompts."""
    model, arch, load = setting.model, setting.architecture, setting.load
    output, cv, prompt = load.output_mean_tokens, load.output_cv, load.prompt_tokens
    spread = contexts_spread_tokens(output, cv, jnp.std(prompt))
    context = jnp.mean(prompt) + generated_tokens(output, cv)

    def seconds(batch: Batch) -> Scalar:
        return model(batch, arch, setting.deployment).total_s

    return Pricing(as_primitives(seconds), admission_s(setting), arch.sampling, spread / context, longest_jump)


def _delivered(setting: Setting, state: State) -> State:
    """Tokens as clients have them: later by what a request waits for once."""
    requests, later_s = state.requests, _pricing(setting).admission_s
    requests = dataclasses.replace(requests, first_s=requests.first_s + later_s, last_s=requests.last_s + later_s)
    return dataclasses.replace(state, requests=requests)


def _simulation(state: State, setting: Setting) -> Simulation:
    requests, totals = state.requests, state.totals
    busy = np.where(totals.busy_s > 0, totals.busy_s, 1.0)
    output = np.broadcast_to(setting.load.output_tokens, np.shape(requests.first_s))
    blocks = np.broadcast_to(setting.kv_blocks, np.shape(busy))
    return Simulation(
        requests.arrival_s, requests.first_s, requests.last_s, output, requests.preemptions, totals.busy_s,
        totals.running_s / busy, totals.blocks_s / busy, blocks, totals.steps,
    )  # fmt: skip
