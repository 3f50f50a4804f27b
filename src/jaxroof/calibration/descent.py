"""L-BFGS on bounded constants, through ever sharper losses."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxroof.calibration.bounds import Box
from jaxroof.parameters import Scalar

# Iterations in each stage, and trials of one line search.
ITERATIONS = 30
TRIALS = 20
# A step that lowers the loss by no more than this share ends its stage.
SETTLED = 1e-9

Constants = Float[Array, " constant"]


class Stages(NamedTuple):
    """Losses one after the other ``[stage]``: Huber's threshold, of the log-ratio (or else of the ratio − 1)."""

    threshold: Float[Any, " stage"]
    of_log: Float[Any, " stage"]


class Path(NamedTuple):
    """A descent: the constants after each step, their MAPE, and how often the step asked for loss and gradient."""

    values: Float[Any, "... step constant"]
    mape: Float[Any, "... step"]
    evaluations: Int[Any, "... step"]


def descend(
    ratio: Callable[[Constants], Float[Array, " experiment"]],
    weights: Float[Array, " experiment"],
    start: Constants,
    box: Box,
    stages: Stages,
) -> Path:
    """Minimise the error of ``ratio``, predicted / measured of the constants, through ``stages``.

    Each stage begins where the last one ended, a margin away from the bounds.
    """
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=TRIALS, initial_guess_strategy="one")
    optimiser = optax.lbfgs(linesearch=search)

    def through(values: Array, stage: Stages) -> tuple[Array, Path]:
        free = box.unbounded(values)
        objective = _forward_mode(lambda free: _huber(ratio(box.values(free)), weights, stage))
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
            values = box.values(free)
            return (free, state, settled), Path(values, _mape(ratio(values), weights), trials)

        (free, _, _), path = jax.lax.scan(step, (free, state, jnp.array(False)), None, length=ITERATIONS)
        return box.values(free), path._replace(evaluations=path.evaluations.at[0].add(1))

    with jax.numpy_dtype_promotion("standard"):  # optax mixes its own dtypes
        _, path = jax.lax.scan(through, start, stages)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), path)


def _huber(ratio: Float[Array, " experiment"], weights: Float[Array, " experiment"], stage: Stages) -> Scalar:
    """Weighted mean of Huber's loss over its threshold: the mean absolute error where that is small."""
    error = jnp.where(stage.of_log > 0, jnp.log(ratio), ratio - 1)
    return jnp.sum(weights * optax.huber_loss(error, delta=stage.threshold)) / stage.threshold / jnp.sum(weights)


def _mape(ratio: Float[Array, " experiment"], weights: Float[Array, " experiment"]) -> Scalar:
    return jnp.sum(weights * abs(ratio - 1)) / jnp.sum(weights)


def _forward_mode(function: Callable[[Array], Scalar]) -> Callable[[Array], Scalar]:
    """``function`` with its gradient by forward mode: for a few constants as fast, and quicker to compile."""
    wrapped = jax.custom_vjp(function)

    def forward(x: Array) -> tuple[Scalar, Array]:
        gradient, value = jax.jacfwd(lambda y: (function(y),) * 2, has_aux=True)(x)
        return value, gradient

    wrapped.defvjp(forward, lambda gradient, cotangent: (cotangent * gradient,))
    return wrapped
