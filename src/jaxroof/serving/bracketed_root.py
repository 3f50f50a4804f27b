"""The root of one equation, in a bracket."""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from jaxroof.parameters import Flag, Scalar

# Far more than a root of one bend takes.
MOST_EVALUATIONS = 60
CLOSE = 1e-14


class Bracket(NamedTuple):
    """Where ``excess`` was taken last, and the other end of the bracket, whose value may have lost weight."""

    at: Scalar
    value: Scalar
    other: Scalar
    other_value: Scalar
    evaluations: Scalar | int


def root(excess: Callable[[Scalar], Scalar], most: Scalar) -> Scalar:
    """Where ``excess``, not negative at 0, is 0 between 0 and ``most``; ``most`` where it is not before that.

    Regula falsi as Anderson and Björck have it: the bracket holds where ``excess`` jumps, which Newton's steps miss.
    """

    def unsolved(carry: Bracket) -> Flag:
        wide = jnp.abs(carry.at - carry.other) > CLOSE * most
        found = (jnp.abs(carry.value) <= CLOSE * most) | ((carry.evaluations == 2) & (carry.value > 0))
        return (carry.evaluations < 2) | (wide & ~found & (carry.evaluations < MOST_EVALUATIONS))

    def closer(carry: Bracket) -> Bracket:
        between = (carry.other_value * carry.at - carry.value * carry.other) / (carry.other_value - carry.value)
        ends = carry.evaluations < 2
        at = jnp.where(ends, jnp.where(carry.evaluations == 0, 0.0, most), between)
        value = excess(at)
        replaced = ends | ((value > 0) != (carry.value > 0))
        # The end that stays loses weight, so that both ends move.
        kept = 1 - value / carry.value
        weighed = carry.other_value * jnp.where(kept > 0, kept, 0.5)
        other, other_value = jnp.where(replaced, carry.at, carry.other), jnp.where(replaced, carry.value, weighed)
        return Bracket(at, value, other, other_value, carry.evaluations + 1)

    one = jnp.ones_like(most)
    return cast(Scalar, jax.lax.while_loop(unsolved, closer, Bracket(most, one, most, 2 * one, 0)).at)
