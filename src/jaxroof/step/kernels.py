"""``kernels``: a step is a short list of kernels per layer, a head, and a host part.

Per GPU after sharding, each kernel costs ``floor + max(bytes / (BW·η), FLOPs / (P·μ))``. Weights are
read once per step: GEMMs run on all its tokens together, attention is added per phase.
Sources of the form and of every constant: ``docs/kernels.md``.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxroof.hardware import Hardware
from jaxroof.leaves import Scalar
from jaxroof.overhead import overhead_s
from jaxroof.params import Architecture, Batch, Deployment, Requests, Tier0
from jaxroof.step.base import Part, StepTime, present

LOGIT_BYTES = 4  # sampling works in float32


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
    """``Σ kernels + host per step + host per request · requests + overhead`` [s], dense or MoE."""
    hardware, tp = tier0.hardware, deployment.tp
    shard = _shard(arch, tp)
    tokens = _new_tokens(batch.prefill) + _new_tokens(batch.decode)
    sampled = jnp.sum(batch.prefill.count) + jnp.sum(batch.decode.count)
    in_graph = tokens <= tier0.host.graph_tokens
    parts = {
        **_projections(tokens, shard, arch, hardware),
        **_attention(batch, shard, arch, hardware),
        **_ffn(tokens, shard, arch, hardware),
        **_elementwise(tokens, shard, arch, hardware),
        **_communication(tokens, sampled, in_graph, shard, arch, hardware, tp),
        **_head(sampled, shard, arch, tier0),
    }
    host = tier0.host.per_step_s + tier0.host.per_request_s * sampled
    overhead = host + overhead_s(tier0.overheads, arch, deployment, batch)
    total = sum(part.seconds for part in parts.values()) + overhead
    return StepTime(total, overhead, tier0.host.admission_s, parts)


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


def _part(count: Scalar | float, floor_s: Scalar, memory_s: Scalar, compute_s: Scalar, work: tuple) -> Part:
    """``count`` equal kernels; ``work`` is (bytes, FLOPs) of one."""
    seconds = floor_s + jnp.maximum(memory_s, compute_s)
    return Part(*(count * x for x in (seconds, memory_s, compute_s, *work)))


def _gemm(
    count: Scalar, m: Scalar, k: Scalar, n: Scalar, weight_bytes: Scalar, arch: Architecture, hardware: Hardware
) -> Part:
    """``count`` products (m, k) × (k, n): inputs as narrow as the weights, FP8 ones at the FP8 rate."""
    kernel, narrow = hardware.kernels.gemm, jnp.minimum(weight_bytes, arch.activation_bytes)
    moved = k * n * weight_bytes + m * k * narrow + m * n * arch.activation_bytes
    flops = 2 * m * k * n
    memory_s = moved / (hardware.hbm_bytes_per_s * kernel.hbm_efficiency)
    compute_s = flops / (_rate(weight_bytes, hardware) * kernel.mfu)
    # A model without this matrix does not launch the kernel.
    return _part(count * jnp.where(k * n > 0, 1.0, 0.0), kernel.floor_s, memory_s, compute_s, (moved, flops))


def _rate(weight_bytes: Scalar, hardware: Hardware) -> Scalar:
    return jnp.where(weight_bytes > 1, hardware.peak_flops_per_s, hardware.fp8_flops_per_s)


def _projections(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    b = arch.weight_bytes
    return {
        "qkv": _gemm(shard.layers, m, shard.hidden, shard.q + 2 * shard.kv, b, arch, hardware),
        "attention output": _gemm(shard.layers, m, shard.q, shard.hidden, b, arch, hardware),
    }


def _attention(batch: Batch, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    """Decode reads every request's KV cache; prefill does causal FLOPs, c·m + m²/2 pairs per head."""
    decode, prefill = hardware.kernels.decode_attention, hardware.kernels.prefill_attention
    bytes_per_s = hardware.hbm_bytes_per_s * decode.hbm_efficiency
    flops_per_s = hardware.peak_flops_per_s * prefill.mfu

    def phase(requests: Requests, floor_s: Scalar, half_length: Scalar | float) -> Part:
        m, c = requests.new_tokens, requests.context_tokens
        moved = jnp.sum(requests.count * (c + m)) * 2 * shard.kv * arch.activation_bytes
        flops = 4 * shard.q * requests.count * m * (c + m / 2)
        compute_s = jnp.sum(flops * (1 + half_length / jnp.where(m > 0, m, 1.0))) / flops_per_s
        count = shard.layers * present(requests)
        return _part(count, floor_s, moved / bytes_per_s, compute_s, (moved, jnp.sum(flops)))

    return {
        "decode attention": phase(batch.decode, decode.floor_s, 0.0),
        "prefill attention": phase(batch.prefill, prefill.floor_s, prefill.half_length_tokens),
    }


def _ffn(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    """Dense FFN (or shared experts), and the routed experts as one block."""
    b = arch.weight_bytes
    return {
        "gate and up": _gemm(shard.layers, m, shard.hidden, 2 * shard.dense, b, arch, hardware),
        "down": _gemm(shard.layers, m, shard.dense, shard.hidden, b, arch, hardware),
        "experts": _experts(m, shard, arch, hardware),
    }


def _experts(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> Part:
    """Router, both grouped GEMMs, activation; m tokens touch ``E·(1 − (1 − k/E)^m)`` experts."""
    kernel, experts = hardware.kernels.moe, arch.num_experts
    routed = experts > 0
    chosen = jnp.where(routed, arch.num_experts_per_tok / jnp.where(routed, experts, 1.0), 0.5)
    # 1 − k/E is 0 where every expert is chosen: keep log 0 out of the gradient.
    missed = jnp.where(chosen < 1, jnp.where(chosen < 1, 1 - chosen, 0.5) ** m, 0.0)
    matrix = 3 * shard.hidden * shard.expert
    router = experts * shard.hidden
    moved = experts * (1 - missed) * matrix * arch.weight_bytes + router * arch.activation_bytes
    flops = 2 * m * (arch.num_experts_per_tok * matrix + router)
    memory_s = moved / (hardware.hbm_bytes_per_s * kernel.hbm_efficiency)
    compute_s = flops / (_rate(arch.weight_bytes, hardware) * kernel.mfu)
    count = shard.layers * jnp.where(routed, 1.0, 0.0)
    return _part(count, kernel.floor_s, memory_s, compute_s, (moved, flops))


def _streaming(count: Scalar | float, moved: Scalar, hardware: Hardware) -> Part:
    kernel = hardware.kernels.elementwise
    memory_s = moved / (hardware.hbm_bytes_per_s * kernel.hbm_efficiency)
    none = jnp.zeros_like(memory_s)
    return _part(count, kernel.floor_s, memory_s, none, (moved, none))


def _elementwise(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    """Five per layer as vLLM compiles it; the embedding and the final norm once."""
    token = m * arch.activation_bytes
    dense = jnp.where(shard.dense > 0, 1.0, 0.0)
    return {
        "norms and residuals": _streaming(2 * shard.layers + 1, 4 * shard.hidden * token, hardware),
        "rotary": _streaming(shard.layers, 2 * (shard.q + shard.kv) * token, hardware),
        "KV-cache write": _streaming(shard.layers, 4 * shard.kv * token, hardware),
        "activation": _streaming(shard.layers * dense, 3 * shard.dense * token, hardware),
        "embedding": _streaming(1.0, 2 * shard.hidden * token, hardware),
    }


def _communication(
    m: Scalar, sampled: Scalar, in_graph: Scalar, shard: Shard, arch: Architecture, hardware: Hardware, tp: Scalar
) -> dict[str, Part]:
    """Two all-reduces per layer and one of the embedding; the head's logits are gathered outside the graph."""
    link, several = hardware.link, jnp.where(tp > 1, 1.0, 0.0)

    def collective(count: Scalar, latency_s: Scalar, moved: Scalar) -> Part:
        return _part(count * several, latency_s, moved / link.bytes_per_s(tp), jnp.zeros_like(moved), (moved, 0.0))

    latency_s = jnp.where(in_graph, link.latency_s(tp), link.eager_latency_s)
    return {
        "all-reduce": collective(2 * shard.layers + 1, latency_s, m * shard.hidden * arch.activation_bytes),
        "logits gather": collective(1.0, link.eager_latency_s, sampled * arch.vocab_size * arch.activation_bytes),
    }


def _head(sampled: Scalar, shard: Shard, arch: Architecture, tier0: Tier0) -> dict[str, Part]:
    """LM head on the tokens that need logits, then passes of sampling over V."""
    logits = 2 * sampled * arch.vocab_size * LOGIT_BYTES
    head = _gemm(1.0, sampled, shard.hidden, shard.vocab, arch.activation_bytes, arch, tier0.hardware)
    return {"LM head": head, "sampling": _streaming(tier0.host.sampling_passes, logits, tier0.hardware)}
