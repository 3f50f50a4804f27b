"""A function as the list of the primitives that its result needs.

``jax.numpy`` calls are small jitted functions. Each ``vmap`` around them maps every one of them anew, so that
tracing a step through three of them takes several times longer than tracing it once and mapping its primitives.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import jax
from jax.extend.core import ClosedJaxpr, Var, jaxpr_as_fun

Result = TypeVar("Result")


def as_primitives(function: Callable[..., Result]) -> Callable[..., Result]:
    """``function``, traced at each call, without what does not reach its result."""

    def run(*args: Any) -> Result:
        jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        leaves = jaxpr_as_fun(_needed(jaxpr))(*jax.tree.leaves(args))
        return cast(Result, jax.tree.unflatten(jax.tree.structure(shape), leaves))

    return run


def _needed(closed: ClosedJaxpr) -> ClosedJaxpr:
    wanted, kept = _variables(closed.jaxpr.outvars), []
    for equation in reversed(closed.jaxpr.eqns):
        if wanted.intersection(equation.outvars):
            wanted |= _variables(equation.invars)
            kept.append(equation)
    return cast(ClosedJaxpr, closed.replace(jaxpr=closed.jaxpr.replace(eqns=kept[::-1])))


def _variables(atoms: Sequence[Any]) -> set[Var]:
    return {atom for atom in atoms if isinstance(atom, Var)}
