"""``jit`` for programs of the tests' own, which run a few times: XLA compiles them quickly rather than well."""

import functools

import jax

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
