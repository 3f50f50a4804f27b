"""Latencies are affine in overhead constants."""

import numpy as np
import pytest

from jaxroof.catalogue.load import load_model
from jaxroof.experiments.affine import affine_tpot
from jaxroof.experiments.evaluate import latencies
from jaxroof.experiments.metrics import SCORINGS
from jaxroof.parameters import replace

FREE = (
    ("overheads.prefill.per_layer_us", "overheads.decode.per_layer_us"),
    ("overheads.decode.per_vocab_us",),
    ("overheads.prefill.base_us", "overheads.decode.base_us"),
)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("step_model", ["kernels", "memory", "roofline"])
def test_the_affine_form_is_the_model(truth, step_model, scoring):
    none = load_model(step_model)
    constants = np.random.default_rng(0).uniform(0, 900, (3, 7))
    affine = affine_tpot(none, truth.runs, FREE, scoring=scoring)
    values = {key: row for keys, row in zip(FREE, constants, strict=True) for key in keys}
    model = latencies(replace(none, values), truth.runs, scoring=scoring)
    np.testing.assert_allclose(affine.tpot_s(constants), model.tpot_s, rtol=1e-13)
