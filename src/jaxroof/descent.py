"""Descent without bounds to a minimum within them: transforms, and L-BFGS through ever sharper losses."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxroof.leaves import Scalar
from jaxroof.quadrature import Vector

# Iterations in each stage, and trials of one line search.
ITERATIONS = 30
TRIALS = 20
# A step that lowers the loss by no more than this share ends its stage.
SETTLED = 1e-9


class Box(NamedTuple):
    """Bounds of the constants ``[constant]``; ``high`` may be infinite."""

    low: Float[Any, " constant"]
    high: Float[Any, " constant"]

    def values(self, free: Float[Array, " constant"]) -> Float[Array, " constant"]:
        """``low + (high − low)·σ(u)``, or ``low + exp(u)`` without an upper bound."""
        bounded = jnp.isfinite(self.high)
        span = jnp.where(bounded, self.high - self.low, 1.0)
        share = jnp.where(bounded, jax.nn.sigmoid(free), jnp.exp(jnp.where(bounded, 0.0, free)))
        return self.low + span * share

    def unbounded(self, values: Vector) -> Vector:
        """The inverse; ``values`` lie strictly inside."""
        span = np.where(np.isfinite(self.high), self.high - self.low, 1.0)
        share = (values - self.low) / span
        return np.log(share) - np.where(np.isfinite(self.high), np.log1p(-np.minimum(share, 1 - 1e-12)), 0.0)


class Stages(NamedTuple):
    """Losses one after the other ``[stage]``: Huber's threshold, of the log-ratio (or else of the ratio − 1)."""

    threshold: Float[Any, " stage"]
    of_log: Float[Any, " stage"]


class Path(NamedTuple):
    """The constants after each step of a descent, and how often each step asked for the loss and its gradient."""

    values: Float[Array, "... step constant"]
    evaluations: Int[Array, "... step"]


def huber(ratio: Float[Array, " experiment"], weights: Float[Array, " experiment"], stage: Stages) -> Scalar:
    """Weighted mean of Huber's loss over its threshold: the mean absolute error where that is small."""
    error = jnp.where(stage.of_log > 0, jnp.log(ratio), ratio - 1)
    return jnp.sum(weights * optax.huber_loss(error, delta=stage.threshold)) / stage.threshold / jnp.sum(weights)


def descend(
    loss: Callable[[Array, Stages], Scalar], start: Float[Array, " constant"], box: Box, stages: Stages
) -> Path:
    """L-BFGS on ``loss`` of the bounded constants through ``stages``, each from where the last one ended.

    ``start`` is unbounded, as :meth:`Box.unbounded` makes it.
    """
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=TRIALS, initial_guess_strategy="one")
    optimiser = optax.lbfgs(linesearch=search)

    def through(free: Array, stage: Stages) -> tuple[Array, Path]:
        objective = _forward_mode(lambda free: loss(box.values(free), stage))
        value, gradient = jax.value_and_grad(objective)(free)
        state = optax.tree.set(optimiser.init(free), value=value, grad=gradient)

        def step(carry: tuple[Array, Any, Array], _: None) -> tuple[tuple[Array, Any, Array], Path]:
            free, state, settled = carry
            value, gradient = optax.tree.get(state, "value"), optax.tree.get(state, "grad")
            gradient = jnp.where(settled, 0.0, gradient)  # so that its line search ends at once
            change, state = optimiser.update(gradient, state, free, value=value, grad=gradient, value_fn=objective)
            free = optax.apply_updates(free, change)
            trials = jnp.where(settled, 0, optax.tree.get(state, "num_linesearch_steps"))
            settled = settled | (value - optax.tree.get(state, "value") <= SETTLED * value)
            return (free, state, settled), Path(box.values(free), trials)

        (free, _, _), path = jax.lax.scan(step, (free, state, jnp.array(False)), None, length=ITERATIONS)
        return free, path._replace(evaluations=path.evaluations.at[0].add(1))

    with jax.numpy_dtype_promotion("standard"):  # optax mixes its own dtypes
        _, path = jax.lax.scan(through, start, stages)
    return Path(path.values.reshape(-1, start.size), path.evaluations.reshape(-1))


def _forward_mode(function: Callable[[Array], Scalar]) -> Callable[[Array], Scalar]:
    """``function`` with its gradient by forward mode: for a few constants as fast, and quicker to compile."""
    wrapped = jax.custom_vjp(function)
    wrapped.defvjp(
        lambda x: (function(x), jax.jacfwd(function)(x)), lambda gradient, cotangent: (cotangent * gradient,)
    )
    return wrapped
