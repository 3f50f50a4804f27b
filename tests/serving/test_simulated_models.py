"""The array simulator with models of steps: jumps against one step at a time, requests alone against ``predict``."""

import dataclasses
import math

import numpy as np
import pytest
from comparing import COUNT, apart, assert_same

from jaxroof import Deployment, Load, Sampling, load_architecture, load_model, predict, replace, simulate
from jaxroof.serving.history import token_times_s
from jaxroof.serving.setting import make_setting
from jaxroof.serving.simulate import with_history

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SERVERS = ("vllm-sync", "vllm-0.11-async", "vllm-0.15", "sglang-0.5", "trtllm-1.0")
SAMPLERS = {
    "greedy": {"temperature": 0.0},
    "top_p": {"top_p": 0.9},
    "penalties": {"top_p": 0.9, "top_k": 50.0, "repetition_penalty": 1.1},
    "min_p": {"min_p": 0.1},
}
MODELS = {"llama-3.1-8b": Deployment(1.0), "qwen3-30b-a3b": Deployment(2.0, 2.0)}


def architecture(name, sampler=None):
    """A model whose tokens are drawn so, or as its own files say."""
    arch = load_architecture(name)
    return arch if sampler is None else dataclasses.replace(arch, sampling=Sampling(**SAMPLERS[sampler]))


def random_load(seed, seconds, prompt, output, cached=0.0):
    """A load whose requests come within ``seconds``, with uniform lengths, a share of their prompts cached."""
    rng = np.random.default_rng(seed)
    prompts = rng.integers(*prompt, COUNT)
    arrivals = np.sort(rng.uniform(0, seconds, COUNT))
    return Load(arrivals, prompts, np.floor(cached * prompts), rng.integers(*output, COUNT))


# Jumps against one step at a time


def jumps_and_steps(model, load, arch, deployment, kv_blocks=None):
    """A simulation, what it did, and how far it is from one step at a time, relative to each time."""
    setting = make_setting(model, load, arch, deployment, kv_blocks)
    (found, history), (slow, single) = with_history(setting), with_history(setting, 1.0)
    assert single.jump.steps.max() == 1
    assert found.preemptions.tolist() == slow.preemptions.tolist()
    assert found.steps == slow.steps
    times, singly = (token_times_s(one, load.requests) for one in (history, single))
    assert apart(times, singly) < 1e-9
    pairs = zip(times, singly, strict=True)
    return found, history, max(float(np.max(np.abs(x / y - 1))) for x, y in pairs)


@pytest.mark.parametrize("server", SERVERS)
def test_jumps_take_as_long_as_their_steps(server):
    model = load_model(server=server)
    size, supported = float(model.constants.server.block_size), float(model.constants.server.penalties.supported)
    for seed, (name, deployment) in enumerate(MODELS.items()):
        for sampler in SAMPLERS if supported else ("greedy", "top_p", "min_p"):
            arch = architecture(name, sampler)
            roomy, tight = (random_load(seed, seconds, (50, 600), (10, 300)) for seconds in (5, 1))
            found, history, difference = jumps_and_steps(model, roomy, arch, deployment)
            assert difference < 1e-9
            assert found.preemptions.sum() == 0
            assert history.jump.steps.max() > 10
            found, _, difference = jumps_and_steps(model, tight, arch, deployment, math.ceil(2500 / size))
            assert difference < 1e-9
            assert found.preemptions.sum() > 0


@pytest.mark.parametrize("server", SERVERS)
def test_jumps_of_memory(server):
    model, arch = load_model("memory", overheads="h2b", server=server), architecture("llama-3.1-8b")
    size = float(model.constants.server.block_size)
    for kv_blocks in None, math.ceil(2500 / size):
        load = random_load(3, 2, (50, 600), (10, 300), cached=0.5)
        assert jumps_and_steps(model, load, arch, MODELS["llama-3.1-8b"], kv_blocks)[2] < 1e-9


@pytest.mark.parametrize(
    ("server", "sampler"), [("vllm-0.15", "top_p"), ("vllm-0.15", "penalties"), ("vllm-0.11-async", "greedy")]
)
def test_a_jump_ends_where_step_time_has_a_kink(server, sampler):
    load = random_load(7, 2, (50, 300), (500, 4000))
    found, history, difference = jumps_and_steps(
        load_model(server=server), load, architecture("llama-3.1-8b", sampler), MODELS["llama-3.1-8b"]
    )
    assert difference < 1e-9
    assert found.steps > 2000
    # A kink lies between two jumps of the same requests with different slopes, one right after the other.
    runs = np.flatnonzero(history.jump.steps > 2)
    slope_s, alike = history.jump.slope_s[runs], np.diff(history.running[runs]) == 0
    assert np.any(alike & (np.diff(history.head[runs]) == 0) & (np.abs(np.diff(slope_s)) > 1e-3 * slope_s[1:]))


# Against predictions of one request


@pytest.mark.parametrize(
    ("step", "server", "name", "sampler", "prompt", "cached", "output"),
    [
        ("kernels", "vllm-0.15", "llama-3.1-8b", None, 700, 96, 65),
        ("kernels", "vllm-0.15", "qwen2.5-7b", None, 700, 0, 200),
        ("kernels", "vllm-sync", "qwen2.5-7b", None, 700, 0, 200),
        ("kernels", "vllm-sync", "llama-3.1-8b", "greedy", 5000, 0, 30),
        ("kernels", "vllm-sync", "llama-3.1-8b", "penalties", 5000, 48, 30),
        ("kernels", "vllm-0.15", "qwen3-30b-a3b", "min_p", 1, 0, 2),
        ("kernels", "vllm-0.15", "qwen3-30b-a3b", None, 2000, 0, 100),
        ("kernels", "sglang-0.5", "llama-3.1-8b", "top_p", 300, 299, 50),
        ("kernels", "trtllm-1.0", "llama-3.1-8b", "top_p", 300, 0, 1),
        ("memory", "vllm-0.15", "llama-3.1-8b", None, 700, 96, 65),
        ("memory", "vllm-sync", "qwen2.5-7b", None, 5000, 0, 64),
    ],
)
def test_a_request_alone_takes_as_long_as_is_predicted(step, server, name, sampler, prompt, cached, output):
    model = load_model(step, server=server, overheads="h2b" if step == "memory" else None)
    arch, deployment = architecture(name, sampler), MODELS.get(name, Deployment(1.0))
    says = predict(model, arch, deployment, prompt=prompt, cached=cached, output=output).latency
    columns = [np.full(COUNT, tokens) for tokens in (prompt, cached, output)]
    rare = with_history(make_setting(model, Load(100.0 * np.arange(COUNT), *columns), arch, deployment, None))[0]
    client = simulate(model, Load([3.0, *[math.inf] * (COUNT - 1)], *columns), arch, deployment)
    for found in rare, client:
        assert found.ttft_s == pytest.approx(float(says.ttft_s), rel=1e-6)
        assert found.e2e_s == pytest.approx(float(says.e2e_s), rel=1e-6)
        assert found.itl_s == pytest.approx(float(says.tpot_s) if output > 1 else math.nan, rel=1e-6, nan_ok=True)


# Settings


@pytest.mark.usefixtures("fused")
def test_a_constant_of_the_model_varies():
    model, arch = load_model("memory", overheads="h2b"), architecture("llama-3.1-8b")
    load, efficiency = random_load(5, 2, (50, 600), (10, 100)), np.linspace(0.5, 0.9, 5)
    load = dataclasses.replace(load, arrival_s=[0.0] * 8 + [math.inf] * (COUNT - 8))
    found = simulate(replace(model, {"hardware.hbm_efficiency": efficiency}), load, arch, Deployment(1.0))
    assert (np.diff(found.e2e_s.mean(1)) < 0).all()
    for i in range(5):
        one = replace(model, {"hardware.hbm_efficiency": efficiency[i]})
        assert_same(found, i, simulate(one, load, arch, Deployment(1.0)))
