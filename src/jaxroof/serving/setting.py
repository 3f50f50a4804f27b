"""One server under one load, or many: what is simulated, and which of its leaves differ between settings."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxroof.files import InputError
from jaxroof.parameters import Architecture, Deployment, Layers, Scalar, Values, scalar, setting_axes
from jaxroof.request.latency import no_requests, rows
from jaxroof.serving import capacity
from jaxroof.serving.demand import Demand
from jaxroof.serving.limits import check_blocks, check_demand, check_setting
from jaxroof.serving.load import Load
from jaxroof.step import Batch, Model

# A line needs neither a model nor GPUs.
NO_MODEL = Architecture(1.0, 1.0, Layers(1.0, 1.0, 1.0, 1.0))
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
        """Of each leaf the axis of settings: 0, or None."""
        return _axes(self, 0 if np.ndim(self.load.arrival_s) > 1 else None)

    @property
    def count(self) -> int | None:
        """How many settings there are; None where no leaf has their axis."""
        sizes = {np.shape(leaf)[0] for leaf, axis in zip(jax.tree.leaves(self), self.axes, strict=True) if axis == 0}
        if len(sizes) > 1:
            raise InputError("simulate", f"leaves differ in their number of settings: {sorted(sizes)}")
        return max(sizes, default=None)


class Asked(eqx.Module):
    """A server and the demand on it; many where leaves have a leading axis. ``kv_blocks`` None: beside the weights."""

    model: Model
    architecture: Architecture
    deployment: Deployment
    demand: Demand
    kv_blocks: Scalar | None

    @property
    def gaps(self) -> Scalar:
        """Steps after a request's first token."""
        return jnp.maximum(self.demand.output_tokens - 1, 0.0)

    @property
    def axes(self) -> Axes:
        """Of each leaf the axis of settings: 0, or None."""
        return _axes(self, jax.tree.map(lambda leaf: 0 if np.ndim(leaf) else None, self.demand))


def admission_s(served: Setting | Asked) -> Scalar:
    """What a request waits for once, whatever the batch [s]."""
    one = jnp.ones_like(served.deployment.tp)
    batch = Batch(no_requests(), rows(one, one, one), served.architecture.sampling)
    return served.model(batch, served.architecture, served.deployment).admission_s


def _axes(asked: "Setting | Asked", of_clients: Any) -> Axes:
    """In the order of the leaves, and hashable, so that a program can depend on it."""
    trees = (asked.model, asked.architecture, asked.deployment)
    blocks = 0 if asked.kv_blocks is not None and np.ndim(asked.kv_blocks) else None
    clients = asked.load if isinstance(asked, Setting) else asked.demand
    full: Any = jax.tree.map(
        lambda axis, part: [axis] * len(jax.tree.leaves(part)),
        (*map(setting_axes, trees), of_clients, blocks),
        (*trees, clients, asked.kv_blocks),
        is_leaf=lambda leaf: leaf is None,
    )
    return tuple(jax.tree.leaves(full, is_leaf=lambda leaf: leaf is None))


def over(function: Callable[..., Any], axes: Axes) -> Callable[..., Any]:
    """``function`` of a setting and of what always has a leading axis, mapped over settings."""

    def mapped(setting: Setting | Asked, *others: Any) -> Any:
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
    arch, deployment = _served_by("simulate", model, arch, deployment)
    check_setting("simulate", model, load, arch, deployment, kv_blocks)
    load = dataclasses.replace(load, think_s=np.broadcast_to(load.think_s, np.shape(load.arrival_s)[:-1]))
    setting = Setting(model, arch, deployment, load, scalar(np.inf if kv_blocks is None else kv_blocks))
    if kv_blocks is None and model.step != "linear":
        setting = dataclasses.replace(setting, kv_blocks=_beside_weights(setting))
    check_blocks("simulate", load, setting.kv_blocks, model.constants.server)
    return setting


def make_asked(
    model: Model, demand: Demand, arch: Architecture | None, deployment: Deployment | None, kv_blocks: Any
) -> Asked:
    """Checked as far as it is no tracer; without ``kv_blocks`` they are those beside the weights. Raises InputError."""
    arch, deployment = _served_by("steady_state", model, arch, deployment)
    check_demand("steady_state", model, demand, arch, deployment)
    return Asked(model, arch, deployment, demand, None if kv_blocks is None else scalar(kv_blocks))


def _served_by(
    where: str, model: Model, arch: Architecture | None, deployment: Deployment | None
) -> tuple[Architecture, Deployment]:
    if arch is not None and deployment is not None:
        return arch, deployment
    if model.step != "linear":
        raise InputError(where, f"{model.step} needs a model and its deployment; only linear needs neither")
    return NO_MODEL, NO_GPUS


def _beside_weights(setting: Setting) -> Any:
    def one(setting: Setting) -> Scalar:
        return capacity.kv_blocks(setting.architecture, setting.deployment.tp, setting.model.constants)

    return np.asarray(one(setting) if setting.count is None else over(one, setting.axes)(setting))
