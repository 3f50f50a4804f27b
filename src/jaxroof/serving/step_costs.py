"""What the steps cost that a request meets: their times, priced once for each number of others."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxroof.parameters import Scalar
from jaxroof.request.in_flight import contexts_spread_tokens, generated_tokens, longest_tokens
from jaxroof.request.latency import rows
from jaxroof.request.tracing import as_primitives
from jaxroof.serving.scheduler import at_once, found_tokens
from jaxroof.serving.setting import Asked, admission_s
from jaxroof.step import Batch

TINY = 1e-12  # keeps a root's infinite slope away

# Decodes, prompts, the new tokens of each and their context.
Step = tuple[Scalar, Scalar, Scalar, Scalar]


class Filling(NamedTuple):
    """How a prompt fills steps, but for ``hit`` tokens: ``chunks`` of ``room`` tokens, the last one of ``rest``.

    It is ``units`` of ``unit`` tokens, and ``most`` of them fit a step.
    """

    hit: Scalar
    room: Scalar
    chunks: Scalar
    rest: Scalar
    unit: Scalar
    units: Scalar
    most: Scalar


class Costs(NamedTuple):
    """Times of steps with other decodes [s]: of these alone, with one more, with units of prompts, a prompt's rest.

    Where prompts go first, decodes wait for a step of prompts and then for their own, which takes ``stands_s``; else 0.
    """

    decode_s: Scalar
    joined_s: Scalar
    one_s: Scalar
    two_s: Scalar
    far_s: Scalar
    rest_s: Scalar
    own_s: Scalar
    stands_s: Scalar
    two: Scalar
    far: Scalar

    def beyond_two_s(self, units: Scalar) -> Scalar:
        """Time of a step with so many units, on the line from two to ``far`` [s]."""
        apart = self.far > self.two
        slope_s = jnp.where(apart, self.far_s - self.two_s, 0.0) / jnp.where(apart, self.far - self.two, 1.0)
        return self.two_s + (units - self.two) * slope_s

    def with_company_s(self, units: Scalar) -> Scalar:
        """Time of a step with one unit and ``units`` more, at most as many as fit [s]."""
        to_two = self.two - 1
        part = jnp.where(to_two > 0, jnp.minimum(units / jnp.where(to_two > 0, to_two, 1.0), 1.0), 0.0)
        near_s = self.one_s + part * (self.two_s - self.one_s)
        return near_s + jnp.where(1 + units > self.two, self.beyond_two_s(1 + units) - self.two_s, 0.0)


class Alone(NamedTuple):
    """An idle server's time for a prompt and for a decode step [s]."""

    prompt_s: Scalar
    decode_s: Scalar
    admission_s: Scalar


def filling(asked: Asked, others: Scalar) -> Filling:
    """How a prompt fills the steps in which ``others`` decode."""
    demand, server = asked.demand, asked.model.constants.server
    hit = found_tokens(demand.cached_tokens, demand.prompt_tokens, server)
    new, left = demand.prompt_tokens - hit, jnp.maximum(server.max_num_batched_tokens - others, 1.0)
    room = at_once(left, server)
    chunks, unit = jnp.ceil(new / room), jnp.minimum(new, room)
    return Filling(hit, room, chunks, new - (chunks - 1) * room, unit, new / unit, left / unit)


def steps_alone(asked: Asked) -> list[Step]:
    """Steps of an idle server: a decode, a unit of a prompt, its rest."""
    none, one = jnp.zeros_like(asked.gaps), jnp.ones_like(asked.gaps)
    return [(one, none, one, none), *_prompt(filling(asked, none), none)]


def alone(asked: Asked, times: Sequence[Scalar]) -> Alone:
    """An idle server, of the times of :func:`steps_alone`."""
    decode_s, unit_s, rest_s = times
    chunks = filling(asked, jnp.zeros_like(asked.gaps)).chunks
    return Alone((chunks - 1) * unit_s + rest_s, decode_s, admission_s(asked))


def steps_beside(asked: Asked, filled: Filling, arriving: Scalar) -> list[Step]:
    """Steps with the others who decode: these alone, one more, a prompt's unit and rest, two units and more."""
    others = arriving * asked.gaps
    some, none, one = jnp.maximum(others, 1.0), jnp.zeros_like(others), jnp.ones_like(others)
    beside = jnp.where(asked.model.constants.server.prefill_first > 0, 0.0, some)
    unit, rest = _prompt(filled, beside)
    several = [(beside, count, *unit[2:]) for count in _units(filled, arriving)]
    return [(some, none, one, none), (1 + others, none, one, none), unit, rest, *several]


def costs_beside(asked: Asked, idle: Alone, filled: Filling, arriving: Scalar, times: Sequence[Scalar]) -> Costs:
    """Of the times of :func:`steps_beside`."""
    decode_s, joined_s, one_s, rest_s, two_s, far_s = times
    # Fewer than one other on average are one for a part of the time.
    share = jnp.minimum(arriving * asked.gaps, 1.0)
    own_s = (1 - share) * idle.prompt_s + share * ((filled.chunks - 1) * one_s + rest_s)
    stands_s = jnp.where(asked.model.constants.server.prefill_first > 0, decode_s, 0.0)
    one_s, two_s, far_s, rest_s = (stands_s + seconds for seconds in (one_s, two_s, far_s, rest_s))
    return Costs(decode_s, joined_s, one_s, two_s, far_s, rest_s, own_s, stands_s, *_units(filled, arriving))


def _units(filled: Filling, arriving: Scalar) -> tuple[Scalar, Scalar]:
    """Two units of prompts, and more of them than often come, as far as they fit."""
    units = arriving * filled.units
    several = jnp.maximum(units + jnp.sqrt(jnp.maximum(units, TINY)) + 1, 3.0)
    return jnp.minimum(2.0, filled.most), jnp.minimum(several, filled.most)


def _prompt(filled: Filling, decodes: Scalar) -> tuple[Step, Step]:
    """A step of one unit of a prompt, at the mean context of its whole chunks, and that of its rest."""
    one, whole = jnp.ones_like(decodes), filled.chunks - 1
    start = filled.hit + filled.room * jnp.maximum(whole - 1, 0.0) / 2
    return (decodes, one, filled.unit, start), (decodes, one, filled.rest, filled.hit + filled.room * whole)


def seconds_of(asked: Asked, steps: Sequence[Step]) -> Sequence[Scalar]:
    """Times of steps [s], of so many decodes of the demand's mean context, and prompts."""
    demand, arch = asked.demand, asked.architecture
    output, cv = demand.output_tokens, demand.output_cv
    generated = generated_tokens(output, cv)
    spread = contexts_spread_tokens(output, cv, demand.prompt_cv * demand.prompt_tokens)

    def seconds(decodes: Scalar, prompts: Scalar, new_tokens: Scalar, context_tokens: Scalar) -> Scalar:
        seen = (generated + 1) * decodes / jnp.maximum(decodes + prompts, 1.0)
        longest = longest_tokens(output, cv, jnp.maximum(decodes, 1.0)) * jnp.minimum(decodes, 1.0)
        decoding = rows(demand.prompt_tokens + generated, 1.0, decodes)
        batch = Batch(rows(context_tokens, new_tokens, prompts), decoding, arch.sampling, seen, longest, spread)
        return asked.model(batch, arch, asked.deployment).total_s

    columns = (jnp.stack(jnp.broadcast_arrays(*column)) for column in zip(*steps, strict=True))
    # One after the other, so that vector units run along settings.
    return list(jax.lax.map(lambda step: as_primitives(seconds)(*step), tuple(columns)))
