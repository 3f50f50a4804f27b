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


Asked = tuple[Model, Schedule | Lengths, Architecture, Deployment, Scalar]


class Prediction(eqx.Module):
    """Latency of a request; ``tpot_s`` is its ITL."""

    latency: Latency
    _asked: Asked

    def breakdown(self) -> tuple[StepTime, StepTime]:
        """What it is made of: its prefill steps summed, and its mean decode step."""
        return explained(*self._asked)[1:]


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
    request = asked(model, arch, deployment, prompt, output, cached, batch)
    return Prediction(latency(*request), request)


def asked(
    model: Model, arch: Architecture, deployment: Deployment, prompt: int, output: int, cached: int, batch: int
) -> Asked:
    """The arguments of :func:`latency` and :func:`explained`."""
    mfu = model.constants.hardware.mfu
    steps: Schedule | Lengths = Lengths(scalar(prompt), scalar(output), scalar(cached), chunks_of(prompt))
    if not isinstance(mfu, AnalyticMfu):  # measured tables kink and jump at places of their own
        held = min(cached, prompt - 1)  # one token is computed at least
        splits = knots(mfu, arch, deployment, range(held, prompt, MAX_NUM_BATCHED_TOKENS), prompt + output)
        share = Share(1.0, held, workload.point(prompt - held), workload.point(output))
        steps, _ = schedule.realised([share], output, splits)
    return model, steps, arch, deployment, scalar(batch)


@jax.jit
def latency(
    model: Model, steps: Schedule | Lengths, arch: Architecture, deployment: Deployment, batch: Scalar
) -> Latency:
    """TTFT, ITL and E2E of a request."""
    nodes = _nodes(steps)
    return total(nodes, *step_times(model, nodes, arch, deployment, batch, parts=False))


@jax.jit
def explained(
    model: Model, steps: Schedule | Lengths, arch: Architecture, deployment: Deployment, batch: Scalar
) -> tuple[Latency, StepTime, StepTime]:
    """The same, its prefill steps summed, and its mean decode step."""
    nodes = _nodes(steps)
    times = step_times(model, nodes, arch, deployment, batch)
    return (total(nodes, *times), *breakdown(nodes, *times))


def _nodes(steps: Schedule | Lengths) -> Schedule:
    if isinstance(steps, Schedule):
        return steps
    return fixed_schedule(steps.prompt, steps.output, steps.cached, chunks=steps.chunks)
