"""What cannot be predicted is refused in one sentence, before anything is traced."""

import numpy as np

from jaxroof.files import COUNT, NON_NEGATIVE, InputError, check
from jaxroof.parameters import Architecture, Deployment, check_deployment

# Text is here to be refused: it is no array.
NUMBER = (int, float, np.number, str)
LEGAL = {"prompt": COUNT, "output": COUNT, "cached": NON_NEGATIVE, "batch": COUNT}


def check_request(arch: Architecture, deployment: Deployment, **request: object) -> None:
    """Raise InputError for a request or a deployment that cannot be.

    Only concrete single numbers are checked: arrays and tracers stand for many, and inside a program nothing can raise.
    """
    for name, value in request.items():
        if isinstance(value, NUMBER):
            check.number("predict", name, value, LEGAL[name])
    prompt, cached = request["prompt"], request["cached"]
    if isinstance(prompt, NUMBER) and isinstance(cached, NUMBER) and cached > prompt:
        raise InputError("predict", "cached", f"must be ≤ prompt {prompt}, got {cached}")
    shape = (deployment.tp, arch.num_attention_heads, arch.num_key_value_heads)
    if all(type(x) is np.ndarray and x.ndim == 0 for x in shape):
        check_deployment("predict", arch, float(deployment.tp))
