"""Traces for schedulers: 80 that vLLM's own classes made, and random ones for comparing implementations."""

import csv
import math
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from plain_simulator import Request, Rules, Step

DATA = Path(__file__).parents[1] / "data/scheduler_traces"
CONSTANTS = ("base_s", "per_new_token_s", "per_context_token_s", "per_request_s")
Trace = tuple[Rules, dict[str, float], list[Request], list[list[float]], list[int]]


def step_time(constants: dict[str, float]) -> Callable[[Step], float]:
    """The step time with these constants [s]."""
    base, per_new, per_context, per_request = (constants[name] for name in CONSTANTS)

    def seconds(step: Step) -> float:
        """``base + per_new_token·Σm + per_context_token·Σc + per_request·n`` [s]."""
        context, new = (sum(row[i] for row in step.rows) for i in (0, 1))
        return base + per_new * new + per_context * context + per_request * len(step.rows)

    return seconds


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a file of traces."""
    return list(csv.DictReader((DATA / name).read_text().splitlines()))


def load_traces() -> list[Trace]:
    """Rules, step-time constants, requests, token times [s] and preemptions of every stored trace."""
    requests = defaultdict(list)
    for row in rows("requests.csv"):
        requests[row["trace"]].append(row)
    return [trace(server, requests[server["trace"]]) for server in rows("servers.csv")]


def trace(server: dict[str, str], requests: list[dict[str, str]]) -> Trace:
    """One trace from its rows."""
    sizes = ("max_num_batched_tokens", "max_num_seqs", "block_size", "blocks", "long_prefill_token_threshold")
    rules = Rules(**{name: int(server[name]) for name in sizes}, async_scheduling=server["async_scheduling"] == "true")
    constants = {name: float(server[name]) for name in CONSTANTS}
    sent = [Request(float(r["arrival_s"]), int(r["prompt_tokens"]), int(r["output_tokens"])) for r in requests]
    times = [[float(time_s) for time_s in r["token_times_s"].split()] for r in requests]
    return rules, constants, sent, times, [int(r["preemptions"]) for r in requests]


def random_case(
    seed: int, *, other_servers: bool = False, ties: bool = False, count: int | None = None
) -> tuple[Rules, dict[str, float], list[Request]]:
    """Rules, step-time constants and requests (``count``, or some), of which each fits the blocks by itself.

    ``other_servers`` draws the rules of SGLang and TensorRT-LLM too. With ``ties`` every constant and arrival is a
    multiple of 1/64 s, so that arrivals at the very end of a step are common and sums are exact.
    """
    rng = random.Random(seed)
    bounds = zip(CONSTANTS, [(0.01, 0.1), (0, 2e-3), (0, 1e-4), (0, 5e-3)], strict=True)
    constants = {name: rng.uniform(*bound) for name, bound in bounds}
    if ties:
        constants = {name: rng.randint(name == "base_s", 4) / 64 for name in CONSTANTS}
    lengths = [random_lengths(rng) for _ in range(count or rng.randint(1, 30))]
    arrivals = random_arrivals(rng, len(lengths), 10 * constants["base_s"])
    if ties:
        arrivals = [arrival if arrival == math.inf else round(arrival * 64) / 64 for arrival in arrivals]
    requests = [Request(arrival, *length) for arrival, length in zip(arrivals, lengths, strict=True)]
    return random_rules(rng, requests, other_servers), constants, requests


def random_lengths(rng: random.Random) -> tuple[int, int, int]:
    """Prompt, output and cached tokens; single tokens and whole blocks are common."""
    prompt = rng.choice([1, 16, 32, 64, *(rng.randint(1, most) for most in (20, 100, 100, 300))])
    output = rng.choice([1, 2, *(rng.randint(1, most) for most in (10, 30, 60))])
    cached = rng.choice([0, 0, prompt, rng.randint(0, prompt)])
    return prompt, output, cached


def random_arrivals(rng: random.Random, n: int, scale_s: float) -> list[float]:
    """Arrivals in order [s]: bursts, pauses, and in every third case a closed loop after some of them."""
    gap_s = scale_s * rng.choice([0.05, 0.3, 1.0, 5.0])
    arrivals = [0.0 if rng.random() < 0.3 else rng.expovariate(1 / gap_s)]
    while len(arrivals) < n:
        arrivals.append(arrivals[-1] + (0.0 if rng.random() < 0.3 else rng.expovariate(1 / gap_s)))
    if rng.random() < 1 / 3:
        clients = rng.randint(1, n)
        start = rng.random() < 0.5  # all clients at once
        arrivals = [arrivals[0] if start else arrival for arrival in arrivals[:clients]] + [math.inf] * (n - clients)
    return arrivals


def random_rules(rng: random.Random, requests: list[Request], other_servers: bool) -> Rules:
    """Rules with blocks for the largest request at least and a budget of a token per slot at least."""
    slots = rng.choice([1, 2, 4, 8, 16])
    largest = max(math.ceil((r.prompt_tokens + r.output_tokens - 1) / 16) for r in requests)
    return Rules(
        max_num_batched_tokens=slots + rng.choice([0, 1, 8, 48, rng.randint(0, 100), 500]),
        max_num_seqs=slots,
        blocks=rng.choice([math.inf, largest, largest + 1, largest + rng.randint(1, 8), largest * slots]),
        long_prefill_token_threshold=rng.choice([0, 0, 0, rng.randint(1, 20), rng.randint(16, 80)]),
        async_scheduling=rng.random() < 0.5,
        reserve_full_prompt=rng.random() < 0.4,
        prefill_first=other_servers and rng.random() < 0.5,
        batch_wait_steps=rng.choice([0, 1, 2, 5, 20]) if other_servers else 0,
    )
