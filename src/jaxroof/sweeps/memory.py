"""Memory of this machine: what is free, what this process has."""

import os
import re
import resource
import sys
from pathlib import Path

import jax

from jaxroof.files import InputError

# Results on the host: metrics, columns, their table, its encoding.
HOST_COPIES = 4
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B", re.IGNORECASE)
SCALE = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def parse_bytes(option: str, text: str) -> float:
    """``2GB`` → 2e9. Raises InputError."""
    if not (match := SIZE.fullmatch(text.strip())):
        raise InputError(option, text, "must be a size like 500MB or 2GB")
    return float(match[1]) * SCALE[match[2].upper()]


def left_bytes(memory: float | None) -> float:
    """What this process may still take of ``memory``; by default half of what is free, on a GPU of the GPU's [B]."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
        return float(free / 2 if memory is None else min(memory, free))
    return free_bytes() / 2 if memory is None else memory - _told("self/status", "VmRSS", _peak())


def free_bytes() -> float:
    """Memory that programs can still have [B]."""
    return _told("meminfo", "MemAvailable", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2)


def peak_bytes() -> float:
    """The most memory that this process has had [B]."""
    return _told("self/status", "VmHWM", _peak())


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def _told(file: str, line: str, otherwise: float) -> float:
    """What a line of a file of Linux's ``/proc`` says [B]."""
    try:
        (kilobytes,) = re.findall(rf"{line}:\s+(\d+) kB", Path("/proc", file).read_text())
        return float(kilobytes) * 1024
    except (OSError, ValueError):
        return otherwise
