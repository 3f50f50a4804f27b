"""How many weights a layer has and how many numbers of KV cache a token: counts, before they are shared out over GPUs.

``layer`` has the fields of :class:`jaxroof.parameters.layers.Layers`, as numbers or as arrays of any library.
"""

from typing import Any


def value_dim(layer: Any) -> Any:
    """Width of a head's values: that of its keys unless stated."""
    return layer.v_head_dim + (layer.v_head_dim == 0) * layer.head_dim


def attention(hidden: Any, layer: Any) -> Any:
    """Projections of queries, keys and values, compressed or not, and of the output."""
    heads, latent, compressed = layer.num_attention_heads, layer.kv_lora_rank > 0, layer.q_lora_rank > 0
    queries, values = heads * layer.head_dim, heads * value_dim(layer)
    of_queries = compressed * layer.q_lora_rank * (hidden + queries) + (1 - compressed) * hidden * queries
    of_heads = hidden * layer.num_key_value_heads * (layer.head_dim + (layer.kv_projections - 1) * value_dim(layer))
    expanded = heads * (layer.head_dim - layer.qk_rope_head_dim) + values
    of_latents = hidden * (layer.kv_lora_rank + layer.qk_rope_head_dim) + layer.kv_lora_rank * expanded
    return of_queries + latent * of_latents + (1 - latent) * of_heads + values * hidden


def ffn(hidden: Any, layer: Any) -> Any:
    """The dense FFN, or a mixture's shared experts."""
    return layer.ffn_matrices * hidden * layer.intermediate_size


def expert(hidden: Any, layer: Any) -> Any:
    """One routed expert."""
    return layer.ffn_matrices * hidden * layer.moe_intermediate_size


def router(hidden: Any, layer: Any) -> Any:
    """What chooses among the experts."""
    return hidden * layer.num_experts


def cached(layer: Any) -> Any:
    """Numbers of KV cache that a token has in a layer: keys and values, or one latent for all heads."""
    latent = layer.kv_lora_rank > 0
    of_heads = layer.num_key_value_heads * (layer.head_dim + value_dim(layer))
    return latent * (layer.kv_lora_rank + layer.qk_rope_head_dim) + (1 - latent) * of_heads
