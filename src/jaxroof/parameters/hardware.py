"""One GPU: data-sheet rates, kernel constants, and the link to its peers."""

import dataclasses

import equinox as eqx

from jaxroof.files import FRACTION, GIGABYTES, POSITIVE
from jaxroof.parameters.arrays import Scalar
from jaxroof.parameters.leaves import leaf
from jaxroof.parameters.link import Link
from jaxroof.parameters.mfu import Efficiency
from jaxroof.units import GIGA, MICRO, TERA

MEMORY = dataclasses.replace(GIGABYTES, low_is_legal=False)


class Gemm(eqx.Module):
    """A product of m rows takes ``floor + √(memory² + compute²)`` [s].

    ``memory = bytes / (BW·η)`` and ``compute = FLOPs / (P·μ)``. One row has a floor and an η of its own, ``gemv_…``.
    With ``smoothness`` s the root is ``√(hi² + s·lo²)`` of the larger and the smaller: 0 is the hard maximum.
    """

    floor_s: Scalar = leaf("floor_us", MICRO)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)
    mfu: Scalar = leaf("mfu", range=FRACTION)
    gemv_floor_s: Scalar = leaf("gemv_floor_us", MICRO)
    gemv_hbm_efficiency: Scalar = leaf("gemv_hbm_efficiency", range=FRACTION)
    smoothness: Scalar = leaf("smoothness")


class Spread(eqx.Module):
    """What contexts of different lengths cost a kernel of tiles that persistent blocks take unsorted.

    With x tiles per multiprocessor, one tile per request and KV head, B requests with g KV heads on a GPU, and
    ``q = CV·(1 − 1/B)``, decode attention takes ``1 + q / √((tail·x)²·√g + q²·(bound + (split/x)⁴))`` times as long as
    with equal contexts of the same mean. 0 ``multiprocessors``: no such kernel, and no factor.
    """

    multiprocessors: Scalar = leaf("multiprocessors", default=0.0)
    bound: Scalar = leaf("bound", range=POSITIVE, default=1.0)
    tail: Scalar = leaf("tail", default=1.0)
    split: Scalar = leaf("split", default=1.0)


class DecodeAttention(eqx.Module):
    """The smaller of ``floor + bytes / (BW·η)`` and the same with the ``large_…`` constants, of large caches [s]."""

    floor_s: Scalar = leaf("floor_us", MICRO)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)
    large_floor_s: Scalar = leaf("large_floor_us", MICRO)
    large_hbm_efficiency: Scalar = leaf("large_hbm_efficiency", range=FRACTION)
    spread: Spread = eqx.field(default_factory=Spread)


class StreamingKernel(eqx.Module):
    """A kernel that only moves bytes: ``floor + bytes / (BW·η)`` [s]."""

    floor_s: Scalar = leaf("floor_us", MICRO)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)


class PrefillAttention(eqx.Module):
    """``floor + FLOPs / (P·μ) · (1 + half_length / m)`` [s] for m tokens without cached context.

    ``mixed_tile_tokens``: rows that a decoding request fills in the prefill kernel of a step with both; 0 where
    decoding has a kernel of its own in such a step too.
    """

    floor_s: Scalar = leaf("floor_us", MICRO)
    mfu: Scalar = leaf("mfu", range=FRACTION)
    half_length_tokens: Scalar = leaf("half_length_tokens")
    mixed_tile_tokens: Scalar = leaf("mixed_tile_tokens")


class Moe(eqx.Module):
    """``floor + per_expert · experts touched + max(bytes / (BW·η), FLOPs / (P·μ))`` [s] of a block of experts."""

    floor_s: Scalar = leaf("floor_us", MICRO)
    per_expert_s: Scalar = leaf("per_expert_us", MICRO)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)
    mfu: Scalar = leaf("mfu", range=FRACTION)


class Kernels(eqx.Module):
    """The kernels of a transformer step."""

    gemm: Gemm
    decode_attention: DecodeAttention
    prefill_attention: PrefillAttention
    moe: Moe
    elementwise: StreamingKernel


class Hardware(eqx.Module):
    """One GPU: data-sheet rates, the share of bandwidth that is reached, MFU, kernels and link.

    A GPU without a unit for FP8 or FP4 has no rate above the 16-bit one there (0, or the same).
    """

    peak_flops_per_s: Scalar = leaf("peak_tflops", TERA, POSITIVE)
    fp8_flops_per_s: Scalar = leaf("fp8_tflops", TERA, POSITIVE)
    hbm_bytes_per_s: Scalar = leaf("hbm_tb_per_s", TERA, POSITIVE)
    hbm_bytes: Scalar = leaf("hbm_gb", GIGA, MEMORY)
    link_bytes_per_s: Scalar = leaf("link_gb_per_s", GIGA, POSITIVE)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)
    mfu: Efficiency  # type: ignore[misc]  # mypy takes a leaf() for a default
    kernels: Kernels  # type: ignore[misc]
    link: Link  # type: ignore[misc]

    fp4_flops_per_s: Scalar = leaf("fp4_tflops", TERA, default=0.0)

    @property
    def effective_bytes_per_s(self) -> Scalar:
        """BW = peak bandwidth × bandwidth efficiency [B/s]."""
        return self.hbm_bytes_per_s * self.hbm_efficiency
