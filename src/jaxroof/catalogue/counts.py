"""What a shape amounts to: parameters, those that a token passes, and its KV cache; loads no JAX."""

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from jaxroof import weights


class Counts(NamedTuple):
    """Weights of the matrices, those of them that one token is multiplied with, and bytes that it leaves in the cache.

    The embedding and the head count as one when tied. A token is cached in a layer that slides as in any other.
    """

    parameters: float
    active_parameters: float
    kv_bytes_per_token: float


def counts(shape: Mapping[str, Any]) -> Counts:
    """Of what :func:`jaxroof.catalogue.huggingface.load_shape` returns.

    Parameters: Σ layers · (attention + FFN + experts · expert + router) + embedding + head; active ones have the
    experts of one token, ``num_experts_per_tok``.
    """
    hidden = shape["hidden_size"]
    embeddings = (2 - shape["tie_word_embeddings"]) * shape["vocab_size"] * hidden
    cached = _total(shape, weights.cached) * shape["kv_cache_bytes"]

    every = _total(shape, lambda g: weights.attention(hidden, g) + weights.ffn(hidden, g) + weights.router(hidden, g))

    def total(experts: str) -> float:
        return float(embeddings + every + _total(shape, lambda g: getattr(g, experts) * weights.expert(hidden, g)))

    return Counts(total("num_experts"), total("num_experts_per_tok"), cached)


def _total(shape: Mapping[str, Any], of_layer: Callable[[SimpleNamespace], Any]) -> float:
    return float(sum(group.num_hidden_layers * of_layer(group) for group in _groups(shape["layers"])))


def _groups(layers: Mapping[str, list[float]]) -> Iterator[SimpleNamespace]:
    for values in zip(*layers.values(), strict=True):
        yield SimpleNamespace(**dict(zip(layers, values, strict=True)))
