"""The one error that users see."""

import contextlib
from collections.abc import Iterator


class InputError(Exception):
    """Wrong input; the message is one line that says file, key and why.

    Arguments: ``file``, what was read or called; ``parts``, from the key inward to the reason.

    >>> try:
    ...     jaxroof.load_model("memroy")
    ... except jaxroof.InputError as error:
    ...     print(error)
    --step-model: value: must be one of kernels, linear, memory, roofline, got 'memroy'; did you mean memory?
    """

    def __init__(self, file: object, *parts: str):
        super().__init__(": ".join([str(file), *parts]).replace("\n", " "))


@contextlib.contextmanager
def errors_at(file: object, *parts: str) -> Iterator[None]:
    """What is wrong in here is wrong there: an InputError begins with ``file`` and ``parts``."""
    try:
        yield
    except InputError as error:
        raise InputError(file, *parts, str(error)) from None
