"""Where step time kinks or jumps, so that quadrature can split there."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxroof.parameters import AnalyticMfu, Architecture, Deployment, Efficiency, Scalar, Vector
from jaxroof.request.schedule import Knots
from jaxroof.step import work
from jaxroof.step.roofline import BUCKET_TOKENS, heads

# Contexts are counted up to a multiple of this, so that experiments share one compiled program.
SAME_PROGRAM = 8192


def knots(
    mfu: Efficiency,
    arch: Architecture,
    deployment: Deployment,
    cached: Sequence[int],
    longest: int,
    budget: int,
    chunk_tokens: Sequence[float] = (),
    jumps: Sequence[float] = (),
) -> Knots:
    """Knots of requests that start prefill steps at the ``cached`` contexts and reach ``longest`` tokens.

    ``kernels`` jumps where a step has more tokens than any of ``jumps``: it leaves the CUDA graph, for one.
    Measured tables kink at their grid, and jump where a row replaces a vanishing MFU and between
    prefill buckets; both show in the MFU itself, token by token. Not split: where an all-reduce takes
    another algorithm or a kernel turns from memory-bound to compute-bound: both move with the constants, and the nodes'
    distance bounds the error.
    """
    spans = _spans(arch, longest)
    prefill = {c: [*jumps, *(end - c for end in spans)] for c in cached}
    if isinstance(mfu, AnalyticMfu):
        return Knots(chunk_tokens, prefill, spans, prefill_nodes=2 if jumps else 3)
    tokens = _tokens(-(-longest // SAME_PROGRAM) * SAME_PROGRAM)
    decode, gemm = _curves(mfu, arch, deployment, tokens, _tokens(budget))
    kinks = _kinks(gemm)
    prefill = {c: [*ends, *kinks, *(edge - c for edge in BUCKET_TOKENS)] for c, ends in prefill.items()}
    return Knots(chunk_tokens, prefill, [*spans, *_kinks(decode[:, None])], prefill_nodes=4, decode_nodes=4)


def _spans(arch: Architecture, longest: int) -> list[float]:
    """Contexts at which layers begin to slide, or to attend to a chunk of their own."""
    sizes = (arch.layers.sliding_window, arch.layers.attention_chunk_size)
    windows, chunks = (np.unique(size[size > 0]) for size in map(np.asarray, sizes))
    return [*(windows - 1), *(end for chunk in chunks for end in np.arange(chunk, longest, chunk) - 1)]


@jax.jit
def _curves(
    mfu: Efficiency, arch: Architecture, deployment: Deployment, contexts: Array, tokens: Array
) -> tuple[Float[Array, " context"], Float[Array, "token 7"]]:
    """MFU of a request's decode attention at every context, and of the GEMMs at every number of tokens."""

    def attention(context: Scalar) -> Scalar:
        return mfu.decode_attention(heads(arch), deployment.tp, jnp.ones_like(context), context)

    def gemms(m: Scalar) -> Float[Any, "7"]:
        return jax.vmap(mfu.gemm, in_axes=(None, 0, 0))(m, *work.gemm_shapes(arch))

    return jax.vmap(attention)(contexts), jax.vmap(gemms)(tokens)


def _tokens(count: int) -> Float[Array, " token"]:
    return jnp.arange(count, dtype=jnp.result_type(float))


def _kinks(values: Float[Array, "token curve"]) -> Vector:
    """Token counts at which a piecewise linear curve bends, and both sides of each jump."""
    y = np.asarray(values)
    bend = np.abs(np.diff(y, n=2, axis=0))
    rounding = 32 * np.finfo(y.dtype).eps * np.abs(y).max(axis=0)
    return np.flatnonzero((bend > rounding).any(axis=1)) + 1.0
