"""``roofline`` with measured tables against 336 step times of the original simulator."""

import csv
from pathlib import Path

import jax
import numpy as np

from jaxroof.catalogue.load import load_architecture, load_tier0
from jaxroof.parameters import Deployment, replace
from jaxroof.step import Batch, Requests
from jaxroof.step.roofline import roofline

DATA = Path(__file__).parents[1] / "data/roofline_parity"


def padded(rows: list[list[tuple[float, float]]]) -> Requests:
    """Requests of each row, ragged rows filled with requests that are not there."""
    table = np.zeros((3, len(rows), max(map(len, rows))))
    for i, row in enumerate(rows):
        for j, (context, new) in enumerate(row):
            table[:, i, j] = context, new, 1
    return jax.tree.unflatten(jax.tree.structure(Requests(*table[:, 0])), table)  # leaves [row request]


def test_every_step_time_within_1_us_or_0_02_percent():
    rows = list(csv.DictReader((DATA / "step_times.csv").read_text().splitlines()))
    prefill = [[tuple(map(float, r.split("+"))) for r in row["prefill"].split()] for row in rows]
    decode = [[(float(c), 1.0) for c in row["decode"].split()] for row in rows]
    architectures = [load_architecture(row["model"]) for row in rows]
    arch = jax.tree.map(lambda *leaves: np.stack(leaves), *architectures)
    base = load_tier0(overheads="none", mfu_tables=DATA)

    def step_us(prefill, decode, arch, tp, efficiency, per_layer):
        keys = ("overheads.prefill.per_layer_us", "overheads.decode.per_layer_us")
        tier0 = replace(base, {"hardware.hbm_efficiency": efficiency} | dict.fromkeys(keys, per_layer))
        return roofline(Batch(prefill, decode), arch, Deployment(tp), tier0).total_s * 1e6

    columns = [np.array([float(row[name]) for row in rows]) for name in ("tp", "hbm_efficiency", "per_layer_us")]
    ours = jax.jit(jax.vmap(step_us))(padded(prefill), padded(decode), arch, *columns)
    reference = np.array([float(row["step_time_us"]) for row in rows])
    error = np.abs(np.asarray(ours) - reference)
    assert len(rows) == 336
    assert (error <= np.maximum(1.0, 2e-4 * reference)).all()
    assert error.max() <= 0.5 + 1e-6  # the reference rounds to whole µs, nothing else differs
