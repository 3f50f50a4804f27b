"""The one error that users see."""


class InputError(Exception):
    """Wrong input; the message is one line that says file, key and why."""

    def __init__(self, file: object, *parts: str):
        super().__init__(": ".join([str(file), *parts]).replace("\n", " "))
