"""``roofline``: per phase max(compute, memory), GEMMs and attention at their MFU (the later "v2")."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxroof import work
from jaxroof.leaves import Scalar
from jaxroof.overhead import overhead_s
from jaxroof.params import Architecture, Batch, Deployment, Hardware, Requests, Tier0
from jaxroof.step.base import Phase, StepTime, present
from jaxroof.units import MICRO

# The reference simulator's clock: no step is shorter than one tick.
TICK_S = 1 * MICRO
# Prefill requests are bucketed by the tokens they attend to.
BUCKET_TOKENS = tuple(512.0 * 2**i for i in range(8))


def roofline(batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime:
    """``max(1 µs, max over phases of max(compute, memory) + overhead)`` [s]. Dense models only.

    Source: ``roofline_step.go`` of the BLIS inference simulator, commit 487017bc.
    """
    prefill = Phase(
        _prefill_compute_s(batch.prefill, arch, tier0) / deployment.tp,
        _memory_s(batch.prefill, arch, tier0) / deployment.tp,
    )
    decode = Phase(
        _decode_compute_s(batch.decode, arch, deployment, tier0) / deployment.tp,
        _memory_s(batch.decode, arch, tier0) / deployment.tp,
    )
    overhead = overhead_s(tier0.overheads, arch, deployment, batch)
    total = jnp.maximum(jnp.maximum(prefill.bound_s, decode.bound_s) + overhead, TICK_S)
    return StepTime(total, prefill, decode, overhead)


def _memory_s(requests: Requests, arch: Architecture, tier0: Tier0) -> Scalar:
    weights = work.layer_weight_bytes(arch) * present(requests)
    return (weights + work.request_bytes(arch, requests, tier0.traffic)) / tier0.hardware.effective_bytes_per_s


def _gemm_s(m: Scalar, arch: Architecture, hardware: Hardware) -> Scalar:
    """L·Σ max(2mkn / (P·mfu), k·n·b / BW) over the seven GEMMs of a layer [s]."""
    k, n = work.gemm_shapes(arch)
    mfu = jax.vmap(hardware.mfu.gemm, in_axes=(None, 0, 0))(m, k, n)
    compute = 2 * m * k * n / (hardware.peak_flops_per_s * mfu)
    weights = k * n * arch.weight_bytes / hardware.effective_bytes_per_s
    return arch.num_hidden_layers * jnp.sum(jnp.maximum(compute, weights))


def heads(arch: Architecture) -> Float[Array, "3"]:
    """(h, g, d), what attention tables are looked up by."""
    return jnp.stack([arch.num_attention_heads, arch.num_key_value_heads, arch.head_dim])


def _decode_compute_s(requests: Requests, arch: Architecture, deployment: Deployment, tier0: Tier0) -> Scalar:
    """GEMMs with m = batch, then Σ FLOPs / (P·F), F the FLOPs-weighted mean MFU [s]."""
    if requests.count.size == 0:
        return jnp.zeros_like(arch.hidden_size)
    hardware, batch = tier0.hardware, jnp.sum(requests.count)
    flops = requests.count * work.attention_flops(arch, requests.new_tokens, requests.context_tokens)
    mfu = jax.vmap(lambda c: hardware.mfu.decode_attention(heads(arch), deployment.tp, batch, c))(
        requests.context_tokens
    )
    total = jnp.sum(flops)
    # No context, no attention: keep 0/0 out of the value and out of the gradient.
    mean_mfu = jnp.where(total > 0, jnp.sum(flops * mfu), 1.0) / jnp.where(total > 0, total, 1.0)
    return _gemm_s(batch, arch, hardware) * present(requests) + total / (hardware.peak_flops_per_s * mean_mfu)


def _prefill_compute_s(requests: Requests, arch: Architecture, tier0: Tier0) -> Scalar:
    """Σ over buckets of GEMMs with m = the bucket's new tokens, and causal attention [s].

    A request stands for its share of its bucket's tokens, so Σ over requests = Σ over buckets.
    """
    if requests.count.size == 0:
        return jnp.zeros_like(arch.hidden_size)
    hardware = tier0.hardware
    tokens = requests.count * requests.new_tokens
    attended = requests.context_tokens + requests.new_tokens
    edges = jnp.asarray(BUCKET_TOKENS, dtype=attended.dtype)
    bucket = jnp.clip(jnp.searchsorted(edges, attended), 0, len(BUCKET_TOKENS) - 1)
    bucket_tokens = jnp.sum(jnp.where(bucket[:, None] == bucket[None], tokens[None], 0.0), axis=1)
    share = tokens / jnp.where(tokens > 0, bucket_tokens, 1.0)
    gemm = jax.vmap(lambda m: _gemm_s(m, arch, hardware))(bucket_tokens)
    mfu = jax.vmap(lambda length: hardware.mfu.prefill_attention(heads(arch), length))(edges[bucket])
    flops = requests.count * work.attention_flops(arch, requests.new_tokens, attended) / tier0.traffic.causal_divisor
    return jnp.sum(share * gemm + flops / (hardware.peak_flops_per_s * mfu))
