"""Constants that may move between bounds: their transform to unbounded ones, and where searches start."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxroof.parameters import Mask, Vector

# A descent begins no nearer to a bound than this share of the constant's size.
MARGIN = 1e-3
# Where nothing bounds a constant above, starts lie within this factor of its own, or of FALLBACK if that is 0.
REACH = 10.0
FALLBACK = 30.0


@dataclasses.dataclass(frozen=True)
class Bounded:
    """A constant that may move: the keys that share it, its bounds and start in the unit of its file."""

    keys: Sequence[str]
    low: float
    high: float
    start: float

    @property
    def name(self) -> str:
        """Its key; of several, the words that they share, with * for the others."""
        columns = list(zip(*(key.split(".") for key in self.keys), strict=False))
        if any(len(key.split(".")) != len(columns) for key in self.keys):
            return ",".join(self.keys)
        return ".".join(words[0] if len(set(words)) == 1 else "*" for words in columns)

    @property
    def size(self) -> float:
        """Its scale: the width of its box, or its start where nothing bounds it above."""
        return self.high - self.low if np.isfinite(self.high) else self.start or FALLBACK


class Box(NamedTuple):
    """Bounds of the constants ``[constant]``, of which ``high`` may be infinite, and how near is next to them."""

    low: Float[Any, " constant"]
    high: Float[Any, " constant"]
    margin: Float[Any, " constant"]

    def values(self, u: Float[Array, " constant"]) -> Float[Any, " constant"]:
        """``low + (high − low)·σ(u)``, or ``low + exp(u)`` without an upper bound."""
        bounded = jnp.isfinite(self.high)
        span = jnp.where(bounded, self.high - self.low, 1.0)
        share = jnp.where(bounded, jax.nn.sigmoid(u), jnp.exp(jnp.where(bounded, 0.0, u)))
        return self.low + span * share

    def unbounded(self, values: Float[Any, "... constant"]) -> Float[Array, "... constant"]:
        """The inverse, of values that keep the margin: next to a bound the transform has no slope to descend."""
        bounded = jnp.isfinite(self.high)
        kept = jnp.clip(values, self.low + self.margin, self.high - self.margin)
        share = (kept - self.low) / jnp.where(bounded, self.high - self.low, 1.0)
        return jnp.log(share) - jnp.log1p(-jnp.where(bounded, share, 0.0))


def box(free: Sequence[Bounded]) -> Box:
    """The bounds of all constants."""
    columns = ([f.low for f in free], [f.high for f in free], [MARGIN * f.size for f in free])
    return Box(*(np.array(column, dtype=float) for column in columns))


def own_values(free: Sequence[Bounded]) -> Vector:
    """Where the constants stand ``[constant]``."""
    return np.array([f.start for f in free], dtype=float)


def starting_points(free: Sequence[Bounded], count: int, seed: int) -> Vector:
    """Points within the bounds ``[start constant]``: the constants' own start, then Halton points.

    Even between two bounds; where nothing bounds a constant above, even in its logarithm around its own start.
    """
    from scipy.stats import qmc  # slow to load

    own, (low, high, _) = own_values(free), box(free)
    share = qmc.Halton(len(free), rng=seed).random(count - 1)
    bounded, size = np.isfinite(high), np.where(own > 0, own, FALLBACK)
    floor = np.where(bounded, low, np.maximum(low, size / REACH))
    top = np.where(bounded, high, np.maximum(size, floor) * REACH)
    growth = np.where(bounded, 1.0, top / np.where(bounded, 1.0, floor))
    drawn = np.where(bounded, floor + (top - floor) * share, floor * growth**share)
    return np.vstack([own, drawn])


def next_to(free: Sequence[Bounded], values: Vector) -> list[tuple[int, float]]:
    """Each constant that lies within two margins of one of its bounds, by position, and that bound."""
    ends, margin = [(i, bound) for i, f in enumerate(free) for bound in (f.low, f.high)], box(free).margin
    return [(i, bound) for i, bound in ends if abs(values[i] - bound) <= 2 * margin[i]]


def inside(free: Sequence[Bounded], values: Vector) -> Mask:
    """Which constants lie strictly between their bounds."""
    return np.asarray((values > box(free).low) & (values < box(free).high))
