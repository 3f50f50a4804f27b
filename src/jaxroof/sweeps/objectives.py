"""What a sweep evaluates at a setting: errors or latencies of the measured runs, or the latency of one request.

A setting is values by key: Tier-0 leaves, and what else an objective takes.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.metrics import METRICS, ape, mean
from jaxroof.experiments.runs import Runs
from jaxroof.parameters import Architecture, Deployment, experts_divide, get, put, replace, scalar, walk
from jaxroof.request.fixed_lengths import FixedLengths, chunks_of, fixed_schedule
from jaxroof.request.latency import step_times, total
from jaxroof.request.limits import can_sample, takes_time
from jaxroof.request.schedule import Latency
from jaxroof.serving.capacity import attends_in_full, can_serve, held_tokens
from jaxroof.step import Model
from jaxroof.sweeps.space import Labels
from jaxroof.units import MILLI, PERCENT

ARCHITECTURE = "architecture."
REQUEST = ("tp", "ep", "prompt", "output", "cached", "batch", "output_cv")
# It decides how many prefill steps there are, so it cannot vary.
BUDGET = "server.max_num_batched_tokens"
TUNED = "constants.server.tuned_moe"
SERVED = ("ttft_ms", "itl_ms", "e2e_ms", "tpot_e2e_per_token_ms", "gpus")

Values = dict[str, Array]
Evaluated = tuple[Float[Array, "metric setting"], Bool[Array, " setting"]]


class Variants(eqx.Module):
    """A tree, and what of it depends on the codes of ``names``: leaves by path, an axis per name."""

    base: Any
    differing: dict[str, NDArray[np.floating]]
    names: tuple[str, ...] = eqx.field(static=True)

    def at(self, values: Values) -> Any:
        """The tree at a setting, or at many: then leaves have a setting axis."""
        codes = tuple(values[name] for name in self.names)
        return put(self.base, {path: leaf[codes] for path, leaf in self.differing.items()})


class Objective(NamedTuple):
    """``evaluate(constants, values by key [setting])``: the ``metrics`` of each, and whether it can be.

    ``evaluations``: requests' latencies per setting.
    """

    metrics: tuple[str, ...]
    constants: Any
    evaluate: Callable[[Any, Values], Evaluated]
    evaluations: int


def variants(trees: Sequence[Any], labels: Labels, tables: Sequence[str] = ()) -> Variants:
    """Variants of trees, one for each combination of ``labels``.

    What is neither a declared leaf nor at a path of ``tables`` they share.
    """
    paths = [*(path for _, path, _ in walk(trees[0])), *tables]
    columns = {path: np.array([get(tree, path) for tree in trees]) for path in paths}
    shape = [len(names) for names in labels.values()]
    differing = {p: leaf.reshape(*shape, *leaf.shape[1:]) for p, leaf in columns.items() if np.any(leaf != leaf[0])}
    return Variants(trees[0], differing, tuple(labels))


def scored(
    models: Variants, runs: Runs, group: NDArray[np.bool_], names: Sequence[str] | None, *, scoring: str
) -> Objective:
    """MAPEs over ``group``, or with the experiments' ``names`` the latencies of each."""
    constants = (models, runs, group.astype(jnp.result_type(float)))
    evaluate = functools.partial(_scored, scoring=scoring, each=names is not None)
    columns = [f"{metric}_mape_pct" for metric in ("tpot", "ttft", "e2e")]
    if names is not None:
        columns = [f"{name}.{metric}_ms" for name in names for metric in METRICS]
    return Objective(tuple(columns), constants, evaluate, len(group))


def _scored(constants: Any, values: Values, *, scoring: str, each: bool) -> Evaluated:
    models, runs, group = constants
    count = next(iter(values.values())).shape
    model = _model(models, values)
    predicted = latencies(model, runs, scoring=scoring)
    # A latency that no varied constant enters comes back as [experiment], without settings (the TTFT, say, where
    # only a decode constant varies). It is the same at every setting, so it is repeated for each.
    filled: Latency = jax.tree.map(lambda x: jnp.broadcast_to(x.reshape(len(x), -1), x.shape[:1] + count), predicted)

    def mape(metric: str) -> Float[Any, " setting"]:
        measured = jnp.asarray(runs.measured[scoring][metric])
        return mean(ape(filled[metric], measured[:, None]), group) / PERCENT

    if each:
        table = (jnp.stack([filled[metric] for metric in METRICS], axis=1) / MILLI).reshape(-1, *count)
    else:
        table = jnp.stack([mape(metric) for metric in ("tpot", "ttft", "e2e")])
    feasible = jnp.broadcast_to(takes_time(model), count)
    return jnp.where(feasible, table, jnp.nan), feasible


def served(
    models: Variants, archs: Variants, request: Mapping[str, float], longest_prompt: float, panels: int
) -> Objective:
    """Latencies of one request and the GPUs they take; ``request`` is what does not vary of it."""
    constants = (models, archs, {key: scalar(value) for key, value in request.items()})
    nodes = {"chunks": chunks_of(longest_prompt, _least_budget(models)), "panels": panels}
    one = functools.partial(_served, nodes=nodes)
    return Objective(SERVED, constants, jax.vmap(one, in_axes=(None, 0), out_axes=(1, 0)), 1)


def _least_budget(models: Variants) -> float:
    """The smallest token budget of a step among the variants' servers."""
    base = models.base.constants.server.max_num_batched_tokens
    return float(np.min(models.differing.get(f"constants.{BUDGET}", base)))


def _served(constants: Any, values: Values, *, nodes: Mapping[str, int]) -> tuple[Array, Array]:
    models, archs, fixed = constants
    model = _model(models, values)
    of_arch = {key.removeprefix(ARCHITECTURE): v for key, v in values.items() if key.startswith(ARCHITECTURE)}
    arch: Architecture = replace(archs.at(values), of_arch)
    tp, ep, prompt, output, cached, batch, cv = (values.get(key, fixed.get(key)) for key in REQUEST)
    request = FixedLengths(prompt, output, cached, cv, arch.sampling)
    schedule = fixed_schedule(request, model.constants.server.max_num_batched_tokens, **nodes)
    result = total(schedule, *step_times(model, schedule, arch, Deployment(tp, ep), batch))
    itl_s = jnp.where(output > 1, result.tpot_s, jnp.nan)  # one token has no time between tokens
    seconds = jnp.stack([result.ttft_s, itl_s, result.e2e_s, result.e2e_s / output])
    held = held_tokens(prompt, cached, output, batch, model.constants.server.block_size)
    feasible = (cached <= prompt) & can_serve(arch, tp, held, batch, model.constants) & takes_time(model)
    feasible &= jnp.all(experts_divide(arch.layers, tp, ep))
    if model.step != "kernels":
        feasible &= attends_in_full(arch, prompt + output)
    if model.step == "kernels":
        feasible &= can_sample(arch.sampling, model.constants.server.penalties.supported)
    return jnp.where(feasible, jnp.append(seconds / MILLI, tp), jnp.nan), feasible


def _model(models: Variants, values: Values) -> Model:
    """The variant at a setting, with the constants that vary."""
    known = {key for key, _, _ in walk(models.base)}
    return cast(Model, replace(models.at(values), {key: value for key, value in values.items() if key in known}))
