"""``kernels``: a step is a short list of kernels per layer, a head, and a host part.

Per GPU after sharding, each kernel costs ``floor + max(bytes / (BW·η), FLOPs / (P·μ))``, GEMMs with a smooth
maximum. Weights are read once per step: GEMMs run on all its tokens together, attention is added per phase.
Sources of the form and of every constant: ``docs/kernels.md``.
"""

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Flag, Hardware, Scalar, Tier0
from jaxroof.step import cost
from jaxroof.step.attention import attention
from jaxroof.step.base import Part, StepTime
from jaxroof.step.batch import Batch, Requests
from jaxroof.step.overhead import overhead_s
from jaxroof.step.shard import Shard, sharded

LOGIT_BYTES = 4  # sampling works in float32


def kernels(batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime:
    """``Σ kernels + host per step + host per request · requests + overhead`` [s], dense or MoE."""
    hardware, tp = tier0.hardware, deployment.tp
    shard = sharded(arch, deployment)
    tokens = _new_tokens(batch.prefill) + _new_tokens(batch.decode)
    sampled = jnp.sum(batch.prefill.count) + jnp.sum(batch.decode.count)
    in_graph = tokens <= tier0.host.graph_tokens
    parts = {
        **_projections(tokens, shard, arch, hardware),
        **attention(batch, shard, arch, hardware),
        **_ffn(tokens, shard, arch, hardware),
        **_elementwise(tokens, shard, arch, hardware),
        **_communication(tokens, sampled, in_graph, shard, arch, hardware, tp),
        **_head(sampled, shard, arch, tier0),
    }
    host = tier0.host.per_step_s + tier0.host.per_request_s * sampled
    overhead = host + overhead_s(tier0.overheads, arch, deployment, batch)
    total = sum(part.seconds for part in parts.values()) + overhead
    return StepTime(total, overhead, tier0.host.admission_s, parts)


def _new_tokens(requests: Requests) -> Scalar:
    return jnp.sum(requests.count * requests.new_tokens)


def _projections(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    b = arch.weight_bytes
    return {
        "qkv": cost.gemm(shard.layers, m, shard.hidden, shard.q + 2 * shard.kv, b, arch, hardware),
        "attention_output": cost.gemm(shard.layers, m, shard.q, shard.hidden, b, arch, hardware),
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


def _elementwise(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    """Five per layer as vLLM compiles it; the embedding and the final norm once."""
    token = m * arch.activation_bytes
    dense = jnp.where(shard.dense > 0, 1.0, 0.0)
    return {
        "norms": cost.streaming(2 * shard.layers + 1, 4 * shard.hidden * token, hardware),
        "rotary": cost.streaming(shard.layers, 2 * (shard.q + shard.kv) * token, hardware),
        "kv_cache_write": cost.streaming(shard.layers, 4 * shard.kv * token, hardware),
        "activation": cost.streaming(shard.layers * dense, 3 * shard.dense * token, hardware),
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


def _head(sampled: Scalar, shard: Shard, arch: Architecture, tier0: Tier0) -> dict[str, Part]:
    """LM head on the tokens that need logits, then passes of sampling over V."""
    logits = 2 * sampled * arch.vocab_size * LOGIT_BYTES
    head = cost.gemm(1.0, sampled, shard.hidden, shard.vocab, arch.activation_bytes, arch, tier0.hardware)
    return {"lm_head": head, "sampling": cost.streaming(tier0.host.sampling_passes, logits, tier0.hardware)}
