"""Steps of a few requests, and gradients of their time against central differences: one program for all cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from quick import jit

from jaxroof.catalogue.load import load_tier0
from jaxroof.parameters import get, put, walk
from jaxroof.step import Batch, Requests

# Steps of a log-constant; no kink may lie within two of them.
WIDTH, OFFSETS, WEIGHTS = 1e-4, np.array([-2, -1, 1, 2]), np.array([1, -8, 8, -1]) / 12
ROWS = 2
IN_FLIGHT = ("generated_tokens", "longest_tokens", "spread_tokens")
# Counts and flags have no derivative, nor has a staircase.
LEAVES = {
    key: path for key, path, leaf in walk(load_tier0()) if not leaf.range.whole and not key.endswith("chunk_tokens")
}


def requests(*rows):
    """Requests of (context, new tokens, count) each."""
    return Requests(*(np.array(column, dtype=float) for column in (zip(*rows, strict=True) if rows else ([], [], []))))


BATCHES = {
    "prefill": Batch(requests((300, 700, 1), (0, 40, 1)), requests()),
    "decode": Batch(requests(), requests((700, 1, 3), (900, 1, 2))),
    "mixed": Batch(requests((100, 300, 1)), requests((700, 1, 4))),
}


@functools.partial(jit, static_argnames="step")
def along_each(step, tier0, arch, deployment, batch):
    """Step time, and its derivatives with respect to the logarithm of each leaf: by ``jax.grad``, by a stencil."""
    values = {path: get(tier0, path) for path in LEAVES.values()}

    def total(logs):
        moved = {path: value * jnp.exp(log) for (path, value), log in zip(values.items(), logs, strict=True)}
        return step(batch, arch, deployment, put(tier0, moved)).total_s

    points = WIDTH * OFFSETS[:, None, None] * np.eye(len(values))
    seconds, gradient = jax.value_and_grad(total)(jnp.zeros(len(values)))
    return seconds, gradient, WEIGHTS @ jax.lax.map(jax.vmap(total), points) / WIDTH


def check_leaves(step, tier0, arch, deployment, batch, rtol):
    """Every gradient is that of the stencil, but for what rounding does to a difference; returns them by key."""
    seconds, gradient, stencil = along_each(step, tier0, arch, deployment, filled(batch))
    np.testing.assert_allclose(gradient, stencil, rtol=rtol, atol=1e-11 * float(seconds))
    return dict(zip(LEAVES, np.asarray(gradient), strict=True))


def filled(batch):
    """The same step with as many rows in every case, so that one program serves all; new rows have no request."""
    in_flight = (jnp.asarray(float(getattr(batch, name))) for name in IN_FLIGHT)
    return Batch(_filled(batch.prefill), _filled(batch.decode), batch.sampling, *in_flight)


def _filled(requests):
    missing = ROWS - len(requests.count)
    absent = Requests(np.zeros(missing), np.ones(missing), np.zeros(missing))
    return jax.tree.map(lambda *rows: np.concatenate(rows), requests, absent)
