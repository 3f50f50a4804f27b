"""L-BFGS on bounded constants, through ever sharper losses."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jaxroof.calibration.bounds import Box
from jaxroof.parameters import Scalar

# Iterations in each stage, and trials of one line search.
ITERATIONS = 30
TRIALS = 20
# A step that lowers the loss by no more than this share ends its stage.
SETTLED = 1e-9

Constants = Float[Array, " constant"]
PerExperiment = Float[Array, " experiment"]
Objective = Callable[[Constants], Scalar]


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
    ratio: Callable[[Constants], PerExperiment], weights: PerExperiment, start: Constants, box: Box, stages: Stages
) -> Path:
    """Minimise the error of ``ratio``, predicted / measured of the constants, through ``stages``.

    Each stage begins where the last one ended, a margin away from the bounds.
    """
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=TRIALS, initial_guess_strategy="one")
    optimiser = optax.lbfgs(linesearch=search)

    def through(values: Array, stage: Stages) -> tuple[Array, Path]:
        objective = _forward_mode(lambda x: _huber(ratio(box.values(x)), weights, stage))

        def step(state: _State, _: None) -> tuple[_State, Path]:
            state, trials = _step(optimiser, objective, state)
            reached = box.values(state.u)
            return state, Path(reached, _mape(ratio(reached), weights), trials)

        u = box.unbounded(values)
        value, gradient = jax.value_and_grad(objective)(u)
        begun = _State(u, optax.tree.set(optimiser.init(u), value=value, grad=gradient), jnp.array(False))
        ended, path = jax.lax.scan(step, begun, None, length=ITERATIONS)
        return box.values(ended.u), path._replace(evaluations=path.evaluations.at[0].add(1))

    with jax.numpy_dtype_promotion("standard"):  # optax mixes its own dtypes
        _, path = jax.lax.scan(through, start, stages)
    return cast(Path, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), path))


class _State(NamedTuple):
    """Where a stage stands: the unbounded constants, the optimiser's own state, and whether the loss has settled."""

    u: Constants
    optimiser: Any
    settled: Bool[Array, ""]


def _step(
    optimiser: optax.GradientTransformationExtraArgs, objective: Objective, state: _State
) -> tuple[_State, Int[Array, ""]]:
    """One step, and its trials: none once settled, as the lanes of a vmap go on until the last one has."""
    u, before, settled = state
    value, gradient = optax.tree.get(before, "value"), optax.tree.get(before, "grad")
    gradient = jnp.where(settled, 0.0, gradient)  # so that its line search ends at once
    change, after = optimiser.update(gradient, before, u, value=value, grad=gradient, value_fn=objective)
    trials = jnp.where(settled, 0, optax.tree.get(after, "num_linesearch_steps"))
    settled = settled | (value - optax.tree.get(after, "value") <= SETTLED * value)
    return _State(optax.apply_updates(u, change), after, settled), trials


def _huber(ratio: PerExperiment, weights: PerExperiment, stage: Stages) -> Scalar:
    """Weighted mean of Huber's loss over its threshold: the mean absolute error where that is small."""
    error = jnp.where(stage.of_log > 0, jnp.log(ratio), ratio - 1)
    return jnp.sum(weights * optax.huber_loss(error, delta=stage.threshold)) / stage.threshold / jnp.sum(weights)


def _mape(ratio: PerExperiment, weights: PerExperiment) -> Scalar:
    return jnp.sum(weights * abs(ratio - 1)) / jnp.sum(weights)


def _forward_mode(function: Objective) -> Objective:
    """``function`` with its gradient by forward mode: for a few constants as fast, and quicker to compile."""
    wrapped = jax.custom_vjp(function)

    def forward(x: Array) -> tuple[Scalar, Array]:
        gradient, value = jax.jacfwd(lambda y: (function(y),) * 2, has_aux=True)(x)
        return value, gradient

    wrapped.defvjp(forward, lambda gradient, cotangent: (cotangent * gradient,))
    return wrapped
