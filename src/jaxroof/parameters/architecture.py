"""What is served and on how much: the model's shape, its deployment, whether heads can be shared out."""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import equinox as eqx
import jax
import numpy as np

from jaxroof.files import COUNT, NON_NEGATIVE, POSITIVE, InputError, Range, check
from jaxroof.parameters.arrays import Flag, Scalar
from jaxroof.parameters.layers import INLINED, Groups, Layers
from jaxroof.parameters.leaves import inlined, leaf
from jaxroof.parameters.sampling import Sampling

TP = Range(low=1, high=8, whole=True, limit="the most GPUs whose all-reduce is known")
EP = Range(low=1, high=8, whole=True, limit="the most GPUs that share a layer")


class Architecture(eqx.Module):
    """Shape of a decoder; the names of a Hugging Face ``config.json``.

    ``layers`` are groups of equal ones; their keys are the architecture's own. ``embedding_bytes`` and ``head_bytes``
    [B] are those of a weight of the embedding and of the head, ``activation_bytes`` what activations are kept in,
    ``kv_cache_bytes`` a number of the KV cache.
    ``max_position_embeddings`` [tokens] is the longest context, rope scaling included (0: not stated).
    ``sampling`` is what its ``generation_config.json`` says for requests that say nothing themselves.

    >>> arch = jaxroof.load_architecture("llama-3.1-8b")
    >>> float(arch.num_hidden_layers), float(arch.hidden_size)
    (32.0, 4096.0)
    """

    hidden_size: Scalar = leaf("hidden_size", range=COUNT)
    vocab_size: Scalar = leaf("vocab_size", range=COUNT)
    layers: Layers = inlined()
    embedding_bytes: Scalar = leaf("embedding_bytes", range=POSITIVE, default=2.0)
    head_bytes: Scalar = leaf("head_bytes", range=POSITIVE, default=2.0)
    activation_bytes: Scalar = leaf("activation_bytes", range=POSITIVE, default=2.0)
    kv_cache_bytes: Scalar = leaf("kv_cache_bytes", range=POSITIVE, default=2.0)
    tie_word_embeddings: Scalar = leaf("tie_word_embeddings", range=NON_NEGATIVE, default=0.0)
    max_position_embeddings: Scalar = leaf("max_position_embeddings", range=NON_NEGATIVE, default=0.0)
    sampling: Sampling = eqx.field(default_factory=Sampling)

    @property
    def num_hidden_layers(self) -> Scalar:
        """Layers of all groups."""
        return self.layers.num_hidden_layers.sum(-1)


def alike(archs: Sequence[Architecture]) -> list[Architecture]:
    """The same models, all with as many groups of layers, so that they stack: further ones have no layers.

    All have latents, routing or narrow inputs where one does.
    """
    most = max(np.shape(leaf)[-1] for arch in archs for leaf in jax.tree.leaves(arch.layers))
    present = [name for name in INLINED if any(getattr(arch.layers, name) is not None for arch in archs)]

    def padded(layers: Layers) -> Layers:
        branches: dict[str, Any] = {name: getattr(layers, name) or INLINED[name]() for name in present}
        layers = dataclasses.replace(layers, **branches)
        leaves, structure = jax.tree.flatten(layers)
        columns = np.broadcast_arrays(*leaves)
        missing = most - columns[0].size
        longer = [np.append(column, np.repeat(column[-1:], missing)) for column in columns]
        count = np.append(columns[0], np.zeros(missing))
        return cast(Layers, dataclasses.replace(jax.tree.unflatten(structure, longer), num_hidden_layers=count))

    return [dataclasses.replace(arch, layers=padded(arch.layers)) for arch in archs]


class Deployment(eqx.Module):
    """How the model is served: ``tp``, the tensor-parallel degree, is the number of GPUs that share each layer.

    ``ep`` is 1, each expert is shared by all, or ``tp``, whole experts are divided among the GPUs. That costs no
    exchange of its own: the layer's all-reduce adds them up.
    Nothing is checked here, so that a degree can be traced; :func:`jaxroof.predict` checks a single one.

    >>> float(jaxroof.Deployment(tp=4).tp)
    4.0
    """

    tp: Scalar = leaf("tp", range=TP)
    ep: Scalar = leaf("ep", range=EP, default=1.0)


def heads_divide(layers: Layers, tp: Scalar | float) -> Flag:
    """Attention heads are divided over T GPUs, in each group of layers."""
    return layers.num_attention_heads % tp == 0


def kv_heads_divide(layers: Layers, tp: Scalar | float) -> Flag:
    """KV heads are divided over T GPUs, or each is replicated on several; a latent is whole on all."""
    kv_heads = layers.num_key_value_heads
    return layers.latent | (kv_heads % tp == 0) | (tp % kv_heads == 0)


def experts_divide(layers: Layers, tp: Scalar | float, ep: Scalar | float) -> Flag:
    """Experts are whole on one of the same T GPUs each, as many on all, or shared by all (``ep`` 1)."""
    mixture = layers.num_experts > 0
    return (ep == 1) | ((ep == tp) & mixture.any(-1, keepdims=True) & (~mixture | (layers.num_experts % ep == 0)))


def check_deployment(where: object, arch: Architecture, tp: float, ep: float = 1) -> None:
    """Raise InputError unless ``tp`` GPUs can share the model's heads and experts; ``where`` is what named them."""
    check.number(where, "tp", tp, TP)
    check.number(where, "ep", ep, EP)
    layers = jax.tree.map(np.asarray, arch.layers)
    if reason := undivided(layers, tp):
        raise InputError(where, "tp", reason)
    if not np.all(whole := experts_divide(layers, tp, ep)):
        experts = _first(layers.num_experts, whole)
        raise InputError(where, "ep", f"must be 1 or the tp of {tp:g}, and divide the {experts:g} experts, got {ep:g}")


def undivided(layers: Layers, tp: float) -> str | None:
    """Why ``tp`` GPUs cannot share attention in some group of layers, which are NumPy's."""
    if not np.all(whole := heads_divide(layers, tp)):
        return f"{_first(layers.num_attention_heads, whole):g} attention heads cannot be divided by {tp:g}"
    if not np.all(whole := kv_heads_divide(layers, tp)):
        kv_heads = _first(layers.num_key_value_heads, whole)
        return f"{kv_heads:g} KV heads can be neither divided nor replicated over {tp:g}"
    return None


def _first(counts: Groups, whole: Flag) -> float:
    """The first count that is not ``whole``."""
    counts, whole = np.broadcast_arrays(counts, whole)
    return float(counts[~whole][0])
