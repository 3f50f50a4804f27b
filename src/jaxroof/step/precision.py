"""Which constants a kernel has for the numbers that it takes: 16 bits, FP8 or FP4, an FP8 cache."""

from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp

from jaxroof.parameters import Architecture, Flag, Groups, Hardware, Values
from jaxroof.parameters.hardware import DecodeAttention, Gemm, Moe, NarrowGemm, PrefillAttention
from jaxroof.parameters.layers import Inputs

BITS_16 = 2.0  # [B]
# Inputs of an FP8 product have up to a byte and a half, scales included; a part with more is 16 bits wide for the most.
WIDEST_FP8 = 1.5
Kernel = TypeVar("Kernel")


class Products(NamedTuple):
    """What the products of a part of a layer run with: bytes of a weight and of an input, constants, and rate."""

    weight_bytes: Values
    input_bytes: Values | float
    constants: Gemm | NarrowGemm
    flops_per_s: Values


class Experts(NamedTuple):
    """What experts run with: constants and rate."""

    constants: Moe
    flops_per_s: Values


def head(arch: Architecture, hardware: Hardware) -> Products:
    """The head takes inputs of 16 bits in every model."""
    return Products(arch.head_bytes, arch.activation_bytes, hardware.kernels.gemm, hardware.peak_flops_per_s)


def products(weight_bytes: Groups, part: str, arch: Architecture, hardware: Hardware) -> Products:
    """Those of the ``attention`` or ``ffn`` part of a layer."""
    kernels, inputs = hardware.kernels, arch.layers.inputs
    if inputs is None:
        return Products(weight_bytes, BITS_16, kernels.gemm, hardware.peak_flops_per_s)
    wanted = getattr(inputs, f"{part}_input_bytes")
    taken = jnp.where(has_unit(wanted, hardware), wanted, arch.activation_bytes)
    constants = _chosen(wanted, inputs, hardware, "gemm", NarrowGemm)
    return Products(weight_bytes, taken, constants, _flops_per_s(wanted, hardware))


def experts(arch: Architecture, hardware: Hardware) -> Experts:
    """Those of the routed experts."""
    inputs = arch.layers.inputs
    if inputs is None:
        return Experts(hardware.kernels.moe, hardware.peak_flops_per_s)
    wanted = inputs.expert_input_bytes
    return Experts(_chosen(wanted, inputs, hardware, "moe", Moe), _flops_per_s(wanted, hardware))


def attention(arch: Architecture, hardware: Hardware) -> tuple[DecodeAttention, PrefillAttention]:
    """Of decoding and of prefill, by the width of the KV cache."""
    kernels, narrow = hardware.kernels, arch.kv_cache_bytes < BITS_16

    def chosen(fp8: Kernel, wide: Kernel) -> Kernel:
        return cast(Kernel, jax.tree.map(lambda a, b: jnp.where(narrow, a, b), fp8, wide))

    return (
        chosen(kernels.decode_attention_fp8, kernels.decode_attention),
        chosen(kernels.prefill_attention_fp8, kernels.prefill_attention),
    )


def has_unit(input_bytes: Values, hardware: Hardware) -> Flag:
    """Whether the GPU multiplies inputs so narrow; else weights are dequantised, and inputs are 16 bits wide."""
    return (input_bytes > WIDEST_FP8) | (_unit_flops_per_s(input_bytes, hardware) > hardware.peak_flops_per_s)


def quantised_apart(inputs: Inputs, hardware: Hardware) -> Flag:
    """Whether attention's products take FP8 inputs whose quantisation is not in their constants, as in blocks it is."""
    width = inputs.attention_input_bytes
    fp8 = (width >= 1) & (width <= WIDEST_FP8) & (inputs.input_block == 0)
    return fp8 & has_unit(width, hardware)


def _chosen(input_bytes: Groups, inputs: Inputs, hardware: Hardware, kind: str, cls: type[Kernel]) -> Kernel:
    """The constants of ``kind`` for such inputs; of 16 bits where they are, or the GPU has no unit for them."""
    kernels = hardware.kernels
    wide = cls(**vars(getattr(kernels, kind)))
    fp8, fp8_block, fp4 = (getattr(kernels, f"{kind}_{name}") for name in ("fp8", "fp8_block", "fp4"))
    narrow = (input_bytes <= WIDEST_FP8) & has_unit(input_bytes, hardware)

    def choose(of_16: Any, of_8: Any, of_block: Any, of_4: Any) -> Any:
        of_width = jnp.where(input_bytes < 1, of_4, jnp.where(inputs.input_block > 0, of_block, of_8))
        return jnp.where(narrow, of_width, of_16)

    return cast(Kernel, jax.tree.map(choose, wide, fp8, fp8_block, fp4))


def _flops_per_s(input_bytes: Values, hardware: Hardware) -> Values:
    """Of the unit that multiplies such inputs: without one, of the 16-bit unit."""
    return jnp.maximum(_unit_flops_per_s(input_bytes, hardware), hardware.peak_flops_per_s)


def _unit_flops_per_s(input_bytes: Values, hardware: Hardware) -> Values:
    of_bytes = jnp.where(input_bytes < 1, hardware.fp4_flops_per_s, hardware.fp8_flops_per_s)
    return jnp.where(input_bytes > WIDEST_FP8, hardware.peak_flops_per_s, of_bytes)
