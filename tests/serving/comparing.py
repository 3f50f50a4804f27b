"""The array simulator asked as the plain one is."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from plain_simulator import Request, Rules

from jaxroof import Load, load_model, with_settings
from jaxroof.serving.history import token_times_s
from jaxroof.serving.setting import Setting, make_setting
from jaxroof.serving.simulate import Simulation, with_history
from jaxroof.step import Model
from jaxroof.units import MICRO

COUNT = 24  # requests of every load, so that one program serves all

LINEAR = load_model("linear")


def ruled(rules: Rules, constants: dict[str, float], admission_s: float = 0.0) -> Model:
    """A line on a server with these rules."""
    server = {f"server.{key}": float(value) for key, value in dataclasses.asdict(rules).items() if key != "blocks"}
    line = {f"linear.{key.removesuffix('_s')}_us": value / MICRO for key, value in constants.items()}
    return with_settings(LINEAR, (server | line | {"server.admission_ms": 1000 * admission_s}).items())


def load_of(requests: Sequence[Request], think_s: float = 0.0) -> Load:
    """The requests as arrays."""
    columns = [
        [getattr(r, name) for r in requests]
        for name in ("arrival_s", "prompt_tokens", "cached_tokens", "output_tokens")
    ]
    return Load(*map(np.asarray, columns), think_s)


def setting_of(
    requests: Sequence[Request], rules: Rules, constants: dict[str, float], think_s: float, admission_s: float
) -> Setting:
    """A server and its load."""
    return make_setting(ruled(rules, constants, admission_s), load_of(requests, think_s), None, None, rules.blocks)


def simulated(
    requests: Sequence[Request],
    rules: Rules,
    constants: dict[str, float],
    think_s: float = 0.0,
    admission_s: float = 0.0,
) -> tuple[list[np.ndarray], list[int]]:
    """Times of every token of every request, and how often each was preempted."""
    found, history = with_history(setting_of(requests, rules, constants, think_s, admission_s))
    return token_times_s(history, len(requests), admission_s), found.preemptions.astype(int).tolist()


def padded(requests: Sequence[Request]) -> list[Request]:
    """``COUNT`` requests: the further ones come when all is over."""
    return [*requests, *[Request(1e9, 1, 1)] * (COUNT - len(requests))]


def apart(ours: Sequence[np.ndarray], theirs: Sequence[Sequence[float]]) -> float:
    """The largest difference between two sets of token times [s], relative to those that are longer than a second."""
    assert [len(times) for times in ours] == [len(times) for times in theirs]
    pairs = [(np.asarray(x), np.asarray(y)) for x, y in zip(ours, theirs, strict=True)]
    return max(float(np.max(np.abs(x - y) / np.maximum(1, np.abs(y)))) for x, y in pairs)


def assert_same(batch: Simulation, place: int, one: Simulation) -> None:
    """That a setting of a batch is another simulation, bit by bit."""
    for ours, theirs in zip(jax.tree.leaves(batch), jax.tree.leaves(one), strict=True):
        np.testing.assert_array_equal(ours[place], theirs)
