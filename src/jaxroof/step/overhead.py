"""The one additive overhead formula; every idea is a choice of its terms."""

import jax.numpy as jnp

from jaxroof.parameters import Architecture, Deployment, Overheads, OverheadTerms, Scalar, Values
from jaxroof.step.batch import Batch

# The vocabulary and KV-head terms are stated per Llama-2-7B's: 32 000 entries, 32 heads.
REFERENCE_VOCAB_SIZE = 32_000
REFERENCE_KV_HEADS = 32


def overhead_s(overheads: Overheads, arch: Architecture, deployment: Deployment, batch: Batch) -> Scalar:
    """Overhead of one step [s]: the prefill part if the step has any prefill, else the decode part.

    ``base + per_layer·L/T + per_layer_replicated·L + per_sqrt_layer·√(L/T) + per_vocab·V/32000
    + per_kv_group·L·max(1, g/T)/32 + per_request·B + per_chunk·⌈prompt/chunk⌉``, with B requests
    and ``prompt`` new prefill tokens in the step. ⌈⌉ has no gradient with respect to tokens.
    """
    requests = jnp.sum(batch.prefill.count) + jnp.sum(batch.decode.count)
    prompt = jnp.sum(batch.prefill.count * batch.prefill.new_tokens)
    with_prefill = _sum(overheads.prefill, arch, deployment, requests, prompt)
    decode_only = _sum(overheads.decode, arch, deployment, requests, prompt)
    return jnp.where(jnp.sum(batch.prefill.count) > 0, with_prefill, decode_only)


def _sum(terms: OverheadTerms, arch: Architecture, deployment: Deployment, requests: Scalar, prompt: Scalar) -> Scalar:
    layers, tp = arch.num_hidden_layers, deployment.tp
    kv_heads = jnp.sum(arch.layers.num_hidden_layers * jnp.maximum(1.0, arch.layers.num_key_value_heads / tp))
    return (
        terms.base_s
        + terms.per_layer_s * layers / tp
        + terms.per_layer_replicated_s * layers
        + terms.per_sqrt_layer_s * jnp.sqrt(layers / tp)
        + terms.per_vocab_s * arch.vocab_size / REFERENCE_VOCAB_SIZE
        + terms.per_kv_group_s * kv_heads / REFERENCE_KV_HEADS
        + terms.per_request_s * requests
        + chunks_s(terms, prompt)
    )


def chunks_s(terms: OverheadTerms, prompt: Values) -> Values:
    """``per_chunk·⌈prompt/chunk⌉``, the one term that is a staircase in a step's new prefill tokens [s]."""
    return terms.per_chunk_s * jnp.ceil(prompt / terms.chunk_tokens)
