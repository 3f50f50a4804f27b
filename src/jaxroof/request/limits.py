"""What cannot be predicted is refused in one sentence, before anything is traced."""

import numpy as np

from jaxroof.files import CACHED_TOKENS, COUNT, TOKENS, InputError, check
from jaxroof.parameters.architecture import Architecture, Deployment, check_deployment

LEGAL = {"prompt": TOKENS, "output": TOKENS, "cached": CACHED_TOKENS, "batch": COUNT}
# Text is here to be refused: it is no array.
NUMBER = (int, float, np.number, str)


def check_request(arch: Architecture, deployment: Deployment, **request: object) -> None:
    """Raise InputError for a request or a deployment that cannot be.

    Only concrete single numbers are checked: arrays and tracers stand for many, and inside a program nothing can raise.
    """
    number = {k: check.number("predict", k, v, LEGAL[k]) for k, v in request.items() if isinstance(v, NUMBER)}
    if number.get("cached", 0.0) > number.get("prompt", np.inf):
        raise InputError("predict", "cached", f"must be ≤ prompt {request['prompt']}, got {request['cached']}")
    if all(isinstance(x, np.ndarray) and x.ndim == 0 for x in (deployment.tp, arch.num_attention_heads)):
        check_deployment("predict", arch, float(deployment.tp))
