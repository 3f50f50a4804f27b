"""``kernels``: a step is a short list of kernels per layer, a head, and a host part.

Per GPU after sharding, each kernel costs ``floor + max(bytes / (BW·η), FLOPs / (P·μ))``, GEMMs with a smooth
maximum. Weights are read once per step: GEMMs run on all its tokens together, attention is added per phase.
Sources of the form and of every constant: ``docs/kernels.md``.
"""

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Flag, Hardware, Scalar, Server, Tier0
from jaxroof.step import cost, host, sampling
from jaxroof.step.attention import attention
from jaxroof.step.base import Part, StepTime
from jaxroof.step.batch import Batch, Requests
from jaxroof.step.overhead import overhead_s
from jaxroof.step.shard import Shard, sharded


def kernels(batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime:
    """Forward pass, sampler, what the host adds (:func:`jaxroof.step.host.exposed_s`), overhead [s]; dense or MoE."""
    hardware, server, tp = tier0.hardware, tier0.server, deployment.tp
    shard = sharded(arch, deployment)
    tokens = _new_tokens(batch.prefill) + _new_tokens(batch.decode)
    sampled = jnp.sum(batch.prefill.count) + jnp.sum(batch.decode.count)
    largest, of_slots = server.graph_limits
    in_graph = (tokens <= largest) & (tokens <= of_slots)
    forward = {
        **_projections(tokens, shard, arch, hardware),
        **attention(batch, shard, arch, hardware),
        **_ffn(tokens, shard, arch, tier0),
        **_elementwise(tokens, shard, arch, tp, tier0),
        **_communication(tokens, sampled, in_graph, shard, arch, hardware, tp),
        "lm_head": cost.gemm(1.0, sampled, shard.hidden, shard.vocab, arch.activation_bytes, arch, hardware),
    }
    sampler = sampling.sampler(batch, sampled, arch, hardware, server)
    forward_s, sampler_s = (sum(part.seconds for part in parts.values()) for parts in (forward, sampler))
    tables_s = sampling.penalties_host_s(batch, sampled, server)
    exposed_s = host.exposed_s(forward_s, sampler_s, tables_s, sampled, server)
    overhead = exposed_s + overhead_s(tier0.overheads, arch, deployment, batch)
    queued = server.queued_steps * jnp.minimum(jnp.sum(batch.decode.count), 1.0)
    total_s, parts = forward_s + sampler_s + overhead, forward | sampler
    return StepTime(total_s, overhead, server.admission_s, queued, jnp.zeros_like(total_s), parts)


def _new_tokens(requests: Requests) -> Scalar:
    return jnp.sum(requests.count * requests.new_tokens)


def _projections(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    b = arch.weight_bytes
    return {
        "qkv": cost.gemm(shard.layers, m, shard.hidden, shard.q + 2 * shard.kv, b, arch, hardware),
        "attention_output": cost.gemm(shard.layers, m, shard.q, shard.hidden, b, arch, hardware),
    }


def _ffn(m: Scalar, shard: Shard, arch: Architecture, tier0: Tier0) -> dict[str, Part]:
    """Dense FFN (or shared experts), and the routed experts as one block."""
    hardware, b = tier0.hardware, arch.weight_bytes
    return {
        "gate_up": cost.gemm(shard.layers, m, shard.hidden, 2 * shard.dense, b, arch, hardware),
        "down": cost.gemm(shard.layers, m, shard.dense, shard.hidden, b, arch, hardware),
        "experts": cost.slowed(_experts(m, shard, arch, hardware), _untuned(m, shard, tier0.server)),
    }


def _experts(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> Part:
    """Router, both grouped GEMMs, activation; m tokens touch ``E·(1 − (1 − k/E)^m)`` of a GPU's E experts."""
    constants, experts = hardware.kernels.moe, arch.num_experts
    routed = experts > 0
    chosen = jnp.where(routed, arch.num_experts_per_tok / jnp.where(routed, experts, 1.0), 0.5)
    # 1 − k/E is 0 where every expert is chosen: keep log 0 out of the gradient.
    missed = jnp.where(chosen < 1, jnp.where(chosen < 1, 1 - chosen, 0.5) ** m, 0.0)
    touched, pairs = shard.experts * (1 - missed), m * arch.num_experts_per_tok * shard.routed
    matrix, router = 3 * shard.hidden * shard.expert, experts * shard.hidden
    activations = 2 * pairs * (shard.hidden + 1.5 * shard.expert) + router
    moved = touched * matrix * arch.weight_bytes + activations * arch.activation_bytes
    flops = 2 * (pairs * matrix + m * router)
    floor_s = constants.floor_s + constants.per_expert_s * touched
    rates = cost.product_rates(constants.hbm_efficiency, constants.mfu, arch.weight_bytes, hardware)
    return cost.kernel(shard.layers * jnp.where(routed, 1.0, 0.0), floor_s, moved, flops, rates)


def _untuned(m: Scalar, shard: Shard, server: Server) -> Scalar:
    """How much longer the experts of m tokens take where the engine has no tuned tiles for their shape."""
    experts, width = server.tuned_moe.T
    tuned = jnp.any((experts == shard.experts) & (width == shard.expert))
    # The default tiles are as good up to 64 tokens and from 1024 on, and slower at 96 to 512 (vLLM PRs 44830, 45142).
    amiss = jnp.clip((m - 64) / (96 - 64), 0.0, 1.0) * jnp.clip((1024 - m) / (1024 - 512), 0.0, 1.0)
    return jnp.where(tuned, 1.0, 1 + (server.untuned_moe_slowdown - 1) * amiss)


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
    """Two all-reduces per layer and one of the embedding; NCCL gathers the head's logits outside the graph."""
    link, several = hardware.link, jnp.where(tp > 1, 1.0, 0.0)
    reduced, logits = (width * arch.activation_bytes for width in (m * shard.hidden, sampled * arch.vocab_size))
    gathering = link.nccl_speed(tp)._replace(latency_s=link.eager_latency_s)

    def collective(count: Scalar | float, seconds: Scalar, latency_s: Scalar, moved: Scalar) -> Part:
        return cost.transfer(count * several, seconds, latency_s, moved, hardware.link_bytes_per_s)

    return {
        "all_reduce": collective(2 * shard.layers + 1, *link.all_reduce(tp, reduced, in_graph), reduced),
        "logits_gather": collective(1.0, gathering.seconds(logits), gathering.latency_s, logits),
    }
