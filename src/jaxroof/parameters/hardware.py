"""One GPU: data-sheet rates, kernel constants, and the link to its peers."""

import dataclasses
from typing import Any

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


class NarrowGemm(eqx.Module):
    """A product of inputs below 16 bits: ``floor + pass·m·k / BW + √(memory² + compute²)`` [s], else as :class:`Gemm`.

    ``pass`` bytes are moved per input to quantise it. Tiles of a fixed size fill a wave in part, so that
    ``compute = 2·k·(m·n + wave + tall·min(m / 256, 1)) / (P·μ)``: outputs of half a wave, which is taller with rows.
    """

    floor_s: Scalar = leaf("floor_us", MICRO)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)
    mfu: Scalar = leaf("mfu", range=FRACTION)
    gemv_floor_s: Scalar = leaf("gemv_floor_us", MICRO)
    gemv_hbm_efficiency: Scalar = leaf("gemv_hbm_efficiency", range=FRACTION)
    smoothness: Scalar = leaf("smoothness")
    input_pass_bytes: Scalar = leaf("input_pass_bytes", default=0.0)
    wave_outputs: Scalar = leaf("wave_outputs", default=0.0)
    tall_wave_outputs: Scalar = leaf("tall_wave_outputs", default=0.0)


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
    """The smaller of ``floor + bytes / (BW·η)`` and the same with the ``large_…`` constants, of large caches [s].

    Bytes are paid for ``half_tile`` tokens more of each request: a tile is half empty on average.
    """

    floor_s: Scalar = leaf("floor_us", MICRO)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)
    large_floor_s: Scalar = leaf("large_floor_us", MICRO)
    large_hbm_efficiency: Scalar = leaf("large_hbm_efficiency", range=FRACTION)
    half_tile_tokens: Scalar = leaf("half_tile_tokens", default=0.0)
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
    """``floor + per_expert·experts touched + pass·activations / BW + max(memory, compute)`` [s] of a block of experts.

    ``memory = bytes / (BW·η)`` and ``compute = FLOPs / (P·μ)``. ``activations`` are those of all (token, expert) pairs,
    which are sorted, quantised and added up in passes of their own. ``tile_rows`` of each expert touched are computed
    for nothing. With ``smoothness`` s the maximum is ``√(hi² + s·lo²)``.
    """

    floor_s: Scalar = leaf("floor_us", MICRO)
    per_expert_s: Scalar = leaf("per_expert_us", MICRO)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)
    mfu: Scalar = leaf("mfu", range=FRACTION)
    input_pass_bytes: Scalar = leaf("input_pass_bytes", default=0.0)
    tile_rows: Scalar = leaf("tile_rows", default=0.0)
    smoothness: Scalar = leaf("smoothness", default=0.0)


def narrow(than: str) -> Any:
    """A field of a kernel with narrower numbers; a file that has none takes those of the 16-bit one."""
    return eqx.field(default=None, metadata={"narrower_than": than})


class Kernels(eqx.Module):
    """The kernels of a transformer step: with 16 bits, with inputs of FP8 (a scale per tensor or token, or per block of
    numbers) or FP4, and attention with an FP8 KV cache."""

    gemm: Gemm
    decode_attention: DecodeAttention
    prefill_attention: PrefillAttention
    moe: Moe
    elementwise: StreamingKernel

    gemm_fp8: NarrowGemm = narrow("gemm")
    gemm_fp8_block: NarrowGemm = narrow("gemm")
    gemm_fp4: NarrowGemm = narrow("gemm")
    moe_fp8: Moe = narrow("moe")
    moe_fp8_block: Moe = narrow("moe")
    moe_fp4: Moe = narrow("moe")
    decode_attention_fp8: DecodeAttention = narrow("decode_attention")
    prefill_attention_fp8: PrefillAttention = narrow("prefill_attention")


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
