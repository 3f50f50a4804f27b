"""One server under one load, or many: what is simulated, and which of its leaves differ between settings."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import numpy as np

from jaxroof.files import InputError
from jaxroof.parameters import Architecture, Deployment, Scalar, Values, scalar, setting_axes
from jaxroof.serving import capacity
from jaxroof.serving.limits import check_blocks, check_setting
from jaxroof.serving.load import Load
from jaxroof.step import Model

# A line needs neither a model nor GPUs.
NO_MODEL = Architecture(*[1.0] * 9)  # type: ignore[arg-type]
NO_GPUS = Deployment(1.0)

Axes = tuple[int | None, ...]


class Setting(eqx.Module):
    """A server under a load; many where leaves have a leading axis."""

    model: Model
    architecture: Architecture
    deployment: Deployment
    load: Load
    kv_blocks: Values

    @property
    def axes(self) -> Axes:
        """Of each leaf 0 where it has an axis of settings, else None; hashable, so that a program can depend on it."""
        load = 0 if np.ndim(self.load.arrival_s) > 1 else None
        blocks = 0 if np.ndim(self.kv_blocks) else None
        trees = (self.model, self.architecture, self.deployment)
        full: Any = jax.tree.map(
            lambda axis, part: [axis] * len(jax.tree.leaves(part)),
            (*map(setting_axes, trees), load, blocks),
            (*trees, self.load, self.kv_blocks),
            is_leaf=lambda leaf: leaf is None,
        )
        return tuple(jax.tree.leaves(full, is_leaf=lambda leaf: leaf is None))

    @property
    def count(self) -> int | None:
        """How many settings there are; None where no leaf has their axis."""
        sizes = {np.shape(leaf)[0] for leaf, axis in zip(jax.tree.leaves(self), self.axes, strict=True) if axis == 0}
        if len(sizes) > 1:
            raise InputError("simulate", f"leaves differ in their number of settings: {sorted(sizes)}")
        return max(sizes, default=None)


def over(function: Callable[..., Any], axes: Axes) -> Callable[..., Any]:
    """``function`` of a setting and of what always has a leading axis, mapped over settings."""

    def mapped(setting: Setting, *others: Any) -> Any:
        leaves, structure = jax.tree.flatten(setting)

        def one(leaves: list[Any], *others: Any) -> Any:
            return function(jax.tree.unflatten(structure, leaves), *others)

        return jax.vmap(one, in_axes=(list(axes), *[0] * len(others)))(leaves, *others)

    return mapped


def part(setting: Setting, axes: Axes, places: Any) -> Setting:
    """The settings at ``places``."""
    leaves, structure = jax.tree.flatten(setting)
    taken = [leaf[places] if axis == 0 else leaf for leaf, axis in zip(leaves, axes, strict=True)]
    return cast(Setting, jax.tree.unflatten(structure, taken))


def alone(setting: Setting) -> Setting:
    """A single setting as the only one of many."""
    return dataclasses.replace(setting, load=jax.tree.map(lambda leaf: leaf[None], setting.load))


def make_setting(
    model: Model, load: Load, arch: Architecture | None, deployment: Deployment | None, kv_blocks: Any
) -> Setting:
    """Checked, with the KV blocks that there are beside the weights if none are given, for a line without end.

    Raises InputError.
    """
    line = model.step == "linear"
    if arch is None or deployment is None:
        if not line:
            raise InputError("simulate", f"{model.step} needs a model and its deployment; only linear needs none")
        arch, deployment = NO_MODEL, NO_GPUS
    blocks = np.inf if kv_blocks is None else kv_blocks
    check_setting("simulate", model, load, arch, deployment, kv_blocks)
    think_s = np.broadcast_to(load.think_s, np.shape(load.arrival_s)[:-1])
    setting = Setting(model, arch, deployment, dataclasses.replace(load, think_s=think_s), scalar(blocks))
    if kv_blocks is None and not line:
        setting = dataclasses.replace(setting, kv_blocks=_beside_weights(setting))
    check_blocks("simulate", load, setting.kv_blocks, model.constants.server)
    return setting


def _beside_weights(setting: Setting) -> Any:
    def one(setting: Setting) -> Scalar:
        return capacity.kv_blocks(setting.architecture, setting.deployment.tp, setting.model.constants)

    return np.asarray(one(setting) if setting.count is None else over(one, setting.axes)(setting))
