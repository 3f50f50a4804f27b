"""Leaves: how a constant is declared once, and found, read and replaced by its dotted key.

A field made by :func:`leaf` knows its key in files, the unit of that key and its legal range.
Files, ``--set``, sweeps and gradients all read this one declaration. Nothing is checked on
construction: stacked trees and gradient trees are legal values of the same class.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxroof.files import NON_NEGATIVE, InputError, Range, check

Tree = TypeVar("Tree", bound=eqx.Module)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """Declaration of one constant: key in files, unit of that key [SI per unit], legal range, axes of its own."""

    key: str
    unit: float
    range: Range
    axes: int


@runtime_checkable
class Noting(Protocol):
    """A tree that notes which of its constants were set."""

    def changed(self, paths: Iterable[str]) -> Any:
        """The same tree, which knows that the leaves at ``paths`` were set."""


def scalar(value: Any) -> Any:
    """``value`` as an array of the default float type; NumPy's until JAX computes with it.

    So loading and stacking parameters compiles nothing.
    """
    asarray = jnp.asarray if isinstance(value, jax.Array) else np.asarray
    return asarray(value, dtype=jnp.result_type(float))


def leaf(key: str, unit: float = 1.0, range: Range = NON_NEGATIVE, grouped: bool = False, **kwargs: Any) -> Any:
    """A field of an ``eqx.Module`` that holds one constant, or one for each group; ``kwargs`` go to the field."""
    declaration = Leaf(key, unit, range, int(grouped))
    return eqx.field(converter=_groups if grouped else scalar, metadata={"leaf": declaration}, **kwargs)


def _groups(value: Any) -> Any:
    """As :func:`scalar`; a number is that of the one group."""
    array = scalar(value)
    return array if np.ndim(array) else array[None]


def inlined(**kwargs: Any) -> Any:
    """A field that holds a tree whose keys are the keys of the tree that it is a field of; as :func:`leaf`."""
    return eqx.field(metadata={"inlined": True}, **kwargs)


def declared(cls: type) -> dict[str, tuple[str, Leaf]]:
    """File key → (field name, declaration) of the leaves that ``cls`` itself declares."""
    fields = dataclasses.fields(cls)
    return {f.metadata["leaf"].key: (f.name, f.metadata["leaf"]) for f in fields if "leaf" in f.metadata}


def walk(tree: eqx.Module, prefix: str = "") -> Iterator[tuple[str, str, Leaf]]:
    """Every declared leaf below ``tree``: (dotted key, dotted attribute path, declaration)."""
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        if "leaf" in field.metadata:
            declaration = field.metadata["leaf"]
            yield f"{prefix}{declaration.key}", field.name, declaration
        elif isinstance(value, eqx.Module):
            inner = prefix if "inlined" in field.metadata else f"{prefix}{field.name}."
            for key, path, declaration in walk(value, inner):
                yield key, f"{field.name}.{path}", declaration


def get(tree: Any, path: str) -> Any:
    """The leaf at a dotted attribute path."""
    for name in path.split("."):
        tree = getattr(tree, name)
    return tree


def numbers(tree: eqx.Module) -> dict[str, float]:
    """Every declared constant by dotted key, in the unit of its file; the tree has no setting axis."""
    return {key: float(get(tree, path)) / leaf.unit for key, path, leaf in walk(tree)}


def replace(tree: Tree, values: Mapping[str, Any]) -> Tree:
    """``tree`` with the leaves at dotted keys replaced, values in the unit of their files.

    Arguments: ``tree``, a model, its constants or an architecture; ``values``, by the key that ``--set`` takes, each
    a number or an array: one of settings gives a tree for :func:`jaxroof.latencies`, or to ``vmap`` over.
    Returns a new tree of the same class, leaves in SI units and the default float type.
    Raises InputError for a key that no leaf has and for a value out of its range; tracers are not checked, so that
    sweeps and gradients may leave it.

    >>> model = jaxroof.load_model("memory")
    >>> raw = jaxroof.replace(model, {"hardware.hbm_efficiency": 1.0, "overheads.decode.per_layer_us": [80, 100]})
    >>> raw.constants.overheads.decode.per_layer_s.shape
    (2,)
    """
    known = {key: (path, leaf) for key, path, leaf in walk(tree)}
    check.unknown_key("replace", values, known)
    for key, value in values.items():
        if not isinstance(value, jax.core.Tracer):
            check_numbers("replace", key, value, known[key][1].range)
    new = put(tree, {known[key][0]: _si(tree, key, value, *known[key]) for key, value in values.items()})
    return new.changed([known[key][0] for key in values]) if isinstance(new, Noting) else new


def _si(tree: eqx.Module, key: str, value: Any, path: str, leaf: Leaf) -> Any:
    """``value`` as the leaf at ``path``, with the axis of the one group where it has groups."""
    value = scalar(value) * leaf.unit
    if leaf.axes and np.shape(get(tree, path))[-1] > 1:
        raise InputError("replace", key, "has a value for each kind of layer, and these differ")
    return value[..., None] if leaf.axes else value


def check_numbers(where: object, key: str, value: Any, legal: Range) -> None:
    """Raise InputError for a number, or one of an array, out of its range: the ends tell, and the first fraction."""
    try:
        given = np.atleast_1d(np.asarray(value, dtype=float))
    except (TypeError, ValueError):
        raise InputError(where, key, f"must be a number, got {value!r}") from None
    for x in (given.min(), given.max(), *given[given != np.rint(given)][:1]) if given.size else ():
        check.number(where, key, float(x), legal)


def put(tree: Tree, values: Mapping[str, Any]) -> Tree:
    """``tree`` with the leaves (or absent ones) at dotted attribute paths replaced, values in SI."""
    if not values:
        return tree
    leaves = list(values.values())
    return cast(Tree, eqx.tree_at(lambda t: [get(t, p) for p in values], tree, leaves, is_leaf=lambda x: x is None))


def setting_axes(tree: Tree) -> Tree | None:
    """0 at every declared leaf with a leading axis of settings, None elsewhere; None if there is none."""
    paths = [path for _, path, leaf in walk(tree) if np.ndim(get(tree, path)) > leaf.axes]
    none = cast(Tree, jax.tree.map(lambda _: None, tree))
    return put(none, dict.fromkeys(paths, 0)) if paths else None
