"""One GPU: data-sheet rates, kernel constants, and the link to its peers."""

import equinox as eqx
import jax.numpy as jnp

from jaxroof.files import FRACTION, POSITIVE
from jaxroof.parameters.arrays import Scalar
from jaxroof.parameters.leaves import leaf
from jaxroof.parameters.mfu import Efficiency
from jaxroof.units import GIGA, MICRO, TERA


class Kernel(eqx.Module):
    """A kernel takes ``floor + max(bytes / (BW·η), FLOPs / (P·μ))`` [s]."""

    floor_s: Scalar = leaf("floor_us", MICRO)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)
    mfu: Scalar = leaf("mfu", range=FRACTION)


class StreamingKernel(eqx.Module):
    """A kernel that only moves bytes: ``floor + bytes / (BW·η)`` [s]."""

    floor_s: Scalar = leaf("floor_us", MICRO)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)


class PrefillAttention(eqx.Module):
    """``floor + FLOPs / (P·μ) · (1 + half_length / m)`` [s] for m tokens without cached context."""

    floor_s: Scalar = leaf("floor_us", MICRO)
    mfu: Scalar = leaf("mfu", range=FRACTION)
    half_length_tokens: Scalar = leaf("half_length_tokens")


class Kernels(eqx.Module):
    """The kernels of a transformer step."""

    gemm: Kernel
    decode_attention: StreamingKernel
    prefill_attention: PrefillAttention
    moe: Kernel
    elementwise: StreamingKernel


class Link(eqx.Module):
    """All-reduce of n bytes over T GPUs: ``latency(T) + n / bandwidth(T)`` [s].

    Latencies inside a CUDA graph are per T; ``eager_latency_s`` holds outside one.
    """

    latency_tp2_s: Scalar = leaf("latency_tp2_us", MICRO)
    latency_tp4_s: Scalar = leaf("latency_tp4_us", MICRO)
    latency_tp8_s: Scalar = leaf("latency_tp8_us", MICRO)
    eager_latency_s: Scalar = leaf("eager_latency_us", MICRO)
    bytes_per_s_tp2: Scalar = leaf("gb_per_s_tp2", GIGA, POSITIVE)
    bytes_per_s_tp4: Scalar = leaf("gb_per_s_tp4", GIGA, POSITIVE)
    bytes_per_s_tp8: Scalar = leaf("gb_per_s_tp8", GIGA, POSITIVE)

    def latency_s(self, tp: Scalar) -> Scalar:
        """Latency inside a CUDA graph: linear in log2 T between the measured T, constant outside [s]."""
        return _between(tp, (self.latency_tp2_s, self.latency_tp4_s, self.latency_tp8_s))

    def bytes_per_s(self, tp: Scalar) -> Scalar:
        """Algorithm bandwidth, between the measured T as the latency [B/s]."""
        return _between(tp, (self.bytes_per_s_tp2, self.bytes_per_s_tp4, self.bytes_per_s_tp8))


class Hardware(eqx.Module):
    """One GPU: data-sheet rates, the share of bandwidth that is reached, MFU, kernels and link."""

    peak_flops_per_s: Scalar = leaf("peak_tflops", TERA, POSITIVE)
    fp8_flops_per_s: Scalar = leaf("fp8_tflops", TERA, POSITIVE)
    hbm_bytes_per_s: Scalar = leaf("hbm_tb_per_s", TERA, POSITIVE)
    hbm_bytes: Scalar = leaf("hbm_gb", GIGA, POSITIVE)
    link_bytes_per_s: Scalar = leaf("link_gb_per_s", GIGA, POSITIVE)
    hbm_efficiency: Scalar = leaf("hbm_efficiency", range=FRACTION)
    mfu: Efficiency  # type: ignore[misc]  # mypy takes a leaf() for a default
    kernels: Kernels  # type: ignore[misc]
    link: Link  # type: ignore[misc]

    @property
    def effective_bytes_per_s(self) -> Scalar:
        """BW = peak bandwidth × bandwidth efficiency [B/s]."""
        return self.hbm_bytes_per_s * self.hbm_efficiency


def _between(tp: Scalar, at: tuple[Scalar, Scalar, Scalar]) -> Scalar:
    """Linear interpolation in log2 T between T = 2, 4 and 8, constant outside."""
    # A weighted sum, not jnp.interp: the weights depend on T alone, so that a sweep over constants computes them once,
    # and a look-up by a traced T would be a gather, which the vector units do one setting at a time.
    doublings = jnp.clip(jnp.log2(tp), 1.0, 3.0)
    nearness = [jnp.maximum(0.0, 1 - abs(doublings - exponent)) for exponent in (1, 2, 3)]
    return sum((weight * value for weight, value in zip(nearness, at, strict=True)), start=jnp.zeros(()))
