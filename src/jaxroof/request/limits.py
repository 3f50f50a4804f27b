"""What cannot be predicted is refused in one sentence, before anything is traced."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike

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


class Kind(NamedTuple):
    """What layers are, and which values of a key are of others, beside the width of their keys."""

    what: str
    is_other: Callable[[Any, Any], Flag]


PLAIN = {
    "num_experts": Kind("dense models", lambda experts, width: experts > 0),
    "kv_lora_rank": Kind("plain layers", lambda rank, width: rank > 0),
    "q_lora_rank": Kind("plain layers", lambda rank, width: rank > 0),
    "attention_chunk_size": Kind("plain layers", lambda chunk, width: chunk > 0),
    "ffn_matrices": Kind("plain layers", lambda matrices, width: matrices < 3),
    "kv_projections": Kind("plain layers", lambda projections, width: projections < 2),
    "v_head_dim": Kind("plain layers", lambda values, width: (values > 0) & (values != width)),
}
OF_16_BITS = {
    "attention_input_bytes": Kind("products of 16 bits", lambda width_bytes, width: width_bytes < 2),
    "ffn_input_bytes": Kind("products of 16 bits", lambda width_bytes, width: width_bytes < 2),
}


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
    if known(*jax.tree.leaves(arch.layers), deployment.tp, deployment.ep):
        check_deployment("predict", arch, float(deployment.tp), float(deployment.ep))
    check_sampling("predict", sampling, model.step, model.constants.server)
    refuse_layers("predict", model.step, arch)
    check_takes_time("predict", model)
    if known(arch.layers.sliding_window, prompt, output):
        check_window("predict", model.step, arch, prompt + output)


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


def refuse_layers(where: object, step_model: str, arch: Architecture) -> None:
    """Only ``kernels`` knows more than equal plain layers; ``arch`` may be many. Raises InputError by the key."""
    layers, kinds = arch.layers, plain_layers(step_model)
    width, values = layers.head_dim, {key: getattr(layers, key) for key in kinds}
    # Asked before every prediction: of NumPy, and only what tells.
    if not kinds or not known(width, *values.values()):
        return
    for key, kind in kinds.items():
        if np.any(kind.is_other(np.asarray(values[key]), np.asarray(width))):
            raise InputError(where, key, f"the {step_model} step time is for {kind.what}; use kernels")
    if np.shape(width)[-1] > 1:
        each = {key: np.asarray(get(layers, path)) for key, path, _ in walk(layers) if key != "num_hidden_layers"}
        named = next((f": {key} differs" for key, of in each.items() if np.any(of != of[..., :1])), "")
        raise InputError(where, "layers", f"the {step_model} step time is for equal layers; use kernels{named}")


def plain_layers(step_model: str) -> Mapping[str, Kind]:
    """What layers must be for a step time, by the key that says whether they are; nothing for ``kernels``.

    ``roofline`` has one rate of compute, and its MFU is of 16-bit products.
    """
    return {} if step_model == "kernels" else PLAIN | (OF_16_BITS if step_model == "roofline" else {})


def check_window(where: object, step_model: str, arch: Architecture, longest_tokens: ArrayLike) -> None:
    """Raise if attention would slide in a step model that knows no windows; ``where`` is what named the model."""
    windows, longest = np.asarray(arch.layers.sliding_window), np.asarray(longest_tokens)[..., None]
    slides = (windows > 0) & (windows < longest)
    if step_model != "kernels" and slides.any():
        window, tokens = (float(np.broadcast_to(size, slides.shape)[slides][0]) for size in (windows, longest))
        says = f"the window of {window:.0f} tokens is shorter than the request's {tokens:.0f}"
        raise InputError(where, "sliding_window", f"the {step_model} step time has no windows; use kernels: {says}")


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
