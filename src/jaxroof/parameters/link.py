"""The link of a GPU to its peers: what an all-reduce costs, by algorithm and number of GPUs."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp

from jaxroof.files import POSITIVE
from jaxroof.parameters.arrays import Flag, Scalar
from jaxroof.parameters.leaves import leaf
from jaxroof.units import GIGA, MEBI, MICRO


class Collective(eqx.Module):
    """One algorithm's all-reduce of n bytes over T GPUs: ``latency(T) + n / bandwidth(T)`` [s]."""

    latency_tp2_s: Scalar = leaf("latency_tp2_us", MICRO)
    latency_tp4_s: Scalar = leaf("latency_tp4_us", MICRO)
    latency_tp8_s: Scalar = leaf("latency_tp8_us", MICRO)
    bytes_per_s_tp2: Scalar = leaf("gb_per_s_tp2", GIGA, POSITIVE)
    bytes_per_s_tp4: Scalar = leaf("gb_per_s_tp4", GIGA, POSITIVE)
    bytes_per_s_tp8: Scalar = leaf("gb_per_s_tp8", GIGA, POSITIVE)


class TwoShot(eqx.Module):
    """The custom kernel in two passes, which two GPUs never run."""

    latency_tp4_s: Scalar = leaf("latency_tp4_us", MICRO)
    latency_tp8_s: Scalar = leaf("latency_tp8_us", MICRO)
    bytes_per_s_tp4: Scalar = leaf("gb_per_s_tp4", GIGA, POSITIVE)
    bytes_per_s_tp8: Scalar = leaf("gb_per_s_tp8", GIGA, POSITIVE)


class Speed(NamedTuple):
    """Latency [s] and time per byte [s/B] of an algorithm."""

    latency_s: Scalar
    s_per_byte: Scalar

    def seconds(self, moved: Scalar) -> Scalar:
        """``latency + n / bandwidth`` [s]."""
        return self.latency_s + moved * self.s_per_byte


class Link(eqx.Module):
    """All-reduce over T GPUs: below a size the custom kernel, in one pass or two, else NCCL.

    Constants are linear in log2 T between the measured T = 2, 4 and 8, and constant outside.
    ``eager_latency_s`` holds outside a CUDA graph whatever the algorithm.
    """

    eager_latency_s: Scalar = leaf("eager_latency_us", MICRO)
    custom_limit_bytes_tp2: Scalar = leaf("custom_limit_mib_tp2", MEBI)
    custom_limit_bytes_tp4: Scalar = leaf("custom_limit_mib_tp4", MEBI)
    custom_limit_bytes_tp8: Scalar = leaf("custom_limit_mib_tp8", MEBI)
    one_shot: Collective  # type: ignore[misc]  # mypy takes a leaf() for a default
    two_shot: TwoShot  # type: ignore[misc]
    nccl: Collective  # type: ignore[misc]

    def all_reduce(self, tp: Scalar, moved: Scalar, in_graph: Flag) -> tuple[Scalar, Scalar]:
        """Time of an all-reduce of ``moved`` bytes, and the latency in it [s]: ``min(one-shot, two-shot)`` or NCCL.

        From the custom kernel's limit on NCCL is no faster than that kernel was at the limit.
        """
        one, two, nccl = (
            speed._replace(
                latency_s=jnp.where(in_graph, speed.latency_s, jnp.maximum(speed.latency_s, self.eager_latency_s))
            )
            for speed in (self.one_shot_speed(tp), self.two_shot_speed(tp), self.nccl_speed(tp))
        )
        limit = self.custom_limit_bytes(tp)
        within = jnp.minimum(moved, limit)
        one_s, two_s, nccl_s = one.seconds(within), two.seconds(within), nccl.seconds(moved)
        custom_s = jnp.where(limit > 0, jnp.minimum(one_s, two_s), 0.0)
        custom_latency_s = jnp.where(one_s <= two_s, one.latency_s, two.latency_s)
        runs = (moved < limit) | (custom_s > nccl_s)
        return jnp.where(runs, custom_s, nccl_s), jnp.where(runs, custom_latency_s, nccl.latency_s)

    def custom_limit_bytes(self, tp: Scalar) -> Scalar:
        """Messages of as many bytes are no longer the custom kernel's."""
        return _between(tp, (self.custom_limit_bytes_tp2, self.custom_limit_bytes_tp4, self.custom_limit_bytes_tp8))

    def one_shot_speed(self, tp: Scalar) -> Speed:
        """Each GPU reads all the others' data."""
        return _speed(tp, self.one_shot, self.one_shot)

    def two_shot_speed(self, tp: Scalar) -> Speed:
        """Each GPU reduces its share, then all gather: as in one pass for two GPUs, which never run it."""
        return _speed(tp, self.one_shot, self.two_shot)

    def nccl_speed(self, tp: Scalar) -> Speed:
        """What the engine falls back to."""
        return _speed(tp, self.nccl, self.nccl)


def _speed(tp: Scalar, two: Collective, more: Collective | TwoShot) -> Speed:
    """The speed of ``two`` at T = 2 and of ``more`` beyond."""
    return Speed(
        _between(tp, (two.latency_tp2_s, more.latency_tp4_s, more.latency_tp8_s)),
        1 / _between(tp, (two.bytes_per_s_tp2, more.bytes_per_s_tp4, more.bytes_per_s_tp8)),
    )


def _between(tp: Scalar, at: tuple[Scalar, Scalar, Scalar]) -> Scalar:
    """Linear interpolation in log2 T between T = 2, 4 and 8, constant outside."""
    # A weighted sum, not jnp.interp: the weights depend on T alone, so that a sweep over constants computes them once,
    # and a look-up by a traced T would be a gather, which the vector units do one setting at a time.
    doublings = jnp.clip(jnp.log2(tp), 1.0, 3.0)
    nearness = [jnp.maximum(0.0, 1 - abs(doublings - exponent)) for exponent in (1, 2, 3)]
    return sum((weight * value for weight, value in zip(nearness, at, strict=True)), start=jnp.zeros(()))
