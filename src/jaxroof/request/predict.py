"""One request on one deployment: latency and its breakdown."""

import functools
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxroof.parameters import AnalyticMfu, Architecture, Deployment, Sampling, Scalar, scalar
from jaxroof.request import schedule, workload
from jaxroof.request.fixed_lengths import FixedLengths, chunks_of, fixed_schedule, panels_of
from jaxroof.request.kinks import knots
from jaxroof.request.latency import breakdown, step_times, total
from jaxroof.request.limits import check_request
from jaxroof.request.schedule import Latency, Schedule
from jaxroof.request.workload import Share
from jaxroof.step import Model, StepTime

# vLLM's default token budget on small GPUs: the steps of a prompt where a model's is traced are no more than with it.
LEAST_BUDGET = 2048


class Prediction(eqx.Module):
    """Latency of a request (``tpot_s`` is its ITL), its prefill steps summed, its mean decode step.

    ``context_tokens`` is what each request in flight holds on average while they decode.

    >>> model, arch = jaxroof.load_model("memory", overheads="h2b"), jaxroof.load_architecture("llama-3.1-8b")
    >>> prediction = jaxroof.predict(model, arch, jaxroof.Deployment(tp=1), prompt=512, output=128)
    >>> round(1000 * float(prediction.latency["ttft"]), 3)  # ms
    8.347
    """

    latency: Latency
    prefill: StepTime
    decode: StepTime
    context_tokens: Scalar


def predict(
    model: Model,
    arch: Architecture,
    deployment: Deployment,
    *,
    prompt: int,
    output: int,
    cached: int = 0,
    batch: float = 1,
    output_cv: float = 0.0,
    sampling: Sampling | None = None,
    parts: bool = False,
) -> Prediction:
    """Predict a request of ``prompt`` tokens, of which the prefix cache holds ``cached``, and ``output`` tokens out.

    ``batch`` requests are in flight and decode together, the others ride along in a prefill step, for which a request
    that joins them waits. Their outputs have a coefficient of variation of ``output_cv``: those in flight are then
    longer than the mean, ``prompt + E[n²]/2E[n]`` tokens of context. Tokens are drawn by ``sampling``, else as the
    model's own files say. With ``output`` 1 there is no second token and the ITL is 0. Times in s. With ``parts`` the
    steps are broken down: another program, which takes longer to compile and to call.

    Arguments: ``model`` of :func:`load_model`, ``arch`` of :func:`load_architecture`; all counts whole.
    Raises InputError for a count that is none, more ``cached`` than ``prompt`` tokens, heads that ``tp`` does not
    divide, layers that are not plain outside ``kernels``, a window that is shorter than the request there, sampling
    that the server lacks. Tracers are not checked (``prompt`` must be none: it decides how many steps there are; a
    traced token budget must be at least vLLM's smallest); nor is whether the model fits.

    >>> model, arch = jaxroof.load_model("memory", overheads="h2b"), jaxroof.load_architecture("llama-3.1-8b")
    >>> prediction = jaxroof.predict(model, arch, jaxroof.Deployment(tp=1), prompt=512, output=128)
    >>> print(prediction.latency)
    Latency(ttft_ms=8.347, tpot_ms=8.303, e2e_ms=1062...)
    """
    traced, nodes = prepared(
        model, arch, deployment, prompt=prompt, output=output, cached=cached, batch=batch, output_cv=output_cv,
        sampling=sampling,
    )  # fmt: skip
    return cast(Prediction, _predict(model, *traced, *nodes, parts))


Traced = tuple[Schedule | FixedLengths, Architecture, Deployment, Scalar]


def prepared(
    model: Model, arch: Architecture, deployment: Deployment, *, prompt: int, output: int, cached: int = 0,
    batch: float = 1, output_cv: float = 0.0, sampling: Sampling | None = None,
) -> tuple[Traced, tuple[int, int]]:  # fmt: skip
    """Arguments of :func:`latency_of`, traced and static ones, for a request as :func:`predict` takes it, checked."""
    sampling = sampling or arch.sampling
    check_request(
        model, arch, deployment, sampling, prompt=prompt, output=output, cached=cached, batch=batch, output_cv=output_cv
    )
    request = FixedLengths(scalar(prompt), scalar(output), scalar(cached), scalar(output_cv), sampling)
    traced = isinstance(model.constants.server.max_num_batched_tokens, jax.core.Tracer)
    budget = LEAST_BUDGET if traced else int(model.constants.server.max_num_batched_tokens)
    steps: Schedule | FixedLengths = request
    mfu = model.constants.hardware.mfu
    if not isinstance(mfu, AnalyticMfu):  # measured tables kink and jump at places of their own
        held = min(cached, prompt - 1)  # one token is computed at least
        splits = knots(mfu, arch, deployment, range(held, prompt, budget), prompt + output, budget)
        share = Share(1.0, held, workload.point(prompt - held), workload.point(output))
        steps, _ = schedule.realised([share], output, sampling, budget, splits)
    return (steps, arch, deployment, scalar(batch)), (chunks_of(prompt, budget), panels_of(mfu, [arch]))


def latency_of(
    model: Model, steps: Schedule | FixedLengths, arch: Architecture, deployment: Deployment, batch: Scalar,
    chunks: int, panels: int,
) -> Latency:  # fmt: skip
    """The latency alone of a request that is :func:`prepared` [s]."""
    return cast(Latency, _predict(model, steps, arch, deployment, batch, chunks, panels, False).latency)


@functools.partial(jax.jit, static_argnames=("chunks", "panels", "parts"))
def _predict(
    model: Model, steps: Schedule | FixedLengths, arch: Architecture, deployment: Deployment, batch: Scalar,
    chunks: int, panels: int, parts: bool,
) -> Prediction:  # fmt: skip
    budget = model.constants.server.max_num_batched_tokens
    nodes = steps if isinstance(steps, Schedule) else fixed_schedule(steps, budget, chunks=chunks, panels=panels)
    times = step_times(model, nodes, arch, deployment, batch, parts=parts)
    return Prediction(total(nodes, *times), *breakdown(nodes, *times), _mean_context(nodes))


def _mean_context(nodes: Schedule) -> Scalar:
    """Context tokens of the average decode step; of one token, which has no step, those of its nodes."""
    steps = jnp.sum(nodes.tpot_weight)
    weighted = jnp.dot(nodes.tpot_weight, nodes.decode_context_tokens) / jnp.where(steps > 0, steps, 1.0)
    return jnp.where(steps > 0, weighted, jnp.mean(nodes.decode_context_tokens))
