"""A model on GPUs of several kinds and degrees: what their memory is spent on, and how many requests it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxroof.intervals.bounds import Bounds, bounds
from jaxroof.intervals.constants import constants_of
from jaxroof.parameters import Architecture, Scalar, Tier0, put, scalar
from jaxroof.parameters.architecture import undivided
from jaxroof.serving import capacity
from jaxroof.serving.activations import activation_bytes


@dataclass(frozen=True)
class Memory:
    """One GPU's [B]: the share that a server takes, and what it is spent on; ``cache`` is below 0 where it is short.

    ``kv_tokens`` are those of whole blocks, as vLLM prints them. ``in_memory`` requests fit, ``slots`` is how many the
    server admits; ``missing`` is what one request lacks.
    """

    usable: float
    weights: float
    activations: float
    reserved: float
    cache: float
    kv_tokens: float
    kv_blocks: float
    in_memory: int
    slots: float
    missing: float

    @property
    def requests(self) -> int:
        """Requests in flight at once."""
        return min(self.in_memory, int(self.slots))

    @property
    def binds(self) -> str:
        """What keeps it from more."""
        return "slots" if self.in_memory >= self.slots else "memory"


@dataclass(frozen=True)
class Fit:
    """A number of GPUs of one kind: their memory, within what it is, or why they cannot share the model's heads.

    ``low`` and ``high`` are its memory with the least and the most room that ``bounds`` leaves, of 90 % of the cases.
    """

    hardware: str
    tp: int
    memory: Memory | None = None
    low: Memory | None = None
    high: Memory | None = None
    bounds: Bounds | None = None
    reason: str | None = None


def analyse(
    arch: Architecture, tier0s: Mapping[str, Tier0], ranges: Mapping[str, Mapping[str, Any]], degrees: Sequence[int],
    tokens: int,
) -> list[Fit]:  # fmt: skip
    """Every GPU of ``tier0s`` and degree; a request has ``tokens`` tokens in the end.

    ``ranges`` of each GPU's constants are those of :func:`jaxroof.catalogue.ranges.load_ranges`.
    """
    layers = jax.tree.map(np.asarray, arch.layers)
    reasons = {tp: undivided(layers, tp) for tp in degrees}
    return [
        Fit(name, tp, reason=reasons[tp]) if reasons[tp] else _fit(arch, name, tp, tier0, ranges[name], tokens)
        for name, tier0 in tier0s.items()
        for tp in degrees
    ]


def _fit(arch: Architecture, name: str, tp: int, tier0: Tier0, ranges: Mapping[str, Any], tokens: int) -> Fit:
    found = bounds(_room_bytes, tier0, (arch, scalar(tp)), constants_of(tier0, ranges))

    def memory(room: Scalar) -> Memory:
        """With so much room, as if the server reserved the rest."""
        reserved = tier0.server.reserved_bytes + (found.value - room)
        return _memory(arch, tp, put(tier0, {"server.reserved_bytes": scalar(reserved)}), tokens)

    return Fit(name, tp, memory(found.value), memory(found.low), memory(found.high), found)


def _room_bytes(tier0: Tier0, arch: Architecture, tp: Scalar) -> Scalar:
    return capacity.room_bytes(arch, tp, tier0)


def _memory(arch: Architecture, tp: int, tier0: Tier0, tokens: int) -> Memory:
    degree, block = scalar(tp), float(tier0.server.block_size)
    room, weights = float(capacity.room_bytes(arch, degree, tier0)), float(capacity.gpu_bytes(arch, degree, 0.0))
    held = capacity.held_tokens(tokens, 0.0, 0.0, 1.0, block)
    one = float(capacity.gpu_bytes(arch, degree, held, 1.0, block))
    blocks = max(0.0, float(capacity.kv_blocks(arch, degree, tier0)))
    return Memory(
        float(capacity.usable_bytes(tier0)), weights, float(activation_bytes(arch, degree, tier0)),
        float(tier0.server.reserved_bytes), room - weights,
        blocks * block, blocks,
        capacity.most_requests(arch, degree, tier0, prompt=tokens, cached=0, output=0),
        float(tier0.server.max_num_seqs), max(0.0, one - room),
    )  # fmt: skip
