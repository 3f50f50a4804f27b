"""What is predicted as constants move: values and derivatives, one program for each set of keys."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array, Float

from jaxroof.parameters.leaves import replace

Points = Float[Array, "point constant"]
# A tree of arrays from a tree of constants and what else it depends on.
Predicted = Callable[..., Any]


@functools.partial(jax.jit, static_argnames=("predicted", "keys", "static"))
def slopes_along(
    predicted: Predicted, constants: Any, traced: Sequence[Any], points: Points, directions: Points,
    *, keys: Sequence[str], static: Sequence[Any] = (),
) -> tuple[Any, Any]:  # fmt: skip
    """What is predicted at each point, and its derivative along the point's direction, by forward mode.

    ``predicted(constants, *traced, *static)`` is a function at module level, so that calls share a program. A point
    has a value for each of ``keys``, in the units of files, and takes the place of those in ``constants``.
    Returns two trees with a leading axis ``point``.
    """
    moved = _moved(predicted, constants, traced, keys, static)
    return jax.vmap(lambda point, direction: jax.jvp(moved, (point,), (direction,)))(points, directions)


@functools.partial(jax.jit, static_argnames=("predicted", "keys", "static"))
def values_along(
    predicted: Predicted, constants: Any, traced: Sequence[Any], points: Points,
    *, keys: Sequence[str], static: Sequence[Any] = (),
) -> Any:  # fmt: skip
    """What is predicted at each point, a tree with a leading axis ``point``; as :func:`slopes_along`."""
    return jax.vmap(_moved(predicted, constants, traced, keys, static))(points)


def _moved(
    predicted: Predicted, constants: Any, traced: Sequence[Any], keys: Sequence[str], static: Sequence[Any]
) -> Callable[[Float[Array, " constant"]], Any]:
    def at(values: Float[Array, " constant"]) -> Any:
        return predicted(replace(constants, dict(zip(keys, values, strict=True))), *traced, *static)

    return at
