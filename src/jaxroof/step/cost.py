"""Cost of one kernel: ``floor + max(bytes / (BW·η), FLOPs / (P·μ))``, or a smooth join of the two."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Flag, Hardware, Scalar, Values
from jaxroof.step.base import Part

NO_TIME = 1e-30  # [s²]

Join = Callable[[Values, Values], Values]


class Rates(NamedTuple):
    """What a kernel's work runs at: the data sheet's rates, and the shares of them that it reaches."""

    bytes_per_s: Scalar
    efficiency: Values | float
    flops_per_s: Values
    mfu: Values | float


def kernel(
    count: Values | float, floor_s: Values, moved: Values, flops: Values | float, rates: Rates, join: Join = jnp.maximum
) -> Part:
    """``count`` equal kernels that each move ``moved`` bytes and do ``flops``; ``join`` makes one time of the two."""
    # Kernels share their rates, so that an inverse is computed once where a division would be one for each.
    memory_s = moved * (1 / (rates.bytes_per_s * rates.efficiency))
    compute_s = flops * (1 / (rates.flops_per_s * rates.mfu))
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


def smooth_maximum(memory_s: Values, compute_s: Values, smoothness: Scalar) -> Values:
    """``√(hi² + smoothness·lo²)`` of the larger and the smaller: the larger alone where ``smoothness`` is 0."""
    hi, lo = jnp.maximum(memory_s, compute_s), jnp.minimum(memory_s, compute_s)
    # The root's slope is infinite at 0; the guard is far below the square of any kernel's time.
    return jnp.sqrt(jnp.maximum(hi * hi + smoothness * (lo * lo), NO_TIME))


def gemm(
    count: Values | float, m: Scalar, k: Values, n: Values, precision: tuple[Values, Values], arch: Architecture,
    hardware: Hardware,
) -> Part:  # fmt: skip
    """``count`` products (m, k) × (k, n); ``precision`` is that of the weights and of the inputs [B]."""
    constants, (weight_bytes, input_bytes) = hardware.kernels.gemm, precision
    input_bytes = jnp.where(has_unit(input_bytes, hardware), input_bytes, arch.activation_bytes)
    moved = k * n * weight_bytes + m * k * input_bytes + m * n * arch.activation_bytes
    flops = 2 * m * k * n
    # A model without this matrix does not launch the kernel.
    launched = jnp.where(k * n > 0, 1.0, 0.0)
    # A batch's mean may lie between one row and two: the times of the two are blended.
    several = jnp.clip(m - 1, 0.0, 1.0)
    floor_s = constants.gemv_floor_s + several * (constants.floor_s - constants.gemv_floor_s)
    slower = constants.hbm_efficiency / constants.gemv_hbm_efficiency
    efficiency = constants.hbm_efficiency / (slower + several * (1 - slower))
    rates = product_rates(efficiency, constants.mfu, input_bytes, hardware)
    join = partial(smooth_maximum, smoothness=constants.smoothness)
    return kernel(count * launched, floor_s, moved, flops, rates, join)


def product_rates(efficiency: Values, mfu: Scalar, input_bytes: Values, hardware: Hardware) -> Rates:
    """What a product with inputs of ``input_bytes`` runs at: without a unit for them, at the 16-bit rate."""
    of_unit, peak = _unit_flops_per_s(input_bytes, hardware), hardware.peak_flops_per_s
    flops_per_s = jnp.where(has_unit(input_bytes, hardware), of_unit, peak)
    return Rates(hardware.hbm_bytes_per_s, efficiency, flops_per_s, mfu)


def has_unit(input_bytes: Values, hardware: Hardware) -> Flag:
    """Whether the GPU multiplies inputs so narrow; else weights are dequantised, and inputs are 16 bits wide."""
    return (input_bytes > 1) | (_unit_flops_per_s(input_bytes, hardware) > hardware.peak_flops_per_s)


def _unit_flops_per_s(input_bytes: Values, hardware: Hardware) -> Values:
    of_bytes = jnp.where(input_bytes < 1, hardware.fp4_flops_per_s, hardware.fp8_flops_per_s)
    return jnp.where(input_bytes > 1, hardware.peak_flops_per_s, of_bytes)


def streaming(count: Values | float, moved: Values, hardware: Hardware) -> Part:
    """``count`` elementwise kernels that each move ``moved`` bytes."""
    constants = hardware.kernels.elementwise
    rates = Rates(hardware.hbm_bytes_per_s, constants.hbm_efficiency, hardware.peak_flops_per_s, 1.0)
    return kernel(count, constants.floor_s, moved, 0.0, rates)
