"""What of its context a token attends to: all of it, a sliding window, or its own chunk."""

import jax.numpy as jnp

from jaxroof.parameters import Layers, Values


def first_attended(context: Values, layers: Layers) -> Values:
    """The first token that one after ``context`` tokens attends to, itself included; shapes [group or 1, request]."""
    window, chunk = layers.sliding_window[:, None], layers.attention_chunk_size[:, None]
    of_window = jnp.where(window > 0, jnp.maximum(context + 1 - window, 0.0), 0.0)
    return jnp.maximum(of_window, _before_chunk(context, chunk))


def attended_pairs(context: Values, new: Values, layers: Layers) -> Values:
    """Σ of what ``new`` tokens attend to: ``c·m + m²/2``, less what a window or a chunk leaves out."""
    return new * (context + new / 2) - (_left_out(context + new, layers) - _left_out(context, layers))


def _left_out(tokens: Values, layers: Layers) -> Values:
    """Pairs of the first ``tokens`` that full attention has beyond a window w, ½(x − w)², or beyond chunks."""
    window, chunk = layers.sliding_window[:, None], layers.attention_chunk_size[:, None]
    beyond = jnp.where(window > 0, jnp.maximum(tokens - window, 0.0), 0.0)
    # n full chunks of C and r more: (x² − n·C² − r²) / 2.
    full = _before_chunk(tokens, chunk)
    return jnp.maximum(beyond**2, full * (2 * tokens - full - chunk)) / 2


def _before_chunk(tokens: Values, chunk: Values) -> Values:
    """Tokens of the chunks that are full."""
    size = jnp.where(chunk > 0, chunk, 1.0)
    return jnp.where(chunk > 0, size * jnp.floor(tokens / size), 0.0)
