"""``kernels``: a step is a short list of kernels per layer, a head, and a host part.

Per GPU after sharding, each kernel costs ``floor + max(bytes / (BW·η), FLOPs / (P·μ))``, GEMMs with a smooth
maximum. Weights are read once per step: GEMMs run on all its tokens together, attention is added per phase.
Sources of the form and of every constant: ``docs/kernels.md``.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from jaxroof import weights
from jaxroof.parameters import Architecture, Deployment, Flag, Groups, Hardware, Scalar, Server, Tier0, Values
from jaxroof.step import cost, host, precision, sampling
from jaxroof.step.attention import attention
from jaxroof.step.base import Part, StepTime
from jaxroof.step.batch import Batch, Requests
from jaxroof.step.overhead import overhead_s
from jaxroof.step.sampling import LOGIT_BYTES
from jaxroof.step.shard import Shard, sharded


def kernels(batch: Batch, arch: Architecture, deployment: Deployment, tier0: Tier0) -> StepTime:
    """Forward pass, sampler, what the host adds (:func:`jaxroof.step.host.exposed_s`), overhead [s]; dense or MoE."""
    hardware, server, tp = tier0.hardware, tier0.server, deployment.tp
    shard = sharded(arch, deployment)
    tokens = _new_tokens(batch.prefill) + _new_tokens(batch.decode)
    sampled = jnp.sum(batch.prefill.count) + jnp.sum(batch.decode.count)
    largest, of_slots = server.graph_limits
    in_graph = (tokens <= largest) & (tokens <= of_slots)
    # Products last: what a sweep over their constants leaves alone is then summed once, not once for each setting.
    of_groups = {
        **_elementwise(tokens, shard, arch, hardware, server),
        **_routing(tokens, shard, arch, hardware, server),
        **attention(batch, shard, arch, hardware),
        **_projections(tokens, batch, shard, arch, hardware),
        **_ffn(tokens, shard, arch, tier0),
    }
    forward = {
        **_once(tokens, shard, arch, tp, tier0),
        **_communication(tokens, sampled, in_graph, shard, arch, hardware, tp),
        **jax.tree.map(jnp.sum, of_groups),
        "lm_head": cost.gemm(1.0, sampled, shard.hidden, shard.vocab, precision.head(arch, hardware), arch, hardware),
    }
    sampler = sampling.sampler(batch, sampled, arch, hardware, server)
    forward_s, sampler_s = (sum(part.seconds for part in parts.values()) for parts in (forward, sampler))
    launches = sum(part.launches for part in forward.values())
    launched_s = host.launched_s(forward_s, launches, in_graph, server)
    tables_s = sampling.penalties_host_s(batch, sampled, server)
    exposed_s = host.exposed_s(launched_s, sampler_s, tables_s, sampled, server)
    of_host = exposed_s + overhead_s(tier0.overheads, arch, deployment, batch)
    queued = server.queued_steps * jnp.minimum(jnp.sum(batch.decode.count), 1.0)
    total_s, parts = launched_s + sampler_s + of_host, forward | sampler
    overhead = launched_s - forward_s + of_host
    return StepTime(total_s, overhead, server.admission_s, queued, jnp.zeros_like(total_s), parts)


def _new_tokens(requests: Requests) -> Scalar:
    return jnp.sum(requests.count * requests.new_tokens)


def _projections(m: Scalar, batch: Batch, shard: Shard, arch: Architecture, hardware: Hardware) -> dict[str, Part]:
    """Of queries, keys and values, and of attention's output; a latent is expanded for every token of a prefill."""
    of = precision.products(arch.layers.attention_weight_bytes, "attention", arch, hardware)

    def product(rows: Scalar, k: Values, n: Values) -> Part:
        return cost.gemm(shard.layers, rows, k, n, of, arch, hardware)

    ends = {"qkv": product(m, shard.hidden, shard.qkv), "attention_output": product(m, shard.values, shard.hidden)}
    if arch.layers.latents is None:
        return ends
    of_prompts = batch.prefill.count * (batch.prefill.context_tokens + batch.prefill.new_tokens)
    expanded = _new_tokens(batch.decode) + jnp.sum(of_prompts)
    return ends | {
        "q_up": product(m, arch.layers.q_lora_rank, shard.q_up),
        "kv_up": product(expanded, arch.layers.kv_lora_rank, shard.kv_up),
    }


def _ffn(m: Scalar, shard: Shard, arch: Architecture, tier0: Tier0) -> dict[str, Part]:
    """Dense FFN (or shared experts), and the routed experts as one block."""
    hardware, layers = tier0.hardware, arch.layers
    of, inner = (
        precision.products(layers.ffn_weight_bytes, "ffn", arch, hardware),
        (layers.ffn_matrices - 1) * shard.dense,
    )
    return {
        "gate_up": cost.gemm(shard.layers, m, shard.hidden, inner, of, arch, hardware),
        "down": cost.gemm(shard.layers, m, shard.dense, shard.hidden, of, arch, hardware),
        "experts": cost.slowed(_experts(m, shard, arch, tier0), _untuned(m, shard, tier0.server)),
    }


def _experts(m: Scalar, shard: Shard, arch: Architecture, tier0: Tier0) -> Part:
    """Router, both grouped GEMMs, activation; m tokens touch ``E·(1 − (1 − k/E)^m)`` of a GPU's E experts."""
    hardware, layers, experts = tier0.hardware, arch.layers, arch.layers.num_experts
    constants, flops_per_s = precision.experts(arch, hardware)
    routed = experts > 0
    chosen = jnp.where(routed, layers.num_experts_per_tok / jnp.where(routed, experts, 1.0), 0.5)
    # 1 − k/E is 0 where every expert is chosen: keep log 0 out of the gradient.
    missed = jnp.where(chosen < 1, jnp.where(chosen < 1, 1 - chosen, 0.5) ** m, 0.0)
    touched, pairs = shard.experts * (1 - missed), m * layers.num_experts_per_tok * shard.routed
    matrix, router = layers.ffn_matrices * shard.hidden * shard.expert, weights.router(shard.hidden, layers)
    activations = pairs * (2 * shard.hidden + layers.ffn_matrices * shard.expert)
    moved = touched * matrix * layers.expert_weight_bytes + (activations + router) * arch.activation_bytes
    flops, count = 2 * (pairs * matrix + m * router), shard.layers * jnp.where(routed, 1.0, 0.0)
    passes_s = constants.input_pass_bytes * activations / hardware.hbm_bytes_per_s
    floor_s = constants.floor_s + constants.per_expert_s * touched + passes_s
    rates = cost.Rates(hardware.hbm_bytes_per_s, constants.hbm_efficiency, flops_per_s, constants.mfu)
    join, idle = partial(cost.smooth_maximum, smoothness=constants.smoothness), constants.tile_rows * touched * matrix
    block = cost.kernel(count, floor_s, moved, flops, rates, join, 2 * idle)
    return dataclasses.replace(block, launches=block.launches * tier0.server.expert_launches)


def _untuned(m: Scalar, shard: Shard, server: Server) -> Groups:
    """How much longer the experts of m tokens take where the engine has no tuned tiles for their shape."""
    experts, width = server.tuned_moe.T
    tuned = jnp.any((experts[None] == shard.experts[:, None]) & (width[None] == shard.expert[:, None]), axis=1)
    # The default tiles are as good up to 64 tokens and from 1024 on, and slower at 96 to 512 (vLLM PRs 44830, 45142).
    amiss = jnp.clip((m - 64) / (96 - 64), 0.0, 1.0) * jnp.clip((1024 - m) / (1024 - 512), 0.0, 1.0)
    return jnp.where(tuned, 1.0, 1 + (server.untuned_moe_slowdown - 1) * amiss)


def _elementwise(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware, server: Server) -> dict[str, Part]:
    """As many per layer as the engine launches."""
    launches, token, layers = server.elementwise, m * arch.activation_bytes, arch.layers
    dense, attends = jnp.where(shard.dense > 0, 1.0, 0.0), jnp.where(shard.heads > 0, shard.layers, 0.0)
    rotated = normed = shard.q + shard.keys
    if layers.latents is not None:
        rotated = jnp.where(layers.latent, (shard.heads + 1) * layers.qk_rope_head_dim, rotated)
        normed = jnp.where(layers.latent, layers.q_lora_rank + layers.kv_lora_rank, normed)
    kernels = {
        "qk_norms": cost.streaming(
            launches.qk_norms_per_layer * layers.qk_norm * attends, 2 * normed * token, hardware
        ),
        "rotary": cost.streaming(launches.rotary_per_layer * attends, 2 * rotated * token, hardware),
        "kv_cache_write": cost.streaming(launches.cache_writes_per_layer * attends, 2 * shard.cached * token, hardware),
        "activation": cost.streaming(
            launches.activations_per_layer * shard.layers * dense, layers.ffn_matrices * shard.dense * token, hardware
        ),
    }
    if layers.inputs is None:
        return kernels
    # Attention's output alone has no kernel before it that quantises it too.
    width, apart = layers.inputs.attention_input_bytes, precision.quantised_apart(layers.inputs, hardware)
    count = launches.quantisations_per_layer * jnp.where(apart, attends, 0.0)
    return kernels | {
        "quantisation": cost.streaming(count, shard.values * m * (arch.activation_bytes + width), hardware)
    }


def _routing(m: Scalar, shard: Shard, arch: Architecture, hardware: Hardware, server: Server) -> dict[str, Part]:
    """What a router launches beyond the fused top-k that the experts' block has; each reads and writes its logits."""
    does, more = arch.layers.routing, server.router
    if does is None:
        return {}
    bias, groups = does.router_bias, does.router_groups
    count = bias * (1 - groups) * more.bias + groups * (1 - bias) * more.groups + bias * groups * more.bias_and_groups
    count += does.router_late_sigmoid * more.late_sigmoid
    logits = m * arch.layers.num_experts * LOGIT_BYTES
    return {"routing": cost.streaming(count * shard.layers, 2 * logits, hardware)}


def _once(m: Scalar, shard: Shard, arch: Architecture, tp: Scalar, tier0: Tier0) -> dict[str, Part]:
    """Norms, of equal width in all layers and one at the end, and the embedding."""
    hardware, launches = tier0.hardware, tier0.server.elementwise
    token = shard.hidden * m * arch.activation_bytes
    # An engine that fuses norms into all-reduces launches none where there are any.
    fused = (launches.all_reduce_norms > 0) & (tp > 1)
    norms = jnp.where(fused, 0.0, launches.norms_per_layer * jnp.sum(shard.layers))
    return {
        "norms": cost.streaming(norms + 1, 4 * token, hardware),
        "embedding": cost.streaming(1.0, 2 * token, hardware),
    }


def _communication(
    m: Scalar, sampled: Scalar, in_graph: Flag, shard: Shard, arch: Architecture, hardware: Hardware, tp: Scalar
) -> dict[str, Part]:
    """An all-reduce after attention, one after the FFN, one of the embedding; NCCL gathers the head's logits."""
    link, several = hardware.link, jnp.where(tp > 1, 1.0, 0.0)
    reduced, logits = (width * arch.activation_bytes for width in (m * shard.hidden, sampled * arch.vocab_size))
    gathering = link.nccl_speed(tp)._replace(latency_s=link.eager_latency_s)
    blocks = jnp.where(shard.heads > 0, 1.0, 0.0) + jnp.where((shard.dense > 0) | (shard.experts > 0), 1.0, 0.0)

    def collective(count: Scalar | float, seconds: Scalar, latency_s: Scalar, moved: Scalar) -> Part:
        return cost.transfer(count * several, seconds, latency_s, moved, hardware.link_bytes_per_s)

    return {
        "all_reduce": collective(jnp.sum(shard.layers * blocks) + 1, *link.all_reduce(tp, reduced, in_graph), reduced),
        "logits_gather": collective(1.0, gathering.seconds(logits), gathering.latency_s, logits),
    }
