"""What a simulated server did, over time: the time of every token, requests that run and wait, blocks in use."""

import numpy as np

from jaxroof.parameters import Vector
from jaxroof.serving.actions import Action
from jaxroof.serving.state import NOBODY
from jaxroof.serving.steps import Jump


def step_ends_s(history: Action) -> Vector:
    """When each step ended [step] [s]."""
    jump = history.jump
    counts = jump.steps.astype(int)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.arange(counts.sum()) - first + 1.0
    each = Jump(*(np.repeat(x, counts) for x in jump))
    return np.asarray(np.repeat(history.start_s, counts) + each.seconds(place))


def token_times_s(history: Action, requests: int, admission_s: float = 0.0) -> list[Vector]:
    """When clients had each of their tokens [s], by request.

    In a slot a request has a token in its first step there and in every later one that decodes; after a preemption
    it goes on in another slot.
    """
    ends_s = step_ends_s(history) + admission_s
    decodes = np.repeat(~history.decodes_wait, history.jump.steps.astype(int))
    # How many of the steps up to each decode, to pick them by their place.
    seen, decode_s = np.concatenate([[0], np.cumsum(decodes)]), ends_s[decodes]
    times: list[list[Vector]] = [[] for _ in range(requests)]
    left = history.left
    for action in np.flatnonzero(left.request != NOBODY):
        first, last = int(left.first_step[action]), int(left.last_step[action])
        times[left.request[action]] += [ends_s[first : first + 1], decode_s[seen[first + 1] : seen[last + 1]]]
    return [np.concatenate(parts) if parts else np.zeros(0) for parts in times]
