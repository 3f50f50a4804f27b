"""``kernels``: a step is a short list of kernels per layer, a head, and a host part.

Per GPU after sharding, each kernel costs ``floor + max(bytes / (BW·η), FLOPs / (P·μ))``. Weights are
read once per step: GEMMs run on all its tokens together, attention is added per phase.
Sources of the form and of every constant: ``docs/kernels.md``.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Flag, Hardware, Scalar, Tier0
from jaxroof.step import cost, host, sampling
from jaxroof.step.base import Part, StepTime, present
from jaxroof.step.batch import Batch, Requests
from jaxroof.step.overhead import overhead_s


class Shard(NamedTuple):
    """A model's shape on one of T GPUs; KV heads are replicated once T exceeds them."""

    layers: Scalar
    hidden: Scalar
    q: Scalar
    kv: Scalar
    dense: Scalar
    expert: Scalar
    vocab: Scalar


def kernels(batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime:
    """Forward pass, sampler and host as :func:`jaxroof.step.host.step_s` joins them, and overhead [s]; dense or MoE."""
    hardware, server, tp = tier0.hardware, tier0.server, deployment.tp
    shard = _shard(arch, tp)
    tokens = _new_tokens(batch.prefill) + _new_tokens(batch.decode)
    sampled = jnp.sum(batch.prefill.count) + jnp.sum(batch.decode.count)
    largest, of_slots = server.graph_limits
    in_graph = (tokens <= largest) & (tokens <= of_slots)
    forward = {
        **_projections(tokens, shard, arch, hardware),
        **_attention(batch, shard, arch, hardware),
        **_ffn(tokens, shard, arch, hardware),
        **_elementwise(tokens, shard, arch, tp, tier0),
        **_communication(tokens, sampled, in_graph, shard, arch, hardware, tp),
        "lm_head": cost.gemm(1.0, sampled, shard.hidden, shard.vocab, arch.activation_bytes, arch, hardware),
    }
    sampler = sampling.sampler(batch, sampled, arch, hardware, server)
    forward_s, sampler_s = (sum(part.seconds for part in parts.values()) for parts in (forward, sampler))
    penalties_s = sampling.penalties_host_s(batch, sampled, server)
    together_s = host.step_s(forward_s, sampler_s, penalties_s, sampled, server)
    formula_s = overhead_s(tier0.overheads, arch, deployment, batch)
    exposed_s = together_s - forward_s - sampler_s
    queued = server.queued_steps * jnp.minimum(jnp.sum(batch.decode.count), 1.0)
    return StepTime(together_s + formula_s, exposed_s + formula_s, server.admission_s, queued, forward | sampler)


def _shard(arch: Architecture, tp: Scalar) -> Shard:
    return Shard(
        arch.num_hidden_layers,
        arch.hidden_size,
        arch.num_attention_heads * arch.head_dim / tp,
        jnp.maximum(1.0, arch.num_key_value_heads / tp) * arch.head_dim,
        arch.intermediate_size / tp,
        arch.moe_intermediate_size / tp,
        arch.vocab_size / tp,
    )


def _new_tokens(requests: Requests) -> Scalar:
    return jnp.sum(requests.count * requests.new_tokens)


def _projections(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    b = arch.weight_bytes
    return {
        "qkv": cost.gemm(shard.layers, m, shard.hidden, shard.q + 2 * shard.kv, b, arch, hardware),
        "attention_output": cost.gemm(shard.layers, m, shard.q, shard.hidden, b, arch, hardware),
    }


def _attention(batch: Batch, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    """Decode reads every request's KV cache; prefill does causal FLOPs, c·m + m²/2 pairs per head.

    Prefill MFU grows with length: a new token costs h/2 pairs more than it attends to, h = ``half_length``:
    time = FLOPs / (P·μ) · (c·m + m²/2 + m·h/2) / (c·m + m²/2), and for c = 0 that is FLOPs / (P·μ) · (1 + h/m).
    ``busy`` is the inverse of that fraction, so that P·μ·busy is the rate reached.
    """
    decode, prefill = hardware.kernels.decode_attention, hardware.kernels.prefill_attention
    rates = cost.Rates(hardware.hbm_bytes_per_s, decode.hbm_efficiency, hardware.peak_flops_per_s, prefill.mfu)

    def phase(requests: Requests, floor_s: Scalar, idle_tokens: Scalar | float) -> Part:
        m, c, per_pair = requests.new_tokens, requests.context_tokens, 4 * shard.q * requests.count
        moved = jnp.sum(requests.count * (c + m)) * 2 * shard.kv * arch.activation_bytes
        flops, idle = jnp.sum(per_pair * m * (c + m / 2)), jnp.sum(per_pair * m * idle_tokens)
        # Work over time at the ceiling: the share of it that an absent phase reaches does not matter.
        busy = jnp.where(flops > 0, flops, 1.0) / jnp.where(flops > 0, flops + idle, 1.0)
        count = shard.layers * present(requests)
        return cost.kernel(count, floor_s, moved, flops, rates._replace(mfu=prefill.mfu * busy))

    return {
        "decode_attention": phase(batch.decode, decode.floor_s, 0.0),
        "prefill_attention": phase(batch.prefill, prefill.floor_s, prefill.half_length_tokens / 2),
    }


def _ffn(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    """Dense FFN (or shared experts), and the routed experts as one block."""
    b = arch.weight_bytes
    return {
        "gate_up": cost.gemm(shard.layers, m, shard.hidden, 2 * shard.dense, b, arch, hardware),
        "down": cost.gemm(shard.layers, m, shard.dense, shard.hidden, b, arch, hardware),
        "experts": _experts(m, shard, arch, hardware),
    }


def _experts(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> Part:
    """Router, both grouped GEMMs, activation; m tokens touch ``E·(1 − (1 − k/E)^m)`` experts."""
    constants, experts = hardware.kernels.moe, arch.num_experts
    routed = experts > 0
    chosen = jnp.where(routed, arch.num_experts_per_tok / jnp.where(routed, experts, 1.0), 0.5)
    # 1 − k/E is 0 where every expert is chosen: keep log 0 out of the gradient.
    missed = jnp.where(chosen < 1, jnp.where(chosen < 1, 1 - chosen, 0.5) ** m, 0.0)
    matrix, router = 3 * shard.hidden * shard.expert, experts * shard.hidden
    pairs = m * arch.num_experts_per_tok
    activations = 2 * pairs * (shard.hidden + 1.5 * shard.expert) + router
    moved = experts * (1 - missed) * matrix * arch.weight_bytes + activations * arch.activation_bytes
    flops = 2 * (pairs * matrix + m * router)
    count = shard.layers * jnp.where(routed, 1.0, 0.0)
    return cost.kernel(count, constants.floor_s, moved, flops, cost.gemm_rates(constants, arch.weight_bytes, hardware))


def _elementwise(m: Scalar, shard: Shard, arch: Architecture, tp: Scalar, tier0: Tier0) -> dict[str, Part]:
    """As many per layer as the engine launches; the embedding and the final norm once."""
    hardware, launches, token = tier0.hardware, tier0.server.elementwise, m * arch.activation_bytes
    dense = jnp.where(shard.dense > 0, 1.0, 0.0)
    # An engine that fuses norms into all-reduces launches none where there are any.
    norms = jnp.where((launches.all_reduce_norms > 0) & (tp > 1), 0.0, launches.norms_per_layer * shard.layers)
    rotary, writes = (count * shard.layers for count in (launches.rotary_per_layer, launches.cache_writes_per_layer))
    activations = launches.activations_per_layer * shard.layers * dense
    return {
        "norms": cost.streaming(norms + 1, 4 * shard.hidden * token, hardware),
        "rotary": cost.streaming(rotary, 2 * (shard.q + shard.kv) * token, hardware),
        "kv_cache_write": cost.streaming(writes, 4 * shard.kv * token, hardware),
        "activation": cost.streaming(activations, 3 * shard.dense * token, hardware),
        "embedding": cost.streaming(1.0, 2 * shard.hidden * token, hardware),
    }


def _communication(
    m: Scalar, sampled: Scalar, in_graph: Flag, shard: Shard, arch: Architecture, hardware: Hardware, tp: Scalar
) -> dict[str, Part]:
    """Two all-reduces per layer and one of the embedding; the head's logits are gathered outside the graph."""
    link, several = hardware.link, jnp.where(tp > 1, 1.0, 0.0)
    # The share of the link's data-sheet rate that the algorithm reaches is its efficiency.
    reached = link.bytes_per_s(tp) / hardware.link_bytes_per_s
    rates = cost.Rates(hardware.link_bytes_per_s, reached, hardware.peak_flops_per_s, 1.0)

    def collective(count: Scalar | float, latency_s: Scalar, moved: Scalar) -> Part:
        return cost.kernel(count * several, latency_s, moved, 0.0, rates)

    latency_s = jnp.where(in_graph, link.latency_s(tp), link.eager_latency_s)
    return {
        "all_reduce": collective(2 * shard.layers + 1, latency_s, m * shard.hidden * arch.activation_bytes),
        "logits_gather": collective(1.0, link.eager_latency_s, sampled * arch.vocab_size * arch.activation_bytes),
    }
