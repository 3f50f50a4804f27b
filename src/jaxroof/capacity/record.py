"""The JSON object of ``jaxroof capacity``: parameters, KV cache per token, and what fits each GPU and degree."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxroof.capacity.analysis import Fit, Memory
from jaxroof.catalogue.counts import Counts
from jaxroof.intervals.words import end_name, interval_record
from jaxroof.units import GIGA

Record = dict[str, Any]
NAMES = (
    "usable_gb", "weights_gb", "activations_gb", "reserved_gb", "kv_cache_gb", "kv_tokens", "kv_blocks", "requests",
    "missing_gb",
)  # fmt: skip

# What depends on how much room there is.
WITHIN = ("kv_cache_gb", "kv_tokens", "kv_blocks", "requests")


def record(counts: Counts, fits: Sequence[Fit], inputs: Mapping[str, Any], notes: Sequence[str]) -> Record:
    """Everything that the command shows, for JSON: sizes in GB (10⁹ B) of one GPU."""
    return {
        "parameters_billion": counts.parameters / GIGA,
        "active_billion": counts.active_parameters / GIGA,
        "kv_bytes_per_token": counts.kv_bytes_per_token,
        "capacity": [_row(fit) for fit in fits],
        "interval": interval_record(*(fit.bounds for fit in fits if fit.bounds)),
        "inputs": dict(inputs),
        "notes": list(notes),
    }


def _row(fit: Fit) -> Record:
    memory, ends = fit.memory, {"low": fit.low, "high": fit.high}
    sizes = _sizes(memory) if memory else dict.fromkeys(NAMES)
    at_end = {end: _sizes(other) if other else sizes for end, other in ends.items()}
    within = {end_name(name, end): at_end[end][name] for name in WITHIN for end in ends}
    return {
        "hardware": fit.hardware, "tp": fit.tp, **sizes, **within,
        "binds": memory.binds if memory else "heads",
        "fits": memory is not None and memory.requests > 0,
        "reason": fit.reason,
    }  # fmt: skip


def _sizes(memory: Memory) -> Record:
    sizes = (memory.usable, memory.weights, memory.activations, memory.reserved, max(0.0, memory.cache))
    counts = (int(memory.kv_tokens), int(memory.kv_blocks), memory.requests)
    return dict(zip(NAMES, (*(size / GIGA for size in sizes), *counts, memory.missing / GIGA), strict=True))
