"""The options of a command that describe the load of a server."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jaxroof.files import CACHED_TOKENS, InputError, Range, check
from jaxroof.serving import arrivals
from jaxroof.serving.demand import Demand
from jaxroof.serving.lengths import parse_lengths
from jaxroof.serving.load import Load
from jaxroof.serving.token_counts import TokenCounts, fixed
from jaxroof.serving.trace_file import load_trace

WHERE = "simulate"
LOADS, OPEN, CLOSED = ("rate", "concurrency", "trace"), ("arrivals", "burstiness"), ("stagger", "think")
# What each of the three loads has no use for.
FOREIGN = {
    "rate": CLOSED,
    "concurrency": OPEN,
    "trace": (*OPEN, *CLOSED, "prompt", "cached", "output", "requests", "seed"),
}
RANGES: dict[str, Range] = {
    "rate": arrivals.LEGAL["rate_per_s"], "concurrency": arrivals.LEGAL["clients"],
    "burstiness": arrivals.LEGAL["burstiness"], "stagger": arrivals.LEGAL["stagger_s"],
    "think": arrivals.LEGAL["think_s"], "requests": arrivals.LEGAL["requests"], "seed": arrivals.LEGAL["seed"],
}  # fmt: skip
REQUESTS, POISSON = 1000, ("poisson", "poisson-count")
# What the steady state makes no use of.
UNUSED = {
    "rate": "--requests and --seed do not matter",
    "concurrency": "--requests, --seed and --stagger do not matter",
    "trace": "of the trace only its rate and the means and spreads of its lengths matter",
}


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """The options that describe a load, None where they are not given: a rate, clients or a trace, and lengths."""

    rate: float | None = None
    concurrency: int | None = None
    trace: Path | None = None
    arrivals: str | None = None
    burstiness: float | None = None
    stagger: float | None = None
    think: float | None = None
    prompt: str | None = None
    cached: str | None = None
    output: str | None = None
    requests: int | None = None
    seed: int | None = None

    @property
    def chosen(self) -> list[str]:
        """Which of the three loads are given: one, once checked."""
        return [name for name in LOADS if getattr(self, name) is not None]

    def options(self) -> dict[str, Any]:
        """Those that are given."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def given(self) -> dict[str, Any]:
        """What describes the load, defaults included."""
        options = self.options()
        if self.trace is not None:
            return {"trace": str(self.trace)}
        times = {"arrivals": "poisson"} if self.rate is not None else {"stagger": 0.0, "think": 0.0}
        return {**times, "cached": "0", "requests": REQUESTS, "seed": 0, **options}

    def check(self) -> None:
        """Raise InputError unless there is one load, with options of its own, within their ranges."""
        chosen = self.chosen
        if len(chosen) != 1:
            got = " and ".join(f"--{name}" for name in chosen) or "none of them"
            raise InputError(WHERE, f"needs one of --rate, --concurrency and --trace, got {got}")
        self._refuse(FOREIGN[chosen[0]], f"has no meaning with --{chosen[0]}")
        for key, legal in RANGES.items():
            if (value := getattr(self, key)) is not None:
                check.number(WHERE, f"--{key}", value, legal)
        if self.arrivals is not None:
            check.one_of(WHERE, "--arrivals", self.arrivals, arrivals.KINDS)
        if self.burstiness is not None and self.arrivals != "gamma":
            raise InputError(WHERE, "--burstiness", "is for --arrivals gamma")

    def load(self) -> Load:
        """The requests. Raises InputError."""
        if self.trace is not None:
            return load_trace(self.trace)
        values = self.given()
        return arrivals.generate_load(
            *self._lengths(), requests=values["requests"], seed=values["seed"], rate_per_s=self.rate,
            kind=values.get("arrivals", "poisson"), burstiness=values.get("burstiness", 1.0), clients=self.concurrency,
            stagger_s=values.get("stagger", 0.0), think_s=values.get("think", 0.0),
        )  # fmt: skip

    def demand(self) -> Demand:
        """The means that a steady state has, whose arrivals are Poisson. Raises InputError."""
        if self.trace is not None:
            return _demand(self.trace, load_trace(self.trace))
        if self.arrivals not in (None, *POISSON):
            raise InputError(WHERE, "--arrivals", f"the steady state is of Poisson arrivals, got {self.arrivals}")
        prompt, output, cached = self._lengths()
        return Demand(
            prompt.mean, output.mean, min(cached.mean, prompt.mean), prompt.cv, output.cv,
            rate_per_s=self.rate or 0.0, clients=float(self.concurrency or 0), think_s=self.think or 0.0,
        )  # fmt: skip

    def describe(self) -> str:
        """The load in words."""
        if self.trace is not None:
            return f"requests of {self.trace.name}"
        values = self.given()
        if self.rate is not None:
            shape = f" of burstiness {self.burstiness:g}" if self.burstiness is not None else ""
            who = f"{self.rate:g} requests/s ({values['arrivals']} arrivals{shape})"
        else:
            who = f"{self.concurrency} clients"
        return f"{who}, prompt {self.prompt} (cached {values['cached']}), output {self.output} tokens"

    def _refuse(self, names: Iterable[str], why: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise InputError(WHERE, f"--{name}", why)

    def _lengths(self) -> tuple[TokenCounts, TokenCounts, TokenCounts]:
        """Of prompts, outputs and cached tokens."""
        prompt, output = (self._required(name) for name in ("prompt", "output"))
        cached = fixed(0) if self.cached is None else parse_lengths(WHERE, "--cached", self.cached, CACHED_TOKENS)
        if cached.tokens[0] > prompt.most:
            why = f"must be ≤ --prompt {prompt.most:.0f}, got {cached.tokens[0]:.0f}"
            raise InputError(WHERE, "--cached", why)
        return prompt, output, cached

    def _required(self, name: str) -> TokenCounts:
        text = getattr(self, name)
        if text is None:
            raise InputError(WHERE, f"--{name}", "is missing")
        return parse_lengths(WHERE, f"--{name}", text)


def mean_request(demand: Demand) -> Load:
    """A load of one request, of the mean lengths, rounded to whole tokens."""
    lengths = (demand.prompt_tokens, demand.cached_tokens, demand.output_tokens)
    return Load([0.0], *([round(float(tokens))] for tokens in lengths))


def _demand(path: Path, load: Load) -> Demand:
    """The means of a trace, and its rate: gaps between arrivals over the time that they take."""
    seconds = float(load.arrival_s[-1] - load.arrival_s[0])
    if seconds <= 0:
        raise InputError(path, "arrival_s", "all requests arrive at once, so there is no rate for a steady state")
    prompt = np.asarray(load.prompt_tokens)
    return Demand(
        prompt.mean(), load.output_mean_tokens, np.mean(load.cached_tokens), prompt.std() / prompt.mean(),
        load.output_cv, rate_per_s=(load.requests - 1) / seconds,
    )  # fmt: skip
