"""Whether a model can be served: heads shared out over GPUs, weights in their memory."""

from typing import Any

from jaxtyping import Bool

from jaxroof import work
from jaxroof.leaves import Scalar
from jaxroof.params import Architecture

Flag = Bool[Any, "..."]


def heads_divide(heads: Scalar, tp: Scalar) -> Flag:
    """Attention heads are divided over T GPUs."""
    return heads % tp == 0


def kv_heads_divide(kv_heads: Scalar, tp: Scalar) -> Flag:
    """KV heads are divided over T GPUs, or each is replicated on several."""
    return (kv_heads % tp == 0) | (tp % kv_heads == 0)


def weights_fit(arch: Architecture, tp: Scalar, hbm_bytes: Scalar) -> Flag:
    """All weights / T ≤ the memory of one GPU [B]."""
    return work.total_weight_bytes(arch) / tp <= hbm_bytes


def can_serve(arch: Architecture, tp: Scalar, hbm_bytes: Scalar) -> Flag:
    """All of it, KV heads shared by whole groups of heads, and no more experts chosen than there are."""
    grouped = arch.num_attention_heads % arch.num_key_value_heads == 0
    divided = heads_divide(arch.num_attention_heads, tp) & kv_heads_divide(arch.num_key_value_heads, tp)
    chosen = arch.num_experts_per_tok <= arch.num_experts
    return grouped & divided & chosen & weights_fit(arch, tp, hbm_bytes)
