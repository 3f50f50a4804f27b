"""Cost of one kernel: ``floor + max(bytes / (BW·η), FLOPs / (P·μ))``."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Hardware, Kernel, Scalar
from jaxroof.step.base import Part


class Rates(NamedTuple):
    """What a kernel's work runs at: the data sheet's rates, and the shares of them that it reaches."""

    bytes_per_s: Scalar
    efficiency: Scalar | float
    flops_per_s: Scalar
    mfu: Scalar | float


def kernel(count: Scalar | float, floor_s: Scalar, moved: Scalar, flops: Scalar | float, rates: Rates) -> Part:
    """``count`` equal kernels that each move ``moved`` bytes and do ``flops``."""
    light = moved / rates.bytes_per_s, flops / rates.flops_per_s
    memory_s, compute_s = light[0] / rates.efficiency, light[1] / rates.mfu
    seconds = floor_s + jnp.maximum(memory_s, compute_s)
    columns = (seconds, floor_s, memory_s, compute_s, jnp.maximum(*light), moved, flops)
    return Part(*(count * column for column in columns))


def gemm(
    count: Scalar | float, m: Scalar, k: Scalar, n: Scalar, weight_bytes: Scalar, arch: Architecture, hardware: Hardware
) -> Part:
    """``count`` products (m, k) × (k, n): inputs as narrow as the weights, FP8 ones at the FP8 rate."""
    constants, narrow = hardware.kernels.gemm, jnp.minimum(weight_bytes, arch.activation_bytes)
    moved = k * n * weight_bytes + m * k * narrow + m * n * arch.activation_bytes
    flops = 2 * m * k * n
    # A model without this matrix does not launch the kernel.
    launched = jnp.where(k * n > 0, 1.0, 0.0)
    return kernel(count * launched, constants.floor_s, moved, flops, gemm_rates(constants, weight_bytes, hardware))


def gemm_rates(constants: Kernel, weight_bytes: Scalar, hardware: Hardware) -> Rates:
    """What a product with weights of ``weight_bytes`` runs at: one-byte weights take the FP8 rate."""
    flops_per_s = jnp.where(weight_bytes > 1, hardware.peak_flops_per_s, hardware.fp8_flops_per_s)
    return Rates(hardware.hbm_bytes_per_s, constants.hbm_efficiency, flops_per_s, constants.mfu)


def streaming(count: Scalar | float, moved: Scalar, hardware: Hardware) -> Part:
    """``count`` elementwise kernels that each move ``moved`` bytes."""
    constants = hardware.kernels.elementwise
    rates = Rates(hardware.hbm_bytes_per_s, constants.hbm_efficiency, hardware.peak_flops_per_s, 1.0)
    return kernel(count, constants.floor_s, moved, 0.0, rates)
