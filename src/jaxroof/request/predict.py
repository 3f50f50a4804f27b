"""One request on one deployment: latency and its breakdown."""

import equinox as eqx
import jax

from jaxroof.parameters import AnalyticMfu, Architecture, Deployment, Scalar, scalar
from jaxroof.request import schedule, workload
from jaxroof.request.fixed_lengths import chunks_of, fixed_schedule
from jaxroof.request.kinks import knots
from jaxroof.request.latency import breakdown, step_times, total
from jaxroof.request.schedule import MAX_NUM_BATCHED_TOKENS, Latency, Schedule
from jaxroof.request.workload import Share
from jaxroof.step import Model, StepTime


class Lengths(eqx.Module):
    """Tokens of a request: its schedule is computed with what is asked of it."""

    prompt: Scalar
    output: Scalar
    cached: Scalar
    chunks: int = eqx.field(static=True)


class Prediction(eqx.Module):
    """Latency of a request; ``tpot_s`` is its ITL."""

    latency: Latency
    _asked: tuple[Model, Schedule | Lengths, Architecture, Deployment, Scalar]

    def breakdown(self) -> tuple[StepTime, StepTime]:
        """What it is made of: its prefill steps summed, and its mean decode step."""
        return _breakdown(*self._asked)


def predict(
    model: Model,
    arch: Architecture,
    deployment: Deployment,
    *,
    prompt: int,
    output: int,
    cached: int = 0,
    batch: int = 1,
) -> Prediction:
    """Predict a request of ``prompt`` tokens, of which the prefix cache holds ``cached``, and ``output`` tokens out.

    ``batch`` requests are in flight and decode together, the others ride along in a prefill step.
    With ``output`` 1 there is no second token and the ITL is 0. Times in s.
    """
    asked = (model, _schedule(model, arch, deployment, prompt, output, cached), arch, deployment, scalar(batch))
    return Prediction(_latency(*asked), asked)


def _schedule(
    model: Model, arch: Architecture, deployment: Deployment, prompt: int, output: int, cached: int
) -> Schedule | Lengths:
    mfu = model.constants.hardware.mfu
    if isinstance(mfu, AnalyticMfu):
        return Lengths(scalar(prompt), scalar(output), scalar(cached), chunks_of(prompt))
    held = min(cached, prompt - 1)  # one token is computed at least
    # Measured tables kink and jump at places of their own.
    splits = knots(mfu, arch, deployment, range(held, prompt, MAX_NUM_BATCHED_TOKENS), prompt + output)
    share = Share(1.0, held, workload.point(prompt - held), workload.point(output))
    return schedule.realised([share], output, splits)[0]


def _nodes(asked: Schedule | Lengths) -> Schedule:
    if isinstance(asked, Schedule):
        return asked
    return fixed_schedule(asked.prompt, asked.output, asked.cached, chunks=asked.chunks)


@jax.jit
def _latency(
    model: Model, asked: Schedule | Lengths, arch: Architecture, deployment: Deployment, batch: Scalar
) -> Latency:
    nodes = _nodes(asked)
    return total(nodes, *step_times(model, nodes, arch, deployment, batch, parts=False))


@jax.jit
def _breakdown(
    model: Model, asked: Schedule | Lengths, arch: Architecture, deployment: Deployment, batch: Scalar
) -> tuple[StepTime, StepTime]:
    nodes = _nodes(asked)
    return breakdown(nodes, *step_times(model, nodes, arch, deployment, batch))
