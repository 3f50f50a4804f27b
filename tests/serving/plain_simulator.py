"""vLLM V1's scheduler step by step, in plain Python: lists and loops, made to be obvious rather than fast."""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rules:
    """How a server schedules."""

    max_num_batched_tokens: int
    max_num_seqs: int
    block_size: int = 16
    blocks: float = math.inf  # usable ones
    long_prefill_token_threshold: int = 0
    async_scheduling: bool = False
    reserve_full_prompt: bool = False  # at admission prompt + output so far must fit, not only the first chunk
    prefill_first: bool = False  # a pass that can work on a prompt holds no decodes
    batch_wait_steps: int = 0  # while others decode, waiting requests are held back for that many passes


@dataclass(frozen=True)
class Request:
    """What a client sends; with an arrival at infinity, once an earlier request has ended.

    Requests are numbered in the order in which they arrive, whenever that turns out to be.
    """

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True)
class Step:
    """One row per scheduled request: tokens in the cache when the step starts, new tokens, tokens generated before
    the step, and whether it is work on a prompt, that is, not a decode.
    """

    rows: list[tuple[int, int, int, bool]]


@dataclass(eq=False)
class Entry:
    """A request in the server; two are the same only if they are one object."""

    index: int
    request: Request
    computed: int = 0  # tokens in the cache once every scheduled step has ended
    generated: int = 0  # tokens delivered
    in_flight: bool = False  # the step in flight gives it a token
    decoding: bool = False  # prompt and output so far are computed or scheduled, so a decode comes next
    preempted: int = 0
    times_s: list[float] = field(default_factory=list)

    def known(self) -> int:
        """Prompt and delivered output, which a (re)admission computes."""
        return self.request.prompt_tokens + self.generated

    def due(self) -> int:
        """Tokens that are known, or will be once the step in flight ends, and not computed."""
        return self.known() + self.in_flight - self.computed

    def hit(self, block_size: int) -> int:
        """Tokens that an admission finds in the prefix cache: whole blocks, never all of its tokens."""
        return min(self.request.cached_tokens, self.known() - 1) // block_size * block_size

    def last_in_flight(self) -> bool:
        """Whether the step in flight gives its last token, so that nothing is left to schedule."""
        return self.in_flight and self.generated + 1 == self.request.output_tokens


Scheduled = tuple[Entry, int, int, int, bool]  # an entry and its row of the step


class Server:
    """The state of the scheduler: who runs and who waits, in order."""

    def __init__(self, rules: Rules) -> None:
        """An idle server."""
        self.rules = rules
        self.running: list[Entry] = []
        self.waiting: list[Entry] = []
        self.held_back = 0  # passes in a row that held waiting requests back

    def schedule(self) -> list[Scheduled]:
        """One pass: the entries of the next step, each with its row."""
        self.step: list[Scheduled] = []
        self.budget = self.rules.max_num_batched_tokens
        self.anyone_preempted = False
        if self.rules.prefill_first:
            self.walk_running(decodes=False)
            self.admit()
            if not self.step:
                self.walk_running(decodes=True)
        else:
            self.walk_running()
            self.admit()
        return self.step

    def walk_running(self, decodes: bool | None = None) -> None:
        """Schedule the running in order; only decodes, or only prompts, if asked to."""
        i = 0
        while i < len(self.running) and self.budget > 0:
            entry = self.running[i]
            i += 1
            if entry.last_in_flight() or (decodes is not None and entry.decoding != decodes):
                continue
            new = self.chunk(entry.due())
            while entry in self.running and self.more_blocks(entry, entry.computed + new) > self.free_blocks():
                self.preempt_last()
            if entry not in self.running:
                break  # it was the last itself
            self.put_in_step(entry, new)

    def admit(self) -> None:
        """Move the head of the line to the running until one does not fit."""
        if self.anyone_preempted or self.hold_back():
            return
        while self.waiting and self.budget > 0 and len(self.running) < self.rules.max_num_seqs:
            entry = self.waiting[0]
            hit = entry.hit(self.rules.block_size)
            new = self.chunk(entry.known() - hit)
            must_fit = entry.known() if self.rules.reserve_full_prompt else hit + new
            if self.more_blocks(entry, must_fit) > self.free_blocks():
                break
            self.running.append(self.waiting.pop(0))
            entry.computed = hit
            self.put_in_step(entry, new)

    def hold_back(self) -> bool:
        """Whether those that wait are held back in this pass, which is counted."""
        others_decode = any(entry.decoding and not entry.last_in_flight() for entry in self.running)
        held = bool(self.waiting) and others_decode and self.held_back < self.rules.batch_wait_steps
        self.held_back = self.held_back + 1 if held else 0
        return held

    def chunk(self, due: int) -> int:
        """How many of the due tokens the step takes."""
        return min(due, self.rules.long_prefill_token_threshold or due, self.budget)

    def blocks_of(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        return math.ceil(tokens / self.rules.block_size)

    def more_blocks(self, entry: Entry, tokens: int) -> int:
        """Blocks that an entry needs beyond its own to hold so many tokens."""
        return self.blocks_of(tokens) - self.blocks_of(entry.computed)

    def free_blocks(self) -> float:
        """Blocks that nobody holds; a request that has ended holds its own until its last token is delivered."""
        return self.rules.blocks - sum(self.blocks_of(entry.computed) for entry in self.running)

    def preempt_last(self) -> None:
        """Send the last of the running to the front of the line; its output is kept."""
        entry = self.running.pop()
        entry.computed, entry.decoding = 0, False
        entry.preempted += 1
        self.waiting.insert(0, entry)
        self.anyone_preempted = True

    def put_in_step(self, entry: Entry, new: int) -> None:
        """Schedule so many tokens; they are computed as far as the next pass is concerned."""
        generated = entry.generated + entry.in_flight  # that token is there when the step starts
        self.step.append((entry, entry.computed, new, generated, not entry.decoding))
        entry.computed += new
        self.budget -= new

    def starts(self, step: list[Scheduled]) -> list[Entry]:
        """Those whose chunk completes what is known, so that the step samples a token; marked as in flight."""
        sampled = [entry for entry, computed, new, generated, _ in step
                   if computed + new == entry.request.prompt_tokens + generated]  # fmt: skip
        for entry in sampled:
            entry.in_flight = entry.decoding = True
        return sampled

    def deliver(self, sampled: list[Entry], time_s: float) -> list[Entry]:
        """Add the tokens of a step that has ended; those that end leave and are returned."""
        for entry in sampled:
            entry.in_flight = False
            entry.generated += 1
            entry.times_s.append(time_s)
        ended = [entry for entry in sampled if entry.generated == entry.request.output_tokens]
        for entry in ended:  # it waits if it was preempted with its last token in flight
            (self.running if entry in self.running else self.waiting).remove(entry)
        return sorted(ended, key=lambda entry: entry.index)


def simulate(
    requests: Sequence[Request],
    rules: Rules,
    step_time: Callable[[Step], float],
    think_s: float = 0.0,
    admission_s: float = 0.0,
) -> tuple[list[list[float]], list[int]]:
    """Times of every token of every request, and how often each was preempted."""
    entries = [Entry(i, request) for i, request in enumerate(requests)]
    unsent = entries[:]
    coming = sorted(request.arrival_s for request in requests if request.arrival_s < math.inf)
    server = Server(rules)
    now = 0.0
    flying: tuple[float, list[Entry]] | None = None  # when the step in flight ends, and who gets a token

    def end_step() -> None:
        """Deliver the step in flight at its end; clients see that, think and send."""
        nonlocal now, flying
        now, sampled = flying
        flying = None
        for ended in server.deliver(sampled, now):
            if len(coming) < len(unsent):
                bisect.insort(coming, ended.times_s[-1] + admission_s + think_s)

    while coming or server.running or server.waiting:
        while coming and coming[0] <= now:
            server.waiting.append(unsent.pop(0))
            coming.pop(0)
        step = server.schedule()
        if flying:
            end_step()  # the step of this pass starts where the one in flight ends; an empty pass is repeated there
        elif not step:
            if not coming:
                raise ValueError("a request does not fit the blocks")
            now = coming[0]
        if step:
            sampled = server.starts(step)
            flying = now + step_time(Step([tuple(row) for _, *row in step])), sampled
            if not rules.async_scheduling:
                end_step()
    return [[time_s + admission_s for time_s in entry.times_s] for entry in entries], [e.preempted for e in entries]
