"""What a server has in flight when it is looked at: the longer a request, the likelier it is there.

Output lengths have a mean n and a coefficient of variation V, as Gamma distributions have them.
"""

import jax.numpy as jnp

from jaxroof.parameters import Scalar

EULER = 0.5772156649015329


def longer_tokens(output: Scalar | float, cv: Scalar | float) -> Scalar:
    """How much longer than half a mean one an output in flight is: ``V²·n² / (2·(n − 1))`` [tokens].

    A request takes n − 1 decode steps, at 0 … n − 2 tokens past its first. Over all steps of all requests that is
    ``E[(n − 1)(n − 2)] / (2·E[n − 1])``, and for V = 0 it is (n − 2)/2.
    """
    return cv**2 * output**2 / (2 * jnp.maximum(output - 1, 1.0))


def generated_tokens(output: Scalar | float, cv: Scalar | float) -> Scalar:
    """Mean tokens that a request in flight has generated and put into its KV cache, about ``E[n²] / (2·E[n])``."""
    return jnp.maximum(output - 2, 0.0) / 2 + longer_tokens(output, cv)


def longest_tokens(output: Scalar | float, cv: Scalar | float, batch: Scalar | float) -> Scalar:
    """Expected most tokens that any of ``batch`` requests in flight has generated.

    Exact for V = 0 (ages uniform up to n: n·B/(B + 1)); for V = 1 exponential, n·(1 + 1/2 + … + 1/B), the sum within
    1.2 % by Euler's constant; between them linear in V², as the mean is.
    """
    harmonic = jnp.log(batch) + EULER + (1 - EULER) / batch
    return output * ((1 - cv**2) * batch / (batch + 1) + cv**2 * harmonic)


def spread_tokens(output: Scalar | float, cv: Scalar | float) -> Scalar:
    """Standard deviation of the contexts in flight that different output lengths cause, 0 for V = 0 [tokens].

    A Gamma distribution's ages have variance ``n²·(1 + V²)(1 + 5V²)/12``; n²/12 of it is there without any spread.
    """
    variance = (1 + cv**2) * (1 + 5 * cv**2) - 1
    return output * jnp.sqrt(jnp.where(cv > 0, variance, 1.0) / 12) * jnp.where(cv > 0, 1.0, 0.0)


def contexts_spread_tokens(output: Scalar | float, cv: Scalar | float, prompt_stdev: Scalar | float) -> Scalar:
    """Standard deviation of the contexts in flight where prompts differ too, independently of outputs [tokens]."""
    variance = spread_tokens(output, cv) ** 2 + prompt_stdev**2
    # The root's slope is infinite at 0.
    return jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)
