"""What mechanisms are without: known constants, sampling parameters and fields, and nothing where all are on."""

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxroof import load_model
from jaxroof.experiments import loaded
from jaxroof.parameters import Sampling, numbers

ROOT = Path(__file__).parents[2]


def load_script():
    """scripts/ is no package; dataclasses look their module up by its name."""
    spec = importlib.util.spec_from_file_location("mechanisms", ROOT / "scripts/mechanisms.py")
    module = sys.modules["mechanisms"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mechanisms = load_script()
SWITCHES = mechanisms.load_switches(mechanisms.SWITCHES)
# Two rows that every mechanism of a loaded server shows in: a mixture on two GPUs and a dense model.
SHOWING = ("qwen3-30b-a3b-tp2-ep2-slots128", "llama-3.1-8b-tp1-slots64")


@pytest.fixture(scope="module")
def table():
    """The two rows."""
    table = mechanisms.Loaded(ROOT / "ground_truth/mlenergy_h100.csv", by_group=True)
    keep = [point.name in SHOWING for point in table.points]
    table.points = [point for point in table.points if point.name in SHOWING]
    table.measured = table.measured[keep]
    return table


@pytest.mark.parametrize("name", SWITCHES)
def test_what_is_off_is_known(name):
    switch, known = SWITCHES[name], numbers(load_model())
    copied = {value for value in switch.constants.values() if isinstance(value, str)}
    assert switch.constants or switch.sampling or switch.point
    assert {*switch.constants, *copied} <= {*known}
    assert {*switch.sampling} <= {field.name for field in dataclasses.fields(Sampling)}
    assert {*switch.point} <= {field.name for field in dataclasses.fields(loaded.LoadedPoint)}


def test_copies_are_of_what_is_set():
    one_row, regimes = (SWITCHES[name] for name in ("GEMM of one row", "GEMM constants by regime"))
    known = numbers(load_model())
    key = "hardware.kernels.gemm.floor_us"
    assert f"hardware.kernels.gemm.gemv_floor_us={known[key]}" in one_row.settings(known)
    assert "hardware.kernels.gemm.gemv_floor_us=3.7" in mechanisms.joined([one_row, regimes]).settings(known)


def test_sampling_keeps_what_is_not_switched(table):
    switched = SWITCHES["sorting for top-p and top-k"].of_point(table.points[0])
    assert switched.sampling == "temperature=0.8,top_p=1,repetition_penalty=1.1,top_k=0"


def test_with_all_on_the_errors_are_those_of_the_points(table):
    own = loaded.predicted_itl_ms(table.path, table.points, None, [])
    measured = [point.itl_ms for point in table.points]
    np.testing.assert_array_equal(table.errors(mechanisms.Switch()), own / measured - 1)


# No measured point has what these are about: tests/step/test_small_kernels.py has models that do.
UNSEEN = ("quantised inputs", "routers beyond a top-k", "launches outside a graph")


@pytest.mark.parametrize("name", [name for name in SWITCHES if name not in ("GEMM of one row", *UNSEEN)])
def test_each_mechanism_shows_in_a_row(table, name):
    assert np.any(table.errors(SWITCHES[name]) != table.errors(mechanisms.Switch()))


@pytest.mark.parametrize("name", UNSEEN)
def test_what_no_point_has_shows_in_none(table, name):
    np.testing.assert_array_equal(table.errors(SWITCHES[name]), table.errors(mechanisms.Switch()))


def test_one_row_shows_in_idle_runs_only(table):
    idle, off = mechanisms.Idle(), SWITCHES["GEMM of one row"]
    assert np.all(idle.errors(off) != idle.errors(mechanisms.Switch()))
    np.testing.assert_array_equal(table.errors(off), table.errors(mechanisms.Switch()))
