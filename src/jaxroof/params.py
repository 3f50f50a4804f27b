"""Parameters: frozen pytrees of floats, one leaf per constant, SI units inside."""

from typing import Any

import equinox as eqx
from jaxtyping import Float

from jaxroof.hardware import Hardware
from jaxroof.leaves import AT_LEAST_ONE, COUNT, FRACTION, NON_NEGATIVE, POSITIVE, Range, Scalar, leaf
from jaxroof.units import MICRO, MILLI

TP = Range(low=1, high=8, whole=True, limit="the most GPUs whose all-reduce is known")


class Architecture(eqx.Module):
    """Shape of a decoder-only transformer; the names of a Hugging Face ``config.json``.

    Every layer has a dense FFN of ``intermediate_size`` (a mixture's shared experts, 0 if none) and
    ``num_experts`` routed ones of ``moe_intermediate_size`` (0 of them in a dense model). Layer
    weights have ``weight_bytes``; embedding, head, activations and KV cache ``activation_bytes``.
    Attention is full: ``sliding_window`` [tokens] (0 if none) is there to refuse a longer request.
    ``max_position_embeddings`` [tokens] is the longest context, rope scaling included (0: not stated).
    """

    num_hidden_layers: Scalar = leaf("num_hidden_layers", range=COUNT)
    hidden_size: Scalar = leaf("hidden_size", range=COUNT)
    intermediate_size: Scalar = leaf("intermediate_size", range=NON_NEGATIVE)
    vocab_size: Scalar = leaf("vocab_size", range=COUNT)
    num_attention_heads: Scalar = leaf("num_attention_heads", range=COUNT)
    num_key_value_heads: Scalar = leaf("num_key_value_heads", range=COUNT)
    head_dim: Scalar = leaf("head_dim", range=COUNT)
    weight_bytes: Scalar = leaf("weight_bytes", range=POSITIVE)
    activation_bytes: Scalar = leaf("activation_bytes", range=POSITIVE)
    tie_word_embeddings: Scalar = leaf("tie_word_embeddings", range=NON_NEGATIVE, default=0.0)
    num_experts: Scalar = leaf("num_experts", range=NON_NEGATIVE, default=0.0)
    num_experts_per_tok: Scalar = leaf("num_experts_per_tok", range=NON_NEGATIVE, default=0.0)
    moe_intermediate_size: Scalar = leaf("moe_intermediate_size", range=NON_NEGATIVE, default=0.0)
    sliding_window: Scalar = leaf("sliding_window", range=NON_NEGATIVE, default=0.0)
    max_position_embeddings: Scalar = leaf("max_position_embeddings", range=NON_NEGATIVE, default=0.0)


class Traffic(eqx.Module):
    """Discounts on the work of a step; decode ones apply to requests with one new token."""

    decode_kv: Scalar = leaf("decode_kv")
    decode_activation: Scalar = leaf("decode_activation")
    prefill_kv: Scalar = leaf("prefill_kv")
    prefill_activation: Scalar = leaf("prefill_activation")
    causal_divisor: Scalar = leaf("causal_divisor", range=POSITIVE)


class OverheadTerms(eqx.Module):
    """Terms of the additive overhead formula, see :mod:`jaxroof.overhead`; all [s] but the chunk."""

    base_s: Scalar = leaf("base_us", MICRO, default=0.0)
    per_layer_s: Scalar = leaf("per_layer_us", MICRO, default=0.0)
    per_layer_replicated_s: Scalar = leaf("per_layer_replicated_us", MICRO, default=0.0)
    per_sqrt_layer_s: Scalar = leaf("per_sqrt_layer_us", MICRO, default=0.0)
    per_vocab_s: Scalar = leaf("per_vocab_us", MICRO, default=0.0)
    per_kv_group_s: Scalar = leaf("per_kv_group_us", MICRO, default=0.0)
    per_request_s: Scalar = leaf("per_request_us", MICRO, default=0.0)
    per_chunk_s: Scalar = leaf("per_chunk_us", MICRO, default=0.0)
    chunk_tokens: Scalar = leaf("chunk_tokens", range=AT_LEAST_ONE, default=512.0)


class Overheads(eqx.Module):
    """Overhead of a step with any prefill, and of a step with none."""

    prefill: OverheadTerms = eqx.field(default_factory=OverheadTerms)
    decode: OverheadTerms = eqx.field(default_factory=OverheadTerms)


class Host(eqx.Module):
    """The server's CPU side and vLLM's settings, as the ``kernels`` step time sees them."""

    per_step_s: Scalar = leaf("per_step_us", MICRO)
    per_request_s: Scalar = leaf("per_request_us", MICRO)
    admission_s: Scalar = leaf("admission_ms", MILLI)
    graph_tokens: Scalar = leaf("graph_tokens")
    sampling_passes: Scalar = leaf("sampling_passes")
    gpu_memory_utilization: Scalar = leaf("gpu_memory_utilization", range=FRACTION)


class Tier0(eqx.Module):
    """Every constant of the model that is not the model's or the deployment's shape."""

    hardware: Hardware
    traffic: Traffic
    host: Host
    overheads: Overheads


class Deployment(eqx.Module):
    """How the model is served."""

    tp: Scalar = leaf("tp", range=TP)


class Requests(eqx.Module):
    """Requests of one phase of a step.

    Shapes ``[request]``; ``count`` multiplies a row, and a row with count 0 is not there.
    """

    context_tokens: Float[Any, " request"]
    new_tokens: Float[Any, " request"]
    count: Float[Any, " request"]


class Batch(eqx.Module):
    """What one step works on; a phase with no rows costs nothing."""

    prefill: Requests
    decode: Requests


class Schedule(eqx.Module):
    """The steps of a workload's average request, as quadrature nodes.

    Any mean latency over a workload is linear in the step times:
    ``TTFT = Σ prefill_weight·t(prefill node)``, ``E2E = TTFT + Σ e2e_weight·t(decode node)``,
    ``TPOT = tpot_ttft_weight·TTFT + Σ tpot_weight·t(decode node)``. A scoring is a set of weights.
    The overheads' staircase ⌈new tokens / chunk⌉ has prefill nodes of its own, so that the others
    need not split at its jumps.
    """

    prefill_context_tokens: Float[Any, " prefill"]
    prefill_new_tokens: Float[Any, " prefill"]
    prefill_weight: Float[Any, " prefill"]
    chunk_new_tokens: Float[Any, " chunk"]
    chunk_weight: Float[Any, " chunk"]
    decode_context_tokens: Float[Any, " decode"]
    tpot_weight: Float[Any, " decode"]
    e2e_weight: Float[Any, " decode"]
    tpot_ttft_weight: Scalar


class Latency(eqx.Module):
    """Mean latencies [s] of a request; the convention of ``tpot_s`` is that of its scoring."""

    ttft_s: Float[Any, "..."]
    tpot_s: Float[Any, "..."]
    e2e_s: Float[Any, "..."]


class Runs(eqx.Module):
    """Measured experiments, stacked: every leaf has a leading axis ``experiment``.

    ``schedules`` and ``measured`` hold one entry per scoring.
    """

    architecture: Architecture
    deployment: Deployment
    schedules: dict[str, Schedule]
    measured: dict[str, Latency]
