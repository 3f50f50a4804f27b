"""What cannot be predicted is refused in one sentence, before anything is traced."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from jaxroof.files import AT_LEAST_ONE, CACHED_TOKENS, TOKENS, InputError, Range, check
from jaxroof.parameters import Flag, Sampling, Scalar, Server, get, walk
from jaxroof.parameters.architecture import Architecture, Deployment, check_deployment
from jaxroof.step import Model

SPREAD = Range(high=10)
# A measured batch is a mean, and need not be whole.
LEGAL = {"prompt": TOKENS, "output": TOKENS, "cached": CACHED_TOKENS, "batch": AT_LEAST_ONE, "output_cv": SPREAD}
# The keys of which one must have a value on a measured line.
TAKE_TIME = ("linear.base_us", "linear.per_new_token_us", "linear.per_request_us")
SET_OR_FILE = "name a file of a measured line, or set"


def check_request(model: Model, arch: Architecture, deployment: Deployment, sampling: Sampling, **request: Any) -> None:
    """Raise InputError for a request, a model or a deployment that cannot be.

    Only concrete numbers are checked: a tracer stands for many, and inside a program nothing can raise.
    """
    for key, value in request.items():
        if known(value):
            check.number("predict", key, _number(key, value), LEGAL[key])
    prompt, output, cached = (request[key] for key in ("prompt", "output", "cached"))
    if known(prompt, cached) and cached > prompt:
        raise InputError("predict", "cached", f"must be ≤ prompt {prompt}, got {cached}")
    if known(arch.num_attention_heads, arch.num_key_value_heads, arch.num_experts, deployment.tp, deployment.ep):
        check_deployment("predict", arch, float(deployment.tp), float(deployment.ep))
    check_sampling("predict", sampling, model.step, model.constants.server)
    refuse_mixture("predict", model.step, arch)
    check_takes_time("predict", model)
    if known(arch.sliding_window, prompt, output):
        check_window("predict", arch, prompt + output)


def check_sampling(where: object, sampling: Sampling, step_model: str, server: Server) -> None:
    """Raise InputError for parameters that are illegal, or whose cost on the server is not known."""
    leaves, supported = jax.tree.leaves(sampling), server.penalties.supported
    if not known(supported, *leaves):
        return
    # Read once, as numbers of the host: this is asked before every prediction.
    sampling = jax.tree.unflatten(jax.tree.structure(sampling), [np.float64(leaf) for leaf in leaves])
    for key, path, leaf in walk(sampling):
        check.number(where, f"sampling.{key}", get(sampling, path), leaf.range)
    if step_model == "kernels" and not can_sample(sampling, np.float64(supported)):
        raise InputError(where, "sampling", "the server's penalties are not known; name sampling without them")


def can_sample(sampling: Sampling, penalties_supported: Scalar) -> Flag:
    """Whether the cost of ``sampling`` is known on a server that has penalties or not."""
    return (penalties_supported > 0) | ~sampling.penalises


def refuse_mixture(where: object, step_model: str, arch: Architecture) -> None:
    """Only ``kernels`` models a mixture of experts; ``arch`` may be many. Raises InputError."""
    if step_model != "kernels" and known(arch.num_experts) and np.any(np.asarray(arch.num_experts) > 0):
        raise InputError(where, "num_experts", f"the {step_model} step time is for dense models; use kernels")


def check_window(where: object, arch: Architecture, longest_tokens: float) -> None:
    """Raise if attention would slide; ``where`` is what named the model."""
    window = float(arch.sliding_window)
    if 0 < window < longest_tokens:
        tokens = f"the window of {window:.0f} tokens is shorter than the request's {longest_tokens:.0f}"
        raise InputError(where, "sliding_window", f"windowed attention is not modelled: {tokens}")


def _number(key: str, value: Any) -> Any:
    """A number, or what is to be refused as none; an array of no axis is a number."""
    if np.ndim(value):
        raise InputError("predict", key, "must be one number; map over several with jax.vmap")
    return value.item() if isinstance(value, np.ndarray | np.generic | jax.Array) else value


def known(*values: Any) -> bool:
    """Whether they are numbers now, not tracers."""
    return not any(isinstance(value, jax.core.Tracer) for value in values)


def check_takes_time(where: object, model: Model, moved: Iterable[str] = (), advice: str = SET_OR_FILE) -> None:
    """Raise InputError for a line whose steps take no time, unless keys that will give them some are ``moved``.

    Zeros are what nobody has measured: every latency would be 0, and a simulated clock would stand still.
    """
    if not known(*jax.tree.leaves(model.constants.linear)) or {*moved} & {*TAKE_TIME}:
        return
    if not np.all(takes_time(model)):
        keys = f"{', '.join(TAKE_TIME[:-1])} and {TAKE_TIME[-1]}"
        raise InputError(where, "linear", f"steps take no time; {advice} one of {keys}")


def takes_time(model: Model) -> Flag | bool:
    """Whether each step takes time: on a line that of a prompt has no context yet."""
    line = model.constants.linear
    return line.base_s + line.per_new_token_s + line.per_request_s > 0 if model.step == "linear" else True
