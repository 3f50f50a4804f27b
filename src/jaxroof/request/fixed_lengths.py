"""The schedule of a request of given lengths in closed form, so that lengths can be traced."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxroof.parameters import AnalyticMfu, Architecture, Efficiency, Sampling, Scalar
from jaxroof.request.in_flight import longer_tokens
from jaxroof.request.limits import known
from jaxroof.request.schedule import Schedule

# Equal parts of a decode phase that get nodes of their own where step time is not smooth in the context.
PANELS = 64


class FixedLengths(eqx.Module):
    """A request of ``prompt`` tokens, ``cached`` of them cached, and ``output`` out, all whole numbers.

    ``output_cv`` is the coefficient of variation of the outputs beside it: 0 for a batch that runs in step.
    """

    prompt: Scalar
    output: Scalar
    cached: Scalar
    output_cv: Scalar
    sampling: Sampling


def chunks_of(prompt: float, budget: float) -> int:
    """⌈prompt / budget⌉: the prefill steps of a prompt."""
    return -int(-prompt // budget)


def panels_of(mfu: Efficiency, archs: Sequence[Architecture]) -> int:
    """1 where step time is smooth in the context, else ``PANELS``: measured tables kink, and so do windows."""
    spans = [size for arch in archs for size in (arch.layers.sliding_window, arch.layers.attention_chunk_size)]
    smooth = isinstance(mfu, AnalyticMfu) and known(*spans) and not any(np.any(np.asarray(size) > 0) for size in spans)
    return 1 if smooth else PANELS


def fixed_schedule(request: FixedLengths, budget: Scalar, *, chunks: int, panels: int = 1) -> Schedule:
    """The steps of a request whose prefill steps have at most ``budget`` tokens.

    At least one prompt token is computed, for its logits. Prefill: full chunks of the token budget, then the
    rest; ``chunks`` is the most that any traced prompt takes, absent ones weigh 0. Decode: output − 1 steps at
    contexts prompt, prompt + 1, …, by the 2-point Gauss rule of each of ``panels`` equal parts: one is exact
    where step time is cubic in context, as many as there are steps is the sum itself. The TPOT is the ITL, 0
    for one token. Where outputs differ, contexts are as much longer as those in flight are.
    """
    prompt, output, cached = request.prompt, request.output, request.cached
    steps = output - 1
    computed = jnp.maximum(prompt - cached, 1.0)
    first = prompt + longer_tokens(output, request.output_cv)
    contexts, weights = _decode_nodes(first, jnp.maximum(steps, 1.0), panels)
    e2e = jnp.where(steps > 0, weights, 0.0)
    itl = e2e / jnp.maximum(steps, 1.0)
    done = np.arange(chunks, dtype=jnp.result_type(float)) * budget
    new = jnp.clip(computed - done, 0.0, budget)
    there = new > 0
    # A budget so small that the prompt takes more steps than there is room for has no answer.
    one = jnp.where(computed > chunks * budget, jnp.nan, 1.0)
    new, weight = jnp.where(there, new, 1.0), jnp.where(there, one, 0.0)
    return Schedule(
        prefill_context_tokens=prompt - computed + jnp.where(there, done, 0.0),
        prefill_new_tokens=new,
        prefill_weight=weight,
        chunk_new_tokens=new,
        chunk_weight=weight,
        decode_context_tokens=contexts,
        tpot_weight=itl,
        e2e_weight=e2e,
        tpot_ttft_weight=jnp.zeros_like(steps),
        output_tokens=output,
        output_cv=request.output_cv,
        sampling=request.sampling,
    )


def _decode_nodes(first: Scalar, count: Scalar, panels: int) -> tuple[Float[Array, " node"], Float[Array, " node"]]:
    """Nodes and weights of the sum over ``count`` points first, first + 1, …, which spread like (width² − 1) / 12.

    No panel is narrower than a point: with fewer points than ``panels`` the further ones weigh 0.
    """
    used = jnp.minimum(count, float(panels))
    width = count / used
    panel = np.arange(panels, dtype=jnp.result_type(float))
    there = panel < used
    centre = first - 0.5 + jnp.where(there, panel + 0.5, 0.5) * width
    half = jnp.sqrt((width**2 - 1) / 12)
    weight = jnp.where(there, width / 2, 0.0)
    return jnp.concatenate([centre - half, centre + half]), jnp.concatenate([weight, weight])
