"""An interval in JSON and in a sentence."""

from collections.abc import Mapping
from typing import Any

from jaxroof.intervals.bounds import QUANTILES, Bounds
from jaxroof.units import PERCENT

LEVEL = QUANTILES[1] - QUANTILES[0]


def end_name(name: str, end: str) -> str:
    """The name of an end of the interval of ``name``, its unit last: ``ttft_ms`` has ``ttft_low_ms``."""
    stem, _, unit = name.rpartition("_")
    return f"{stem}_{end}_{unit}" if unit in ("ms", "gb", "pct") else f"{name}_{end}"


def interval_record(*bounds: Bounds) -> dict[str, Any]:
    """What the ends are: their level, how they were found, on how many constants with a range."""
    samples = max((each.samples for each in bounds), default=0)
    depends, ranged = (frozenset().union(*(getattr(each, of) for each in bounds)) for of in ("depends", "ranged"))
    counts = {"constants": len(depends), "with_range": len(ranged)}
    return {"level": round(LEVEL, 9), "method": "samples" if samples else "gradient", "samples": samples, **counts}


def interval_in_words(record: Mapping[str, Any], ends: str = "at least, at most") -> str:
    """The same in a sentence."""
    found = f"over {record['samples']} samples" if record["samples"] else "to first order"
    return (
        f"{ends}: {record['level'] / PERCENT:.0f} % of the cases, {found}, by the ranges of {record['with_range']} of "
        f"the {record['constants']} constants that these numbers depend on; the others count as exact."
    )
