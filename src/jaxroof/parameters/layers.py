"""Groups of equal layers: what attention, FFN and experts each has, and how precise their weights are."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxroof import weights
from jaxroof.files import COUNT, NON_NEGATIVE, POSITIVE, Range
from jaxroof.parameters.arrays import Flag, Values
from jaxroof.parameters.leaves import Leaf, declared, inlined, leaf, scalar

Groups = Float[Any, " group"]
GATED = Range(low=2, high=3, whole=True)
PROJECTIONS = Range(low=1, high=2, whole=True)
FLAG = Range(high=1, whole=True)


class Latents(eqx.Module):
    """Multi-head latent attention (MLA): the cache holds ``kv_lora_rank + qk_rope_head_dim`` numbers per token.

    Of groups of layers; all 0 in one that has none. ``q_lora_rank`` 0: queries are not compressed.
    """

    kv_lora_rank: Groups = leaf("kv_lora_rank", range=NON_NEGATIVE, grouped=True, default=0.0)
    q_lora_rank: Groups = leaf("q_lora_rank", range=NON_NEGATIVE, grouped=True, default=0.0)
    qk_rope_head_dim: Groups = leaf("qk_rope_head_dim", range=NON_NEGATIVE, grouped=True, default=0.0)


class Routing(eqx.Module):
    """What a mixture's router does beyond a softmax or sigmoid of its logits and a top-k, 1 or 0 in groups of layers.

    ``router_bias`` is added to the scores before the choice, and not to the weights of the chosen (DeepSeek-V3,
    ERNIE 4.5, MiniMax-M2); ``router_groups`` of experts are chosen before experts (DeepSeek-V2); of
    ``router_late_sigmoid`` the weights are made after the choice (Llama 4).
    """

    router_bias: Groups = leaf("router_bias", range=FLAG, grouped=True, default=0.0)
    router_groups: Groups = leaf("router_groups", range=FLAG, grouped=True, default=0.0)
    router_late_sigmoid: Groups = leaf("router_late_sigmoid", range=FLAG, grouped=True, default=0.0)


class Inputs(eqx.Module):
    """What products take, by groups of layers: bytes of an input [B], with 2 the weights are dequantised.

    ``input_block`` numbers share the scale of an FP8 input; 0: those of a token, or all.
    """

    attention_input_bytes: Groups = leaf("attention_input_bytes", range=POSITIVE, grouped=True, default=2.0)
    ffn_input_bytes: Groups = leaf("ffn_input_bytes", range=POSITIVE, grouped=True, default=2.0)
    expert_input_bytes: Groups = leaf("expert_input_bytes", range=POSITIVE, grouped=True, default=2.0)
    input_block: Groups = leaf("input_block", range=NON_NEGATIVE, grouped=True, default=0.0)


class Layers(eqx.Module):
    """Layers of a decoder in groups of equal ones; every leaf has one axis, ``group``. A plain model is one group.

    Names are those of a Hugging Face ``config.json``. **Attention**: ``num_attention_heads`` of ``head_dim`` (queries
    and keys) and ``v_head_dim`` (values; 0: as keys), 0 heads: none. ``sliding_window`` [tokens] is how many the last
    one attends to, itself included; ``attention_chunk_size`` [tokens]: only to those of its own chunk (0: to all).
    ``kv_projections`` 1: values are the keys; ``qk_norm`` 1: queries and keys (or latents) are normed. ``latents`` and
    ``routing`` are absent from a model without, and so is their work from its step: use :func:`layers_of`.
    **FFN**: a dense one of ``intermediate_size`` (0: none; a mixture's shared experts are one) of ``ffn_matrices``, 3
    gated or 2 not, and ``num_experts`` routed ones of ``moe_intermediate_size``.
    **Precision** [B]: ``…_weight_bytes`` of a weight with its scales. ``inputs`` are absent where all have 16 bits, and
    so is the choice of kernels from the step.
    """

    num_hidden_layers: Groups = leaf("num_hidden_layers", range=COUNT, grouped=True)
    num_attention_heads: Groups = leaf("num_attention_heads", range=COUNT, grouped=True)
    num_key_value_heads: Groups = leaf("num_key_value_heads", range=COUNT, grouped=True)
    head_dim: Groups = leaf("head_dim", range=COUNT, grouped=True)
    v_head_dim: Groups = leaf("v_head_dim", range=NON_NEGATIVE, grouped=True, default=0.0)
    kv_projections: Groups = leaf("kv_projections", range=PROJECTIONS, grouped=True, default=2.0)
    sliding_window: Groups = leaf("sliding_window", range=NON_NEGATIVE, grouped=True, default=0.0)
    attention_chunk_size: Groups = leaf("attention_chunk_size", range=NON_NEGATIVE, grouped=True, default=0.0)
    qk_norm: Groups = leaf("qk_norm", range=FLAG, grouped=True, default=0.0)
    intermediate_size: Groups = leaf("intermediate_size", range=NON_NEGATIVE, grouped=True, default=0.0)
    ffn_matrices: Groups = leaf("ffn_matrices", range=GATED, grouped=True, default=3.0)
    num_experts: Groups = leaf("num_experts", range=NON_NEGATIVE, grouped=True, default=0.0)
    num_experts_per_tok: Groups = leaf("num_experts_per_tok", range=NON_NEGATIVE, grouped=True, default=0.0)
    moe_intermediate_size: Groups = leaf("moe_intermediate_size", range=NON_NEGATIVE, grouped=True, default=0.0)
    attention_weight_bytes: Groups = leaf("attention_weight_bytes", range=POSITIVE, grouped=True, default=2.0)
    ffn_weight_bytes: Groups = leaf("ffn_weight_bytes", range=POSITIVE, grouped=True, default=2.0)
    expert_weight_bytes: Groups = leaf("expert_weight_bytes", range=POSITIVE, grouped=True, default=2.0)

    latents: Latents | None = inlined(default=None)
    routing: Routing | None = inlined(default=None)
    inputs: Inputs | None = inlined(default=None)

    @property
    def latent(self) -> Flag:
        """Whether attention is multi-head latent attention."""
        return self.kv_lora_rank > 0

    @property
    def value_dim(self) -> Values:
        """Width of a head's values."""
        return weights.value_dim(self)

    @property
    def kv_lora_rank(self) -> Groups:
        """Numbers of a token's latent."""
        return self._of("latents", "kv_lora_rank")

    @property
    def q_lora_rank(self) -> Groups:
        """Numbers that queries are compressed to."""
        return self._of("latents", "q_lora_rank")

    @property
    def qk_rope_head_dim(self) -> Groups:
        """Numbers of a key that turn with its position and stand beside the latent."""
        return self._of("latents", "qk_rope_head_dim")

    @property
    def attention_input_bytes(self) -> Groups:
        """Of an input of attention's products."""
        return self._of("inputs", "attention_input_bytes")

    @property
    def ffn_input_bytes(self) -> Groups:
        """Of an input of the dense FFN's products."""
        return self._of("inputs", "ffn_input_bytes")

    def _of(self, branch: str, name: str) -> Groups:
        """The leaf of a branch; its default, of one group, where the branch is absent."""
        tree = getattr(self, branch)
        return scalar(np.full(1, _defaults(INLINED[branch])[name])) if tree is None else getattr(tree, name)


# Branches that a model without their work has not: field of ``Layers`` → class.
INLINED = {"latents": Latents, "routing": Routing, "inputs": Inputs}


def layer_leaves() -> dict[str, tuple[str, Leaf]]:
    """All that layers can have: :func:`declared` of ``Layers`` and its branches."""
    return declared(Layers) | {key: found for cls in INLINED.values() for key, found in declared(cls).items()}


def layers_of(fields: Mapping[str, Any]) -> Layers:
    """Layers of such fields, those of its branches among them; each a number or one for each group."""
    branches = {name: _branch(cls, fields) for name, cls in INLINED.items()}
    inner = layer_leaves().keys() - declared(Layers).keys()
    return Layers(**{key: value for key, value in fields.items() if key not in inner}, **branches)


def with_branches(layers: Layers, keys: Iterable[str]) -> Layers:
    """The same layers with the branches that such keys are in, so that they can be replaced."""
    absent = {name: cls for name, cls in INLINED.items() if getattr(layers, name) is None}
    wanted: dict[str, Any] = {name: cls() for name, cls in absent.items() if declared(cls).keys() & set(keys)}
    return dataclasses.replace(layers, **wanted)


def _branch(cls: Any, fields: Mapping[str, Any]) -> Any:
    """The tree of those ``fields`` that ``cls`` declares; None where all are its defaults."""
    own, defaults = {key: value for key, value in fields.items() if key in declared(cls)}, _defaults(cls)
    return cls(**own) if any(np.any(np.asarray(value) != defaults[key]) for key, value in own.items()) else None


def _defaults(cls: Any) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(cls)}
