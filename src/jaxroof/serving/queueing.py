"""Who waits for a simulated server, for how long and for what, and whether it keeps up."""

from typing import NamedTuple

import numpy as np

from jaxroof.parameters import Mask, Server, Vector
from jaxroof.serving.actions import Action
from jaxroof.serving.load import Load
from jaxroof.serving.simulate import Simulation
from jaxroof.serving.steps import Jump

# A queue that grows as fast until the arrivals end is 7/3 of the second quarter's in the last one.
GROWN, MANY, FEWEST = 1.5, 0.03, 8
MOSTLY = 0.5


class Jumps(NamedTuple):
    """Steps that were taken at once [jump], in order of time.

    The pass for the first of them surely saw what had arrived by ``seen_s``; ``head`` is the first request that it
    did not admit.
    """

    start_s: Vector
    end_s: Vector
    seen_s: Vector
    running: Vector
    used_blocks: Vector
    head: Vector


class Queue(NamedTuple):
    """Requests that run and wait, and the share of the KV blocks in use (NaN where they have no end), over time.

    Each holds from its ``time_s`` [s] to the next one.
    """

    time_s: Vector
    running: Vector
    waiting: Vector
    kv_share: Vector


class Saturation(NamedTuple):
    """Whether a server is saturated, and what holds its requests back, if it is.

    ``grows``: though nobody waits, requests in flight became more until the arrivals ended.
    """

    saturated: bool
    by: str | None
    grows: bool = False


def jumps(history: Action) -> Jumps:
    """Those of the actions that took steps."""
    some = history.jump.steps > 0
    taken = Jump(*(x[some] for x in history.jump))
    start_s = history.start_s[some]
    # A pass comes as early as the step before begins, unless nothing ran.
    before_s = np.concatenate([[-np.inf], (start_s + taken.seconds(taken.steps - 1))[:-1]])
    end_s = start_s + taken.seconds(taken.steps)
    idle = np.concatenate([[True], _paused(start_s, end_s)[:-1]])
    seen_s = np.where(idle, start_s, before_s)
    return Jumps(start_s, end_s, seen_s, *(x[some] for x in (history.running, history.used_blocks, history.head)))


def _paused(start_s: Vector, end_s: Vector) -> Mask:
    """After which jumps nothing ran for a while, rounding errors aside [jump]; after the last one."""
    return np.append(start_s[1:] > end_s[:-1] * (1 + 1e-12), True)


def queue_over_time(taken: Jumps, simulation: Simulation) -> Queue:
    """The queue whenever it may change: as requests arrive, as steps begin, and as the server falls idle [change]."""
    arrival_s, pauses = simulation.arrival_s, _paused(taken.start_s, taken.end_s)
    sent_s = arrival_s[np.isfinite(arrival_s)]
    time_s = np.unique(np.concatenate([sent_s, taken.start_s, taken.end_s[pauses]]))
    place = np.searchsorted(taken.start_s, time_s, side="right") - 1
    runs = (place >= 0) & (time_s < np.where(pauses, taken.end_s, np.inf)[place])
    arrived = np.searchsorted(arrival_s, time_s, side="right")
    waiting = np.maximum(arrived - np.where(place >= 0, taken.head[place], 0), 0)
    # Steps hold what is in use before them and what they take, which the next ones find.
    held = np.maximum(taken.used_blocks, np.append(taken.used_blocks[1:], 0.0)) / simulation.kv_blocks
    running, kv_share = (np.where(runs, x[place], 0.0) for x in (taken.running, held))
    return Queue(time_s, running, waiting.astype(float), kv_share)


def admission_s(taken: Jumps, requests: int) -> Vector:
    """When the first step of each request began [request] [s]; NaN where it never ran."""
    place = np.searchsorted(np.maximum.accumulate(taken.head), np.arange(requests), side="right")
    return np.append(taken.start_s, np.nan)[place]


def saturation(taken: Jumps, load: Load, simulation: Simulation, server: Server) -> Saturation:
    """Whether the server keeps up with what clients want of it.

    Arrivals that wait for nobody saturate it if the queue grows until they end, unless all come at once: in their last
    quarter those who are not admitted by the pass that sees them join a queue of more than 3 % of all requests, and of
    1.5 times that of the second quarter, on average. Clients who wait for answers do, if somebody waits for a slot or
    for KV blocks in more than half of the time in which steps run.
    """
    causes, seconds = _causes(taken, load, simulation, server), taken.end_s - taken.start_s
    goes_on = not load.closed and float(simulation.arrival_s[-1]) > float(simulation.arrival_s[0])
    if load.closed:
        shares = {by: _share(causes[by], seconds) for by in ("slots", "KV cache")}
        saturated = sum(shares.values()) > MOSTLY
    else:
        early = taken.start_s <= simulation.arrival_s[-1]
        shares = {by: _share(waits & early, seconds) for by, waits in causes.items()}
        saturated = goes_on and _grows(_queues(taken, simulation.arrival_s))
    by = max(shares, key=lambda by: shares[by]) if saturated else None
    return Saturation(saturated, by, goes_on and not saturated and _grows(_in_flight(simulation)))


def _in_flight(simulation: Simulation) -> Vector:
    """Requests that are sent and not over when each one arrives, itself included [request]."""
    over = np.searchsorted(np.sort(simulation.last_s), np.asarray(simulation.arrival_s), side="right")
    return np.asarray(np.arange(1.0, simulation.arrival_s.size + 1) - over)


def _queues(taken: Jumps, arrival_s: Vector) -> Vector:
    """How long the queue is up to each request, after the first pass that sees it; 0 if that admits it [request]."""
    place = np.minimum(np.searchsorted(taken.seen_s, arrival_s), len(taken.head) - 1)
    return np.maximum(np.arange(1.0, len(arrival_s) + 1) - taken.head[place], 0.0)


def _grows(queue: Vector) -> bool:
    if len(queue) < FEWEST:
        return False
    _, second, _, last = (float(np.mean(quarter)) for quarter in np.array_split(queue, 4))
    return last > max(MANY * len(queue), GROWN * second)


def _causes(taken: Jumps, load: Load, simulation: Simulation, server: Server) -> dict[str, Mask]:
    """In which jumps the first waiting request waits for what: slots, KV cache or steps.

    It waits for blocks if, as a whole, it would not fit beside those who run; else for the token budget of a step.
    """
    head = np.minimum(taken.head, load.requests - 1).astype(int)
    waits = (taken.head < load.requests) & (simulation.arrival_s[head] <= taken.seen_s)
    tokens = np.asarray(load.prompt_tokens + load.output_tokens - 1)[head]
    whole = np.ceil(tokens / float(server.block_size))
    # Each of those who run may take a block in these steps.
    short = simulation.kv_blocks - taken.used_blocks - taken.running < whole
    full = taken.running >= float(server.max_num_seqs)
    return {"slots": waits & full, "KV cache": waits & ~full & short, "steps": waits & ~full & ~short}


def _share(mask: Mask, seconds: Vector) -> float:
    return float(np.sum(seconds[mask]) / np.sum(seconds))
