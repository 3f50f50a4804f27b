"""What the activations of the largest step take, as vLLM finds it by running one before it sizes the KV cache."""

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Groups, Scalar, Tier0
from jaxroof.step.shard import Shard, sharded

# Tokens of context that MLA expands at once: vLLM 0.15.1, model_executor/layers/attention/mla_attention.py, the most of
# determine_chunked_prefill_workspace_size, which models of 8192 positions and more have.
EXPANDED_TOKENS = 64 * 1024


def activation_bytes(arch: Architecture, tp: Scalar, tier0: Tier0) -> Scalar:
    """Activations of a step of ``max_num_batched_tokens`` tokens on one GPU, at its peak [B]; 0 where not budgeted.

    The larger of a layer's and the sampler's. At a layer's there are the residual, what the first product gives, and
    either its input or what the second takes; of experts both, for each of a token's. At the sampler's there are the
    last layer's output and all logits of ``max_num_seqs`` rows, which are whole on every GPU.
    Lower than what a server finds: workspaces of kernels, of sorts and of quantised inputs are not in it.
    """
    server, width = tier0.server, arch.activation_bytes
    tokens, hidden = server.max_num_batched_tokens, arch.hidden_size * server.max_num_batched_tokens * width
    shard = sharded(arch, Deployment(tp))
    layers = jnp.max(_layer_columns(arch, shard)) * tokens * width
    context = EXPANDED_TOKENS * jnp.max(shard.kv_up) * width
    rows = jnp.minimum(server.max_num_seqs, tokens)
    logits = rows * arch.vocab_size * server.sampler.peak_bytes_per_logit
    return server.activations_in_budget * (hidden + jnp.maximum(layers + context, logits))


def _layer_columns(arch: Architecture, shard: Shard) -> Groups:
    """Columns beside the residual, by groups of layers."""
    layers, hidden = arch.layers, arch.hidden_size
    first = layers.ffn_matrices - 1
    attention = shard.qkv + shard.q_up + jnp.maximum(hidden, shard.values)
    ffn = first * shard.dense + jnp.maximum(hidden, shard.dense)
    each = jnp.maximum(first * shard.expert, hidden) + shard.expert
    experts = hidden + layers.num_experts_per_tok * each
    return jnp.maximum(attention, jnp.maximum(ffn, experts))
