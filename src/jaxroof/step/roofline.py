"""``roofline``: per phase max(compute, memory), GEMMs and attention at their MFU (the later "v2")."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxroof.parameters import Architecture, Deployment, Hardware, Scalar, Tier0
from jaxroof.step import work
from jaxroof.step.base import Part, StepTime, present
from jaxroof.step.batch import Batch, Requests
from jaxroof.step.overhead import overhead_s
from jaxroof.units import MICRO

# The reference simulator's clock: no step is shorter than one tick.
TICK_S = 1 * MICRO
# Prefill requests are bucketed by the tokens they attend to.
BUCKET_TOKENS = tuple(512.0 * 2**i for i in range(8))


class Compute(NamedTuple):
    """Compute side of a phase before sharding: time [s] and work [FLOP]."""

    seconds: Scalar
    flops: Scalar


def roofline(batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime:
    """``max(1 µs, max over phases of max(compute, memory) + overhead)`` [s]. Dense models only.

    Source: ``roofline_step.go`` of the BLIS inference simulator, commit 487017bc.
    """
    parts = {
        "prefill": _part(_prefill_compute(batch.prefill, arch, tier0), batch.prefill, arch, deployment, tier0),
        "decode": _part(_decode_compute(batch.decode, arch, deployment, tier0), batch.decode, arch, deployment, tier0),
    }
    overhead = overhead_s(tier0.overheads, arch, deployment, batch)
    longest = jnp.maximum(parts["prefill"].seconds, parts["decode"].seconds)
    none = jnp.zeros_like(overhead)
    return StepTime(jnp.maximum(longest + overhead, TICK_S), overhead, none, none, none, parts)


def heads(arch: Architecture) -> Float[Array, "3"]:
    """(h, g, d), what attention tables are looked up by; layers are equal."""
    layers = arch.layers
    return jnp.stack([layers.num_attention_heads[0], layers.num_key_value_heads[0], layers.head_dim[0]])


def _part(compute: Compute, requests: Requests, arch: Architecture, deployment: Deployment, tier0: Tier0) -> Part:
    weights = work.layer_weight_bytes(arch) * present(requests)
    share = (weights + work.request_bytes(arch, requests, tier0.traffic)) / deployment.tp
    memory_s = share / tier0.hardware.effective_bytes_per_s
    compute_s = compute.seconds / deployment.tp
    flops, none = compute.flops / deployment.tp, jnp.zeros_like(share)
    light_s = jnp.maximum(share / tier0.hardware.hbm_bytes_per_s, flops / tier0.hardware.peak_flops_per_s)
    return Part(jnp.maximum(compute_s, memory_s), none, memory_s, compute_s, light_s, share, flops)


def _gemms(m: Scalar, arch: Architecture, hardware: Hardware) -> Compute:
    """L·Σ max(2mkn / (P·mfu), k·n·b / BW) over the seven GEMMs of a layer."""
    k, n = work.gemm_shapes(arch)
    flops = 2 * m * k * n
    mfu = jax.vmap(hardware.mfu.gemm, in_axes=(None, 0, 0))(m, k, n)
    attention, ffn = arch.layers.attention_weight_bytes[0], arch.layers.ffn_weight_bytes[0]
    weights_s = k * n * jnp.stack([attention] * 4 + [ffn] * 3) / hardware.effective_bytes_per_s
    longer_s = jnp.maximum(flops / (hardware.peak_flops_per_s * mfu), weights_s)
    seconds = sum(longer_s[1:], start=longer_s[0])  # term by term: a reduction would not be vectorised over settings
    return Compute(arch.num_hidden_layers * seconds, arch.num_hidden_layers * jnp.sum(flops))


def _decode_compute(requests: Requests, arch: Architecture, deployment: Deployment, tier0: Tier0) -> Compute:
    """GEMMs with m = batch, then Σ FLOPs / (P·F), F the FLOPs-weighted mean MFU."""
    if requests.count.size == 0:
        return Compute(jnp.zeros(()), jnp.zeros(()))
    hardware, batch = tier0.hardware, jnp.sum(requests.count)
    flops = requests.count * work.attention_flops(arch, requests.new_tokens, requests.context_tokens)
    total, at = jnp.sum(flops), (heads(arch), deployment.tp, batch)
    mfu = jax.vmap(lambda context: hardware.mfu.decode_attention(*at, context))(requests.context_tokens)
    # No context, no attention: keep 0/0 out of the value and out of the gradient.
    weighted = jnp.sum(flops * mfu)
    mean_mfu = jnp.where(total > 0, weighted, 1.0) / jnp.where(total > 0, total, 1.0)
    gemms = _gemms(batch, arch, hardware)
    seconds = gemms.seconds * present(requests) + total / (hardware.peak_flops_per_s * mean_mfu)
    return Compute(seconds, gemms.flops + total)


def _prefill_compute(requests: Requests, arch: Architecture, tier0: Tier0) -> Compute:
    """Σ over buckets of GEMMs with m = the bucket's new tokens, and causal attention.

    A request stands for its share of its bucket's tokens, so Σ over requests = Σ over buckets.
    """
    if requests.count.size == 0:
        return Compute(jnp.zeros(()), jnp.zeros(()))
    hardware = tier0.hardware
    tokens = requests.count * requests.new_tokens
    attended = requests.context_tokens + requests.new_tokens
    edges = jnp.asarray(BUCKET_TOKENS, dtype=attended.dtype)
    bucket = jnp.clip(jnp.searchsorted(edges, attended), 0, len(BUCKET_TOKENS) - 1)
    bucket_tokens = jnp.sum(jnp.where(bucket[:, None] == bucket[None], tokens[None], 0.0), axis=1)
    share = tokens / jnp.where(tokens > 0, bucket_tokens, 1.0)
    gemms = jax.vmap(lambda m: _gemms(m, arch, hardware))(bucket_tokens)
    mfu = jax.vmap(lambda length: hardware.mfu.prefill_attention(heads(arch), length))(edges[bucket])
    flops = requests.count * work.attention_flops(arch, requests.new_tokens, attended) / tier0.traffic.causal_divisor
    seconds = jnp.sum(share * gemms.seconds + flops / (hardware.peak_flops_per_s * mfu))
    return Compute(seconds, jnp.sum(share * gemms.flops + flops))
