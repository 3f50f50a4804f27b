"""Every public program lowers for CUDA, ROCm and TPU without a callback or a custom call of ours."""

import functools

import jax
import numpy as np
import pytest

import jaxroof
from jaxroof.catalogue.choice import ModelOptions, RequestOptions
from jaxroof.request.latency import rows
from jaxroof.serving.setting import alone, make_asked, make_setting
from jaxroof.serving.simulate import _program
from jaxroof.serving.steady_state import _steady
from jaxroof.step import STEP_MODELS, Batch
from jaxroof.sweeps import stream
from jaxroof.sweeps.axes import Axes
from jaxroof.sweeps.options import Keep, Score, load_plan

MODEL = jaxroof.load_model()
ARCH, DEPLOYMENT = jaxroof.load_architecture("llama-3.1-8b"), jaxroof.Deployment(1)
REQUEST = {"prompt": 3000, "output": 128, "cached": 100, "batch": 8, "output_cv": 0.5}


def predict():
    return lambda model: jaxroof.predict(model, ARCH, DEPLOYMENT, **REQUEST), (MODEL,)


def steps():
    """A mixed step of every step model."""
    batch = Batch(rows(100.0, 512.0, 2.0), rows(900.0, 1.0, 30.0), ARCH.sampling)
    models = [jaxroof.load_model(name) for name in STEP_MODELS]
    return lambda models: [model(batch, ARCH, DEPLOYMENT) for model in models], (models,)


def latencies():
    return lambda model, runs: jaxroof.latencies(model, runs), (MODEL, jaxroof.load_experiments())


def gradient():
    return jax.value_and_grad(jaxroof.tpot_mape), (MODEL, jaxroof.load_experiments())


def simulation():
    load = jaxroof.Load(np.arange(4.0), np.full(4, 3000.0), np.zeros(4), np.full(4, 20.0))
    setting = alone(make_setting(MODEL, load, ARCH, DEPLOYMENT, None))
    return lambda setting: _program(setting, setting.axes, 8, False), (setting,)


def steady():
    demand = jaxroof.Demand(prompt_tokens=512, output_tokens=128, rate_per_s=4)
    asked = make_asked(MODEL, demand, ARCH, DEPLOYMENT, None)
    return lambda asked: _steady(asked, asked.axes), (asked,)


def sweep():
    options = ModelOptions("kernels", "h100-sxm", None, None, None, [])
    axes = Axes(["tp=1,2", "batch=1:64:1"], [], None, None, None)
    request = RequestOptions("llama-3.1-8b", None, None, 512, 128, None, None, None, None)
    plan = load_plan(options, axes, request, Score(None, None, None, None), Keep(3, None, "ttft_ms,gpus", True))
    hints = {name: reduction.hint(reduction.start()) for name, reduction in plan.reductions.items()}
    constants = plan.objective.constants, plan.space.tables()
    return functools.partial(stream._block, plan, 64), (constants, hints, plan.space.inputs(0, 64), np.int32(64))


@pytest.mark.parametrize("program", [predict, steps, latencies, gradient, simulation, steady, sweep])
def test_a_program_lowers_for_every_accelerator(program):
    function, arguments = program()
    exported = jax.export.export(jax.jit(function), platforms=("cuda", "rocm", "tpu"))(*arguments)
    assert "custom_call" not in exported.mlir_module()
