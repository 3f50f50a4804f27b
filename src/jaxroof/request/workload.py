"""Workloads → shares of requests: how long prompts and outputs are, and what the prefix cache holds."""

import dataclasses
import math

import numpy as np

from jaxroof.parameters import Vector


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Gaussian token counts, clamped to [min, max], then rounded."""

    mean: float
    stdev: float
    min: int
    max: int

    def distribution(self) -> Vector:
        """Probability of each count 0 … max."""
        edges = (np.arange(self.min, self.max) + 0.5 - self.mean) / (self.stdev or 1e-9)
        below = np.array([0.5 * math.erfc(-edge / math.sqrt(2)) for edge in edges])
        inside = np.diff(below, prepend=0.0, append=1.0)
        return np.concatenate([np.zeros(self.min), inside])

    def exact_mean(self) -> float:
        """The mean of the clamped and rounded distribution."""
        return float(self.distribution() @ np.arange(self.max + 1))

    def draw(self, generator: np.random.Generator, count: int) -> Vector:
        """``count`` sampled token counts."""
        return np.rint(np.clip(generator.normal(self.mean, self.stdev, count), self.min, self.max))


@dataclasses.dataclass(frozen=True)
class Workload:
    """Lengths of a benchmark's requests; the prefix is shared and cached after the first request."""

    prefix_tokens: int
    prompt: Lengths
    output: Lengths


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of the requests: cached tokens, and independent prompt and output distributions.

    Distributions are arrays of probabilities, indexed by token count.
    """

    weight: float
    cached_tokens: int
    prompt: Vector
    output: Vector


def exact(workload: Workload) -> list[Share]:
    """The whole distribution, prefix cached."""
    prompt, output = workload.prompt.distribution(), workload.output.distribution()
    return [Share(1.0, workload.prefix_tokens, prompt, output)]


def sampled(workload: Workload, seed: int, count: int = 50) -> list[Share]:
    """``count`` drawn requests, the first of which finds the prefix not yet cached."""
    generator = np.random.default_rng(seed)
    prompts = workload.prompt.draw(generator, count).astype(int)
    outputs = workload.output.draw(generator, count).astype(int)
    prefix = workload.prefix_tokens
    cached, new = np.full(count, prefix), prompts.copy()
    cached[0], new[0] = 0, prefix + prompts[0]
    rows = zip(cached, new, outputs, strict=True)
    return [Share(1 / count, int(c), point(int(p)), point(int(n))) for c, p, n in rows]


def point(count: int) -> Vector:
    """The distribution that is always ``count`` tokens."""
    return np.asarray(np.eye(1, count + 1, count)[0])
