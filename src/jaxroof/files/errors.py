"""The one error that users see."""


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
