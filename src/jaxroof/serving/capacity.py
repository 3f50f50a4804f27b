"""Whether a model can be served: heads shared out over GPUs, weights and KV cache in their memory."""

import jax
import jax.numpy as jnp

from jaxroof.parameters import Architecture, Flag, Scalar, Tier0, heads_divide, kv_heads_divide
from jaxroof.step import work

# More than any server has: whatever the memory, a count is finite.
MOST_REQUESTS = 10**9
Number = Scalar | float


def divides(arch: Architecture, tp: Scalar) -> Flag:
    """Whether T GPUs can share a model's heads."""
    return heads_divide(arch.num_attention_heads, tp) & kv_heads_divide(arch.num_key_value_heads, tp)


def attends_in_full(arch: Architecture, tokens: Scalar) -> Flag:
    """Whether no attention window is shorter than a request of ``tokens``: windows are not modelled."""
    return (arch.sliding_window == 0) | (tokens <= arch.sliding_window)


def beyond_positions(arch: Architecture, tokens: float) -> str | None:
    """What there is to say of a request of ``tokens`` that is longer than the model's positions."""
    positions = float(arch.max_position_embeddings)
    return f"{tokens:g} tokens are more than the model's {positions:g} positions" if 0 < positions < tokens else None


def held_tokens(prompt: Number, cached: Number, output: Number, batch: Number, block_size: Number) -> Number:
    """KV cache that a server with ``batch`` requests in flight cannot do without [tokens].

    The least that may be: the cached part of their prompts is the same in all, and each has half of its output,
    whatever the spread. Blocks are filled up. One request must fit as a whole.
    """
    each, whole = _blocks_of(prompt, cached, output, block_size)
    return jnp.maximum(cached + batch * each, whole)


def _blocks_of(prompt: Number, cached: Number, output: Number, size: Number) -> tuple[Number, Number]:
    """Tokens of the blocks that a request fills by itself with half of its output, and of all it has in the end."""

    def filled(tokens: Number) -> Number:
        return -(-tokens // size) * size

    return filled(prompt - cached + output / 2), filled(prompt + output)


@jax.jit
def gpu_bytes(arch: Architecture, tp: Scalar, tokens: Scalar | float) -> Scalar:
    """Weights / T and the KV cache of ``tokens`` on one GPU, KV heads replicated once T exceeds them [B]."""
    kv_share = jnp.maximum(1 / tp, 1 / arch.num_key_value_heads)
    return work.total_weight_bytes(arch) / tp + tokens * work.kv_bytes_per_token(arch) * kv_share


def usable_bytes(tier0: Tier0) -> Scalar:
    """The share of one GPU's memory that a server gives to weights and KV cache [B]."""
    return tier0.server.gpu_memory_utilization * tier0.hardware.hbm_bytes


def can_serve(arch: Architecture, tp: Scalar, tokens: Scalar, tier0: Tier0) -> Flag:
    """Whether heads are shared out, no more experts chosen than there are, and weights and KV cache fit."""
    grouped = arch.num_attention_heads % arch.num_key_value_heads == 0
    chosen = arch.num_experts_per_tok <= arch.num_experts
    return grouped & divides(arch, tp) & chosen & (gpu_bytes(arch, tp, tokens) <= usable_bytes(tier0))


def kv_tokens(arch: Architecture, tp: Scalar, tier0: Tier0) -> Scalar:
    """Tokens whose KV cache fits beside the weights, below 0 where the weights alone do not fit."""
    weights, with_token = (gpu_bytes(arch, tp, tokens) for tokens in (0.0, 1.0))
    return (usable_bytes(tier0) - weights) / (with_token - weights)


def kv_blocks(arch: Architecture, tp: Scalar, tier0: Tier0) -> Scalar:
    """Blocks of KV cache that a server has beside the weights: whole ones."""
    return jnp.floor(kv_tokens(arch, tp, tier0) / tier0.server.block_size)


def most_requests(arch: Architecture, tp: Scalar, tier0: Tier0, *, prompt: float, cached: float, output: float) -> int:
    """How many requests fit beside the weights, as :func:`held_tokens` counts; none where one does not."""
    room, block = float(kv_tokens(arch, tp, tier0)), float(tier0.server.block_size)
    each, whole = _blocks_of(prompt, cached, output, block)
    return int(min(max((room - cached) / each, 1), MOST_REQUESTS)) if room >= whole else 0
