"""What engine and version decide: how host and GPU share a step, how tokens are sampled, what fits a step."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxroof.files import COUNT, FRACTION, GIGABYTES, Range
from jaxroof.parameters.arrays import Scalar
from jaxroof.parameters.leaves import leaf, scalar
from jaxroof.units import GIGA, MICRO, MILLI, NANO

# Rows of every server's table of tuned tiles, so that servers stack; further ones are zeros, which no model has.
TUNED_SHAPES = 64
FLAG, WHOLE = Range(high=1, whole=True), Range(whole=True)


class Elementwise(eqx.Module):
    """Launches of elementwise kernels in a layer, as far as the engine does not fuse them into others.

    ``qk_norms_per_layer`` where a layer has such norms, ``quantisations_per_layer`` where attention's products take
    inputs of 8 bits or less.
    """

    norms_per_layer: Scalar = leaf("norms_per_layer")
    rotary_per_layer: Scalar = leaf("rotary_per_layer")
    cache_writes_per_layer: Scalar = leaf("cache_writes_per_layer")
    activations_per_layer: Scalar = leaf("activations_per_layer")
    all_reduce_norms: Scalar = leaf("all_reduce_norms", range=FLAG)
    qk_norms_per_layer: Scalar = leaf("qk_norms_per_layer", default=0.0)
    quantisations_per_layer: Scalar = leaf("quantisations_per_layer", default=0.0)


class RouterKernels(eqx.Module):
    """Launches of a mixture's router beyond the one of a fused top-k, by what the router does.

    See :class:`jaxroof.parameters.layers.Routing`.
    """

    bias: Scalar = leaf("bias", default=0.0)
    groups: Scalar = leaf("groups", default=0.0)
    bias_and_groups: Scalar = leaf("bias_and_groups", default=0.0)
    late_sigmoid: Scalar = leaf("late_sigmoid", default=0.0)


class Sampler(eqx.Module):
    """Kernels between the logits and the token, over B rows of V float32 logits, see :mod:`jaxroof.step.sampling`.

    A *pass* reads and writes all logits once. Sorting is priced in bytes per logit at the data sheet's bandwidth.
    ``peak_bytes_per_logit`` is the memory that all of it takes at once.
    """

    greedy_passes: Scalar = leaf("greedy_passes")
    random_passes: Scalar = leaf("random_passes")
    min_p_passes: Scalar = leaf("min_p_passes")
    sort_floor_s: Scalar = leaf("sort_floor_us", MICRO)
    sort_bytes_per_logit: Scalar = leaf("sort_bytes_per_logit")
    segmented_sort_rows: Scalar = leaf("segmented_sort_rows", range=COUNT)
    segmented_sort_bytes_per_logit: Scalar = leaf("segmented_sort_bytes_per_logit")
    top_k_bytes_per_logit: Scalar = leaf("top_k_bytes_per_logit")
    peak_bytes_per_logit: Scalar = leaf("peak_bytes_per_logit", default=0.0)


class Penalties(eqx.Module):
    """Repetition, presence and frequency penalties: kernels over the logits, and the host's tables of past tokens."""

    supported: Scalar = leaf("supported", range=FLAG)
    floor_s: Scalar = leaf("floor_us", MICRO)
    bytes_per_logit: Scalar = leaf("bytes_per_logit")
    host_s_per_token: Scalar = leaf("host_ns_per_token", NANO)
    host_s_per_padded_token: Scalar = leaf("host_ns_per_padded_token", NANO)
    copy_s_per_padded_token: Scalar = leaf("copy_ns_per_padded_token", NANO)


class Server(eqx.Module):
    """An engine of some version, as ``configs/servers/`` describes it.

    With ``async_scheduling`` the host works while the GPU does, and one further step is queued. ``tuned_moe`` lists
    experts and their intermediate size on one GPU for which the engine ships tuned tiles, up to the length of the list;
    others are slower by ``untuned_moe_slowdown``. Outside a CUDA graph a forward pass takes at least ``launch_us`` for
    each kernel; a block of experts is ``expert_launches`` of them.

    Rules of its scheduler (:mod:`jaxroof.serving.scheduler`): a prompt takes ``long_prefill_token_threshold`` tokens of
    a step at most (0: any number); it is admitted once all of it fits the KV cache (``reserve_full_prompt``), not only
    its first chunk; its steps hold no decodes (``prefill_first``); waiting requests are held back for
    ``batch_wait_steps`` while others decode.

    Memory (:mod:`jaxroof.serving.capacity`): weights and KV cache have ``gpu_memory_utilization`` of a GPU's, less
    ``reserved_gb`` and, with ``activations_in_budget``, the activations of the largest step.

    >>> server = jaxroof.load_model(server="vllm-sync").constants.server
    >>> float(server.async_scheduling), float(server.max_num_batched_tokens)
    (0.0, 2048.0)
    """

    async_scheduling: Scalar = leaf("async_scheduling", range=FLAG)
    per_step_s: Scalar = leaf("per_step_us", MICRO)
    per_request_s: Scalar = leaf("per_request_us", MICRO)
    admission_s: Scalar = leaf("admission_ms", MILLI)
    max_num_batched_tokens: Scalar = leaf("max_num_batched_tokens", range=COUNT)
    max_num_seqs: Scalar = leaf("max_num_seqs", range=COUNT)
    graph_tokens: Scalar = leaf("graph_tokens")
    gpu_memory_utilization: Scalar = leaf("gpu_memory_utilization", range=FRACTION)
    block_size: Scalar = leaf("block_size", range=COUNT)
    untuned_moe_slowdown: Scalar = leaf("untuned_moe_slowdown", range=Range(low=1))
    elementwise: Elementwise  # type: ignore[misc]  # mypy takes a leaf() for a default
    sampler: Sampler  # type: ignore[misc]
    penalties: Penalties  # type: ignore[misc]
    long_prefill_token_threshold: Scalar = leaf("long_prefill_token_threshold", range=WHOLE, default=0.0)
    reserve_full_prompt: Scalar = leaf("reserve_full_prompt", range=FLAG, default=0.0)
    prefill_first: Scalar = leaf("prefill_first", range=FLAG, default=0.0)
    batch_wait_steps: Scalar = leaf("batch_wait_steps", range=WHOLE, default=0.0)
    activations_in_budget: Scalar = leaf("activations_in_budget", range=FLAG, default=0.0)
    reserved_bytes: Scalar = leaf("reserved_gb", GIGA, GIGABYTES, default=0.0)
    launch_s: Scalar = leaf("launch_us", MICRO, default=0.0)
    expert_launches: Scalar = leaf("expert_launches", default=1.0)
    router: RouterKernels = eqx.field(default_factory=RouterKernels)
    tuned_moe: Float[Any, "shape 2"] = eqx.field(converter=scalar, default_factory=lambda: np.zeros((TUNED_SHAPES, 2)))

    @property
    def graph_limits(self) -> tuple[Scalar, Scalar]:
        """A step of more tokens than any of these runs outside a CUDA graph: the largest one, two to a slot."""
        return self.graph_tokens, 2 * self.max_num_seqs

    @property
    def queued_steps(self) -> Scalar:
        """Steps that a request which arrives in one waits for: half of that one, and one that is queued already."""
        return 0.5 + self.async_scheduling
