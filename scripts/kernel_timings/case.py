"""An operation of given sizes, with what it must move and compute."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """One row to be: ``call(*inputs(copy))`` is timed, where each copy has memory of its own.

    ``bytes`` are those of inputs read once and of results written once; ``sizes`` are the row's columns. With ``host``
    the time of the CPU counts, and the operation fits no CUDA graph.
    """

    operation: str
    implementation: str
    sizes: Mapping[str, Any]
    bytes: float
    flops: float
    inputs: Callable[[int], tuple[Any, ...]]
    call: Callable[..., Any]
    host: bool = False

    def name(self) -> str:
        """Operation and sizes, in a line."""
        return " ".join([self.operation, *(f"{key}={value}" for key, value in self.sizes.items())])


Cases = Iterator[Case]
