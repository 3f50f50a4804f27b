"""What cannot be simulated is refused in one sentence, before anything runs."""

from typing import Any

import jax
import numpy as np

from jaxroof.files import NON_NEGATIVE, InputError, Range
from jaxroof.parameters import Architecture, Deployment, Server
from jaxroof.parameters.architecture import check_deployment
from jaxroof.parameters.leaves import check_numbers
from jaxroof.request.limits import SPREAD, check_sampling, check_takes_time, check_window, known, refuse_layers
from jaxroof.serving.capacity import beyond_positions
from jaxroof.serving.demand import Demand
from jaxroof.serving.load import Load
from jaxroof.step import Model

# What a step's time needs of its requests is a few sums.
SIMULATED = ("kernels", "linear", "memory")
DEMAND = {
    "prompt_tokens": Range(low=1, high=1e7), "output_tokens": Range(low=1, high=1e7), "cached_tokens": Range(high=1e7),
    "prompt_cv": SPREAD, "output_cv": SPREAD, "rate_per_s": NON_NEGATIVE, "clients": NON_NEGATIVE,
    "think_s": NON_NEGATIVE,
}  # fmt: skip


def check_setting(
    where: object, model: Model, load: Load, arch: Architecture, deployment: Deployment, kv_blocks: Any
) -> None:
    """Raise InputError for a step model, a load or a server that cannot be; of many settings any of them may."""
    if not known(*jax.tree.leaves((model, load, arch, deployment, kv_blocks))):
        raise InputError(
            where, "is no function to differentiate or map: arrivals stay while steps move, and what changes when a "
            "step's end passes an arrival has no derivative; steady_state has gradients, arrays of settings map",
        )  # fmt: skip
    if model.step not in SIMULATED:
        raise InputError(where, "step model", f"{model.step} is not simulated: only {', '.join(SIMULATED)} are")
    check_load(where, load)
    check_takes_time(where, model)
    _check_server(where, model.constants.server)
    prompt, longest = np.max(load.prompt_tokens), np.max(load.prompt_tokens + load.output_tokens)
    if model.step != "linear":
        check_model(where, model, arch, deployment, float(prompt), float(longest))


def check_demand(where: object, model: Model, demand: Demand, arch: Architecture, deployment: Deployment) -> None:
    """Raise InputError for a demand, a step model or a server that cannot be; tracers are not looked at."""
    if model.step not in SIMULATED:
        raise InputError(where, "step model", f"{model.step} is not modelled: only {', '.join(SIMULATED)} are")
    if not known(*jax.tree.leaves((model, demand, arch, deployment))):
        return
    for key, legal in DEMAND.items():
        check_numbers(where, key, getattr(demand, key), legal)
    if np.any((np.asarray(demand.rate_per_s) > 0) == (np.asarray(demand.clients) > 0)):
        raise InputError(where, "needs a rate_per_s or clients, and not both")
    if np.any(np.asarray(demand.cached_tokens) > demand.prompt_tokens):
        raise InputError(where, "cached_tokens", "must be ≤ prompt_tokens")
    check_takes_time(where, model)
    _check_server(where, model.constants.server)
    if model.step != "linear":
        prompt, output = (np.max(tokens) for tokens in (demand.prompt_tokens, demand.output_tokens))
        check_model(where, model, arch, deployment, float(prompt), float(prompt + output))


def check_model(
    where: object, model: Model, arch: Architecture, deployment: Deployment, prompt: float, longest: float
) -> None:
    """Raise InputError for a model that cannot be served so, or whose positions ``prompt`` tokens are beyond."""
    refuse_layers(where, model.step, arch)
    check_sampling(where, arch.sampling, model.step, model.constants.server)
    if np.ndim(arch.layers.head_dim) > 1 or np.ndim(deployment.tp) or np.ndim(deployment.ep):
        return
    check_deployment(where, arch, float(deployment.tp), float(deployment.ep))
    check_window(where, model.step, arch, longest)
    if beyond := beyond_positions(arch, prompt):
        raise InputError(where, "prompt", beyond)


def check_load(where: object, load: Load) -> None:
    """Raise InputError unless arrivals rise and counts are whole numbers."""
    if load.requests == 0:
        raise InputError(where, "load", "has no requests")
    arrival_s = np.asarray(load.arrival_s)
    if not (arrival_s >= 0).all():
        raise InputError(where, "arrival_s", "must be ≥ 0")
    if not (arrival_s[..., 1:] >= arrival_s[..., :-1]).all():
        raise InputError(where, "arrival_s", "must rise")
    if np.isinf(arrival_s[..., 0]).any():
        raise InputError(where, "arrival_s", "the first request must be sent")
    for key, least in {"prompt_tokens": 1, "cached_tokens": 0, "output_tokens": 1}.items():
        counts = np.asarray(getattr(load, key))
        if not ((counts >= least) & (counts == np.floor(counts)) & np.isfinite(counts)).all():
            raise InputError(where, key, f"must be whole numbers ≥ {least}")
    if (np.asarray(load.cached_tokens) > load.prompt_tokens).any():
        raise InputError(where, "cached_tokens", "must be ≤ prompt_tokens")
    think_s = np.asarray(load.think_s)
    if not ((think_s >= 0) & np.isfinite(think_s)).all():
        raise InputError(where, "think_s", "must be finite and ≥ 0")


def _check_server(where: object, server: Server) -> None:
    budget, slots = (np.asarray(limit) for limit in (server.max_num_batched_tokens, server.max_num_seqs))
    if (budget < slots).any():
        raise InputError(
            where, "server.max_num_batched_tokens",
            f"must be ≥ server.max_num_seqs: {np.min(budget):g} tokens for {np.max(slots):g} requests",
        )  # fmt: skip


def check_blocks(where: object, load: Load, kv_blocks: Any, server: Server) -> None:
    """A request that does not fit alone would wait for ever."""
    size = np.asarray(server.block_size)
    needed = np.ceil((load.prompt_tokens + load.output_tokens - 1).max(-1) / size)
    if not (needed <= kv_blocks).all():
        raise InputError(
            where, "kv_blocks",
            f"a request needs {np.max(needed):g} blocks of {np.max(size):g} tokens, and {np.min(kv_blocks):g} fit",
        )  # fmt: skip
