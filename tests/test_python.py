"""jaxroof as a Python library: its types, its examples, its errors, what it prints."""

import dataclasses
import doctest
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxroof
from jaxroof import InputError
from jaxroof.request.limits import check_request

SCRIPT = Path(__file__).with_name("user_script.py")
ROOT = Path(__file__).parents[1]
# Slips, each with the error that mypy has for it.
SLIPS = {
    'jaxroof.load_modle("memory")': "attr-defined",
    "jaxroof.predict(model, arch, jaxroof.Deployment(tp=1), prompt=1, output=2, bacth=4)": "call-arg",
    "jaxroof.load_model(overhead='h2b')": "call-arg",
    'jaxroof.predict(model, arch, jaxroof.Deployment(tp=1), prompt="512", output=1)': "arg-type",
    "jaxroof.tpot_mape(model, truth)": "arg-type",
}


def mypy(script):
    """What ``mypy --strict`` says of a user's script, with the cache that the package's own check has filled."""
    command = [sys.executable, "-m", "mypy", "--strict", "--hide-error-context", script]
    env = os.environ | {"MYPYPATH": str(Path(jaxroof.__file__).parents[1])}
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_users_script_sees_types(tmp_path):
    slips = tmp_path / "slips.py"
    slips.write_text(SCRIPT.read_text() + "\n".join(SLIPS) + "\n")
    done = mypy(slips)
    first = len(SCRIPT.read_text().splitlines()) + 1
    found = [(int(line.split(":")[1]), line.split("[")[-1]) for line in done.stdout.splitlines() if " error: " in line]
    assert found == [(first + i, f"{code}]") for i, code in enumerate(SLIPS.values())], done.stdout


@pytest.fixture(scope="module")
def llama():
    return jaxroof.load_architecture("llama-3.1-8b")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"prompt": -3}, "predict: prompt: must be ≥ 1, got -3"),
        ({"output": 0}, "predict: output: must be ≥ 1, got 0"),
        ({"cached": 9}, "predict: cached: must be ≤ prompt 8, got 9"),
        ({"batch": 0}, "predict: batch: must be ≥ 1, got 0"),
        ({"tp": 3}, "predict: tp: 32 attention heads cannot be divided by 3"),
    ],
)
def test_a_request_that_cannot_be_is_refused(h2b, llama, request_, message):
    request_ = {"prompt": 8, "output": 2, "tp": 1} | request_
    with pytest.raises(InputError) as error:
        jaxroof.predict(h2b, llama, jaxroof.Deployment(request_.pop("tp")), **request_)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("prompt", "why"), [(1.5, "must be a whole number, got 1.5"), ("9", "must be a number, got '9'")]
)
def test_what_is_no_count_is_refused(h2b, llama, prompt, why):
    with pytest.raises(InputError, match=f"predict: prompt: {why}"):
        check_request(h2b, llama, jaxroof.Deployment(1), llama.sampling, prompt=prompt, output=2, cached=0, batch=1)


def test_what_a_model_cannot_say_is_refused(h2b, truth):
    """A mixture outside ``kernels``, a window that is shorter than the request, a line that nobody measured."""
    mixtral, mistral = map(jaxroof.load_architecture, ("mixtral-8x7b", "mistral-7b"))
    mixtures = dataclasses.replace(truth.runs, architecture=jax.tree.map(lambda leaf: np.stack([leaf] * 13), mixtral))
    one = jaxroof.Deployment(1)
    for call, message in {
        lambda: jaxroof.predict(
            h2b, mixtral, one, prompt=8, output=2
        ): "predict: num_experts: the memory step time is for",
        lambda: jaxroof.latencies(h2b, mixtures): "runs: num_experts: the memory step time is for dense",
        lambda: jaxroof.predict(
            jaxroof.load_model("linear"), mistral, one, prompt=8, output=2
        ): "predict: linear: steps take no time; name a file of a measured line",
        lambda: jaxroof.predict(h2b, mistral, one, prompt=4095, output=2): "the window of 4096 tokens is shorter",
    }.items():
        with pytest.raises(InputError, match=message):
            call()


def test_unknown_names_are_refused(h2b, truth):
    unknown = jaxroof.Model("memroy", h2b.constants)
    for call, message in {
        lambda: jaxroof.replace(h2b, {"hardware.hbm_eficiency": 1}): "unknown key; did you mean hardware.hbm_eff",
        lambda: jaxroof.load_model("memroy"): "got 'memroy'; did you mean memory?",
        lambda: jaxroof.latencies(unknown, truth.runs): "got 'memroy'; did you mean memory?",
        lambda: jaxroof.latencies(h2b, truth.runs, scoring="ilt"): "got 'ilt'; did you mean itl?",
        lambda: jaxroof.tpot_mape(h2b, truth.runs, scoring="ilt"): "got 'ilt'; did you mean itl?",
        lambda: jaxroof.sensitivities(h2b, truth.runs, scoring="ilt"): "got 'ilt'; did you mean itl?",
        lambda: jaxroof.latencies(h2b, truth.runs)["itl"]: "must be one of ttft, tpot, e2e, got 'itl'",
    }.items():
        with pytest.raises(InputError) as error:
            call()
        assert message in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("hardware.hbm_efficiency", 7, "must be ≤ 1, got 7"),
        ("hardware.hbm_efficiency", [0.5, 0.0], "must be > 0, got 0"),
        ("hardware.hbm_efficiency", jax.numpy.array([0.5, np.nan]), "must be finite, got nan"),
        ("hardware.hbm_efficiency", "0.5x", "must be a number, got '0.5x'"),
        ("server.max_num_seqs", [8, 8.5, 9], "must be a whole number, got 8.5"),
    ],
)
def test_a_constant_out_of_its_range_is_refused(h2b, key, value, why):
    with pytest.raises(InputError) as error:
        jaxroof.replace(h2b, {key: value})
    assert str(error.value) == f"replace: {key}: {why}"
    assert jaxroof.replace(h2b, {key: []}).step == h2b.step


def test_tracers_are_not_checked(h2b, llama):
    """A sweep may go where a request cannot, and a traced one cannot raise."""
    jax.jit(lambda value: jaxroof.replace(h2b, {"hardware.hbm_efficiency": value}))(7.0)

    def e2e_s(tp):
        return jaxroof.predict(h2b, llama, jaxroof.Deployment(tp), prompt=8, output=2).latency["e2e"]

    one, three = jax.vmap(e2e_s)(np.array([1.0, 3.0]))
    assert three < one
    counts = {"prompt": 8, "cached": 0, "batch": 1}
    jax.jit(lambda output: check_request(h2b, llama, jaxroof.Deployment(1), llama.sampling, output=output, **counts))(
        -2
    )


def test_a_latency_prints_in_milliseconds_whatever_it_holds():
    latency = jaxroof.Latency(np.float64(0.0220791), np.float64(0.0069), np.float64(0.5))
    assert str(latency) == "Latency(ttft_ms=22.079, tpot_ms=6.9, e2e_ms=500.0)"
    stacked = jax.tree.map(lambda x: np.repeat(x, 2), latency)
    assert str(stacked) == "Latency(ttft_ms=[22.079 22.079], tpot_ms=[6.9 6.9], e2e_ms=[500. 500.])"
    jax.jit(lambda traced: traced if "Tracer" in str(traced) else 1 / 0)(latency)
    assert "None" in str(jax.tree.map(lambda _: None, latency))


def test_every_public_name_has_a_runnable_example():
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    finder = doctest.DocTestFinder(recurse=False)
    for name in jaxroof.__all__:
        (example,) = finder.find(getattr(jaxroof, name), name, globs={"jaxroof": jaxroof})
        assert example.examples, name
        runner.run(example)
    assert not runner.failures
