"""Ranges of legal values; they load no JAX."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Range:
    """The legal values of a leaf, in the unit of its file; ``limit`` says what ends them above."""

    low: float = 0.0
    high: float = math.inf
    low_is_legal: bool = True
    whole: bool = False
    limit: str = ""

    def complaint(self, value: float) -> str | None:
        """Why ``value`` is illegal, or None."""
        if not math.isfinite(value):
            return f"must be finite, got {value}"
        if value < self.low or (value == self.low and not self.low_is_legal):
            return f"must be {'≥' if self.low_is_legal else '>'} {self.low:g}, got {value:g}"
        if value > self.high:
            return f"must be ≤ {self.high:g}{self.limit and f' ({self.limit})'}, got {value:g}"
        if self.whole and value != int(value):
            return f"must be a whole number, got {value:g}"
        return None


NON_NEGATIVE = Range()
POSITIVE = Range(low_is_legal=False)
FRACTION = Range(high=1.0, low_is_legal=False)
SHARE = Range(high=1.0)
AT_LEAST_ONE = Range(low=1)
# Of GPUs, requests, heads, columns, positions: far above any, and products of them are still numbers to read.
COUNT = Range(low=1, high=1e9, whole=True)
COUNT_OR_NONE = dataclasses.replace(COUNT, low=0)
# Of memory: a petabyte on one GPU is above any, and what fits is still a number to read.
GIGABYTES = Range(high=1e6)
# Arrays are as long as the longest context: far above any model's, below what memory holds.
TOKENS = Range(low=1, high=1e7, whole=True)
CACHED_TOKENS = dataclasses.replace(TOKENS, low=0)
