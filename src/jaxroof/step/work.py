"""Work of one step before sharding: bytes and FLOPs, per weight, KV cache, activation and kernel."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxroof import weights
from jaxroof.parameters import Architecture, Scalar, Traffic
from jaxroof.step.batch import Requests
from jaxroof.step.shard import Shard


def gemm_shapes(arch: Architecture) -> tuple[Float[Array, "7"], Float[Array, "7"]]:
    """(k, n) of the seven GEMMs of a layer of the first kind: Q, K, V, O, gate, up, down."""
    layers, h, i = arch.layers, arch.hidden_size, arch.layers.intermediate_size[0]
    q, kv = ((heads * layers.head_dim)[0] for heads in (layers.num_attention_heads, layers.num_key_value_heads))
    return jnp.stack([h, h, h, q, h, h, i]), jnp.stack([q, kv, kv, h, i, i, h])


def layer_weight_bytes(arch: Architecture) -> Scalar:
    """Bytes of the layers' matrices without routed experts, which a step reads once [B]; ``b·L·Σ k·n`` if all equal."""
    hidden, layers = arch.hidden_size, arch.layers
    attention = weights.attention(hidden, layers) * layers.attention_weight_bytes
    ffn = weights.ffn(hidden, layers) * layers.ffn_weight_bytes
    return jnp.sum(layers.num_hidden_layers * (attention + ffn))


def gpu_weight_bytes(shard: Shard, arch: Architecture) -> Scalar:
    """All weights on one GPU: layers, routed experts and what chooses them, embedding and head [B]."""
    layers = arch.layers
    columns = shard.hidden * (shard.qkv + shard.values) + layers.q_lora_rank * shard.q_up
    attention = (columns + layers.kv_lora_rank * shard.kv_up) * layers.attention_weight_bytes
    ffn = layers.ffn_matrices * shard.hidden * shard.dense * layers.ffn_weight_bytes
    experts = shard.experts * layers.ffn_matrices * shard.hidden * shard.expert * layers.expert_weight_bytes
    router = weights.router(shard.hidden, layers) * arch.activation_bytes
    embeddings = arch.embedding_bytes + (1 - arch.tie_word_embeddings) * arch.head_bytes
    of_layers = jnp.sum(shard.layers * (attention + ffn + experts + router))
    return of_layers + embeddings * shard.vocab * shard.hidden


def kv_bytes_per_token(arch: Architecture) -> Scalar:
    """``2·L·g·d·b`` where all layers are equal [B]."""
    return jnp.sum(arch.layers.num_hidden_layers * weights.cached(arch.layers)) * arch.kv_cache_bytes


def request_bytes(arch: Architecture, requests: Requests, traffic: Traffic) -> Scalar:
    """Σ K·m + K·c·δ_kv + L·H·b·m·δ_act over requests of context c and m new tokens [B].

    The discounts δ are decode's for m = 1 and prefill's otherwise.
    """
    m, c = requests.new_tokens, requests.context_tokens
    one = m == 1
    kv = jnp.where(one, traffic.decode_kv, traffic.prefill_kv)
    activation = jnp.where(one, traffic.decode_activation, traffic.prefill_activation)
    per_token = arch.num_hidden_layers * arch.hidden_size * arch.activation_bytes
    return jnp.sum(requests.count * (kv_bytes_per_token(arch) * (m + c * kv) + per_token * m * activation))


def attention_flops(
    arch: Architecture, new_tokens: Float[Any, " request"], attended_tokens: Float[Any, " request"]
) -> Float[Any, " request"]:
    """4·h·d·m·c'·L: scores and weighted values of m tokens against c' [FLOP]."""
    layers = arch.layers
    per_pair = jnp.sum(4 * layers.num_attention_heads * layers.head_dim * layers.num_hidden_layers)
    return per_pair * new_tokens * attended_tokens
