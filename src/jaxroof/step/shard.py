"""A model's shape on one of the GPUs that share each layer."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Groups, Scalar


class Shard(NamedTuple):
    """A model's shape on one of T GPUs, by groups of layers; KV heads are replicated once T exceeds them.

    ``heads`` of queries, ``qkv`` columns of the first projection, which with compressed queries is followed by one of
    ``q_up`` columns; a latent cache is expanded to ``kv_up`` columns. ``q``, ``keys`` and ``values`` are the widths of
    what attention takes and gives, ``cached`` the numbers of cache per token. A query's pair with a cached token takes
    2·``pair`` FLOPs in decoding, where a latent is not expanded, and 2·``prefill_pair`` in prefill.
    ``experts`` whole or partial experts of width ``expert``; ``routed`` is the share of the (token, expert) pairs.
    """

    layers: Groups
    hidden: Scalar
    heads: Groups
    qkv: Groups
    q_up: Groups
    kv_up: Groups
    q: Groups
    keys: Groups
    values: Groups
    cached: Groups
    pair: Groups
    prefill_pair: Groups
    dense: Groups
    experts: Groups
    expert: Groups
    routed: Scalar
    vocab: Scalar


def sharded(arch: Architecture, deployment: Deployment) -> Shard:
    """Heads, widths and vocabulary over T GPUs; experts over ``ep`` groups, each expert over the T / ep GPUs of one.

    Latents, and what compresses queries and cache to them, are whole on every GPU.
    """
    tp, ep, layers = deployment.tp, deployment.ep, arch.layers
    latent, compressed = layers.latent, layers.q_lora_rank > 0
    heads = layers.num_attention_heads / tp
    kv_heads = jnp.where(layers.num_attention_heads > 0, jnp.maximum(1.0, layers.num_key_value_heads / tp), 0.0)
    q, values = layers.num_attention_heads * layers.head_dim / tp, heads * layers.value_dim
    rank, rope = layers.kv_lora_rank, layers.qk_rope_head_dim
    keys = jnp.where(latent, rope, kv_heads * layers.head_dim)
    of_heads = kv_heads * (layers.head_dim + layers.value_dim)
    projected = keys + (layers.kv_projections - 1) * kv_heads * layers.value_dim
    of_pair = heads * (layers.head_dim + layers.value_dim)
    return Shard(
        layers.num_hidden_layers,
        arch.hidden_size,
        heads,
        jnp.where(compressed, layers.q_lora_rank, q) + jnp.where(latent, rank + rope, projected),
        jnp.where(compressed, q, 0.0),
        jnp.where(latent, of_pair - heads * rope, 0.0),
        q,
        keys,
        values,
        jnp.where(latent, rank + rope, of_heads),
        jnp.where(latent, heads * (2 * rank + rope), of_pair),
        of_pair,
        layers.intermediate_size / tp,
        layers.num_experts / ep,
        layers.moe_intermediate_size / (tp / ep),
        1 / ep,
        arch.vocab_size / tp,
    )
