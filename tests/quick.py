"""``jit`` for programs of the tests' own, which run a few times: XLA compiles them quickly rather than well.

``replace_anywhere`` is ``jaxroof.replace`` traced, so that no range is checked: beside a bound, or flags that vary.
"""

import functools

import jax

from jaxroof.parameters import replace

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
replace_anywhere = jit(replace)
