"""Cost of one kernel: ``floor + max(bytes / (BW·η), FLOPs / (P·μ))``, or a smooth join of the two."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Hardware, Scalar, Values
from jaxroof.parameters.hardware import Gemm
from jaxroof.step.base import Part
from jaxroof.step.precision import Products

NO_TIME = 1e-30  # [s²]

TALL_ROWS = 256  # from which on a wave of tiles is as tall as it gets

Join = Callable[[Values, Values], Values]


class Rates(NamedTuple):
    """What a kernel's work runs at: the data sheet's rates, and the shares of them that it reaches."""

    bytes_per_s: Scalar
    efficiency: Values | float
    flops_per_s: Values
    mfu: Values | float


def kernel(
    count: Values | float, floor_s: Values, moved: Values, flops: Values | float, rates: Rates,
    join: Join = jnp.maximum, idle_flops: Values | float = 0.0,
) -> Part:  # fmt: skip
    """``count`` equal kernels that each move ``moved`` bytes and do ``flops``; ``join`` makes one time of the two.

    ``idle_flops`` take time and are no work: tiles that are filled in part.
    """
    # Kernels share their rates, so that an inverse is computed once where a division would be one for each.
    memory_s = moved * (1 / (rates.bytes_per_s * rates.efficiency))
    compute_s = (flops + idle_flops) * (1 / (rates.flops_per_s * rates.mfu))
    light_s = jnp.maximum(moved / rates.bytes_per_s, flops / rates.flops_per_s)
    return _part(count, floor_s + join(memory_s, compute_s), floor_s, memory_s, compute_s, light_s, moved, flops)


def transfer(count: Scalar | float, seconds: Scalar, latency_s: Scalar, moved: Scalar, bytes_per_s: Scalar) -> Part:
    """``count`` equal messages of ``moved`` bytes that take ``seconds`` on a link (or memory) of ``bytes_per_s``."""
    return _part(count, seconds, latency_s, seconds - latency_s, 0.0, moved / bytes_per_s, moved, 0.0)


def slowed(part: Part, factor: Values) -> Part:
    """The same work in ``factor`` times the time."""
    names = ("seconds", "floor_s", "memory_s", "compute_s")
    return dataclasses.replace(part, **{name: factor * getattr(part, name) for name in names})


def _part(count: Values | float, *columns: Values | float) -> Part:
    return Part(*(count * column for column in (*columns, 1.0)))


def smooth_maximum(memory_s: Values, compute_s: Values, smoothness: Values) -> Values:
    """``√(hi² + smoothness·lo²)`` of the larger and the smaller: the larger alone where ``smoothness`` is 0."""
    hi, lo = jnp.maximum(memory_s, compute_s), jnp.minimum(memory_s, compute_s)
    # The root's slope is infinite at 0; the guard is far below the square of any kernel's time.
    return jnp.sqrt(jnp.maximum(hi * hi + smoothness * (lo * lo), NO_TIME))


def gemm(
    count: Values | float, m: Scalar, k: Values, n: Values, of: Products, arch: Architecture, hardware: Hardware
) -> Part:
    """``count`` products (m, k) × (k, n) that run with what those ``of`` a part of a layer do."""
    constants, bandwidth = of.constants, hardware.hbm_bytes_per_s
    moved = k * n * of.weight_bytes + m * k * of.input_bytes + m * n * arch.activation_bytes
    flops = 2 * m * k * n
    # A model without this matrix does not launch the kernel.
    launched = jnp.where(k * n > 0, 1.0, 0.0)
    # A batch's mean may lie between one row and two: the times of the two are blended.
    several = jnp.clip(m - 1, 0.0, 1.0)
    floor_s = constants.gemv_floor_s + several * (constants.floor_s - constants.gemv_floor_s)
    slower = constants.hbm_efficiency / constants.gemv_hbm_efficiency
    efficiency = constants.hbm_efficiency / (slower + several * (1 - slower))
    rates = Rates(bandwidth, efficiency, of.flops_per_s, constants.mfu)
    join = partial(smooth_maximum, smoothness=constants.smoothness)
    if isinstance(constants, Gemm):
        return kernel(count * launched, floor_s, moved, flops, rates, join)
    floor_s = floor_s + constants.input_pass_bytes * m * k / bandwidth
    idle = 2 * k * (constants.wave_outputs + constants.tall_wave_outputs * jnp.minimum(m / TALL_ROWS, 1.0))
    return kernel(count * launched, floor_s, moved, flops, rates, join, idle)


def streaming(count: Values | float, moved: Values, hardware: Hardware) -> Part:
    """``count`` elementwise kernels that each move ``moved`` bytes."""
    constants = hardware.kernels.elementwise
    rates = Rates(hardware.hbm_bytes_per_s, constants.hbm_efficiency, hardware.peak_flops_per_s, 1.0)
    return kernel(count, constants.floor_s, moved, 0.0, rates)
