"""MFU, the share of peak FLOP/s that a kernel reaches: analytic ceilings or measured tables."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxroof.files import FRACTION
from jaxroof.parameters.arrays import Scalar
from jaxroof.parameters.leaves import leaf

# Below this an interpolated MFU is a rounding artefact of the table, not a rate.
MIN_MFU = 1e-4


class Efficiency(eqx.Module):
    """MFU of the three kernels of the ``roofline`` step time."""

    @abc.abstractmethod
    def gemm(self, m: Scalar, k: Scalar, n: Scalar) -> Scalar:
        """MFU of an (m, k) × (k, n) matrix product."""

    @abc.abstractmethod
    def prefill_attention(self, heads: Float[Array, "3"], length: Scalar) -> Scalar:
        """MFU of prefill attention over ``length`` tokens; ``heads`` is (h, g, d)."""

    @abc.abstractmethod
    def decode_attention(self, heads: Float[Array, "3"], tp: Scalar, batch: Scalar, context: Scalar) -> Scalar:
        """MFU of decode attention of ``batch`` requests with ``context`` cached tokens."""


class AnalyticMfu(Efficiency):
    """Two ceilings, whatever the shape."""

    gemm_ceiling: Scalar = leaf("gemm", range=FRACTION)
    attention_ceiling: Scalar = leaf("attention", range=FRACTION)

    def gemm(self, m: Scalar, k: Scalar, n: Scalar) -> Scalar:
        """The GEMM ceiling."""
        return self.gemm_ceiling

    def prefill_attention(self, heads: Float[Array, "3"], length: Scalar) -> Scalar:
        """The attention ceiling."""
        return self.attention_ceiling

    def decode_attention(self, heads: Float[Array, "3"], tp: Scalar, batch: Scalar, context: Scalar) -> Scalar:
        """The attention ceiling."""
        return self.attention_ceiling


def _table(values: ArrayLike) -> Array:
    """Tables are looked up by traced indices, so they are JAX arrays from the start."""
    return jnp.asarray(values, dtype=jnp.result_type(float))


class MeasuredMfu(Efficiency):
    """Measured tables, one row per shape, short rows padded by repeating their last point.

    GEMM: the nearest (k, n) with both ≥ the wanted, none: the largest; linear in m.
    Attention: the nearest (h, g, d), for decode then the nearest T; linear in length,
    bilinear in (batch, length). All clamped outside. Where the interpolated MFU is below
    1e-4, the row at or above it that is nearest to the query point replaces it: a jump,
    so the gradient there is that of the row.
    """

    gemm_kn: Float[Any, "shape 2"] = eqx.field(converter=_table)
    gemm_m: Float[Any, "shape m"] = eqx.field(converter=_table)
    gemm_mfu: Float[Any, "shape m"] = eqx.field(converter=_table)
    heads: Float[Any, "heads 3"] = eqx.field(converter=_table)
    prefill_length: Float[Any, "heads length"] = eqx.field(converter=_table)
    prefill_mfu: Float[Any, "heads length"] = eqx.field(converter=_table)
    decode_tp: Float[Any, "heads tp"] = eqx.field(converter=_table)
    decode_batch: Float[Any, "heads tp batch"] = eqx.field(converter=_table)
    decode_length: Float[Any, "heads tp length"] = eqx.field(converter=_table)
    decode_mfu: Float[Any, "heads tp batch length"] = eqx.field(converter=_table)

    def gemm(self, m: Scalar, k: Scalar, n: Scalar) -> Scalar:
        """Look (k, n) up, interpolate in m."""
        wanted = jnp.stack([k, n])
        large_enough = jnp.all(self.gemm_kn >= wanted[None], axis=1)
        distance = jnp.where(large_enough, _squared_distance(self.gemm_kn, wanted), jnp.inf)
        largest = jnp.argmax(jnp.sum(self.gemm_kn**2, axis=1))
        shape = jnp.where(jnp.any(large_enough), jnp.argmin(distance), largest)
        return _interpolate(m, self.gemm_m[shape], self.gemm_mfu[shape])

    def prefill_attention(self, heads: Float[Array, "3"], length: Scalar) -> Scalar:
        """Look (h, g, d) up, interpolate in length."""
        shape = jnp.argmin(_squared_distance(self.heads, heads))
        return _interpolate(length, self.prefill_length[shape], self.prefill_mfu[shape])

    def decode_attention(self, heads: Float[Array, "3"], tp: Scalar, batch: Scalar, context: Scalar) -> Scalar:
        """Look (h, g, d) and T up, interpolate in (batch, context)."""
        shape = jnp.argmin(_squared_distance(self.heads, heads))
        nearest_tp = jnp.argmin(jnp.abs(self.decode_tp[shape] - tp))
        batches, lengths = self.decode_batch[shape, nearest_tp], self.decode_length[shape, nearest_tp]
        mfu = self.decode_mfu[shape, nearest_tp]
        # First to a curve in the context at this batch: contexts vary most, and the curve does not depend on them.
        curve = jax.vmap(lambda column: _linear(batch, batches, column), in_axes=1)(mfu)
        away = jnp.where(mfu >= MIN_MFU, (batches[:, None] - batch) ** 2, jnp.inf)
        nearest = jnp.argmin(away, axis=0)[None]
        away, mfu = (jnp.take_along_axis(rows, nearest, axis=0)[0] for rows in (away, mfu))
        return _at_least_minimum(_linear(context, lengths, curve), context, lengths, away, mfu)


def _interpolate(x: Scalar, xs: Float[Array, " n"], mfu: Float[Array, " n"]) -> Scalar:
    away = jnp.where(mfu >= MIN_MFU, 0.0, jnp.inf)
    return _at_least_minimum(_linear(x, xs, mfu), x, xs, away, mfu)


def _linear(x: Scalar, xs: Float[Array, " n"], ys: Float[Array, " n"]) -> Scalar:
    """Piecewise linear, constant outside: ``y₀ + Σ slope·clip(x − xᵢ, 0, xᵢ₊₁ − xᵢ)``."""
    # No search for the interval and no gather: every x of a vmap does the same arithmetic, and the gradient is the
    # slope of the interval. Padded points repeat the last one: their width is 0 and their slope is set to 0.
    width, rise = jnp.diff(xs), jnp.diff(ys)
    slope = jnp.where(width > 0, rise, 0.0) / jnp.where(width > 0, width, 1.0)
    return ys[0] + jnp.dot(slope, jnp.clip(x - xs[:-1], 0.0, width))


def _at_least_minimum(
    value: Scalar, x: Scalar, xs: Float[Array, " row"], away: Float[Array, " row"], mfu: Float[Array, " row"]
) -> Scalar:
    """``value``, or where it vanishes the ``mfu`` of the row nearest to x; rows lie ``away`` (squared) off its axis."""
    # argmin over rows would need a gather at a traced index for every x of a vmap, and a row axis to reduce. The
    # rows are few and known, so a running minimum is a chain of selects; the first of equal rows wins, as in argmin.
    distance, replacement = jnp.asarray(jnp.inf, dtype=xs.dtype), mfu[0]
    for i in range(len(xs)):
        here = away[i] + (x - xs[i]) ** 2
        replacement = jnp.where(here < distance, mfu[i], replacement)
        distance = jnp.minimum(here, distance)
    return jnp.where(value < MIN_MFU, replacement, value)


def _squared_distance(points: Float[Array, "row axis"], query: Float[Array, " axis"]) -> Float[Array, " row"]:
    return jnp.sum((points - query[None]) ** 2, axis=1)
