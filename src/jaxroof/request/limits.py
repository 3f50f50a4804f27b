"""What cannot be predicted is refused in one sentence, before anything is traced."""

import math

import numpy as np

from jaxroof.files import COUNT, NON_NEGATIVE, InputError, check
from jaxroof.parameters.architecture import Architecture, Deployment, check_deployment

LEGAL = {"prompt": COUNT, "output": COUNT, "cached": NON_NEGATIVE, "batch": COUNT}
# Text is here to be refused: it is no array.
NUMBER = (int, float, np.number, str)


def check_request(arch: Architecture, deployment: Deployment, **request: object) -> None:
    """Raise InputError for a request or a deployment that cannot be.

    Only concrete single numbers are checked: arrays and tracers stand for many, and inside a program nothing can raise.
    """
    given = {name: value for name, value in request.items() if isinstance(value, NUMBER)}
    number = {name: check.number("predict", name, value, LEGAL[name]) for name, value in given.items()}
    if number.get("cached", 0.0) > number.get("prompt", math.inf):
        raise InputError("predict", "cached", f"must be ≤ prompt {number['prompt']:g}, got {number['cached']:g}")
    shape = (deployment.tp, arch.num_attention_heads, arch.num_key_value_heads)
    if all(type(x) is np.ndarray and x.ndim == 0 for x in shape):
        check_deployment("predict", arch, float(deployment.tp))
