"""How many tokens must a model think to answer as well as another?

Accuracy without thinking, its ceiling, a target -> tokens per answer.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Fraction, Ratio, Tokens
from codesign.core.record import Record


class Thinking(Record):
    """Accuracy over tokens of thought: p_inf - (p_inf - p_0) (1 + T / T_0)^-rho.

    ``start`` (p_0) comes from the benchmark score of a model, ``ceiling``
    (p_inf) is what endless thought would reach; ``scale`` is T_0.
    """

    start: Fraction
    ceiling: Fraction
    scale: Tokens
    exponent: Ratio


def accuracy(thinking: Thinking, tokens: Tokens) -> Array:
    """Accuracy after this much thought, between start and ceiling.

    Assumes: one sample per answer, no verifier. The form and its usual
    constants (500 tokens, exponent 1/2) are assumed.
    """
    missing = thinking.ceiling - thinking.start
    shrunk = (1.0 + tokens / thinking.scale) ** -thinking.exponent
    return jnp.asarray(thinking.ceiling - missing * shrunk)


def thinking_tokens(thinking: Thinking, target: Fraction, *, most: Tokens) -> Array:
    """Tokens of thought to reach a target; infinite where it is out of reach.

    T = T_0 (((p_inf - p_0) / (p_inf - q))^(1 / rho) - 1), 0 for q <= p_0

    Out of reach are targets at or above the ceiling, and those that take more
    than ``most`` tokens: else a search would buy endless thought from a tiny
    model.

    Example:
        >>> easy = Thinking(start=0.4, ceiling=0.8, scale=500.0, exponent=0.5)
        >>> round(float(thinking_tokens(easy, 0.6, most=32e3)))
        1500
        >>> float(thinking_tokens(easy, 0.8, most=32e3))
        inf
    """
    left = jnp.asarray(thinking.ceiling - target)
    reachable = left > 0.0
    safe = jnp.where(reachable, left, 1.0)
    ratio = jnp.maximum((thinking.ceiling - thinking.start) / safe, 1.0)
    tokens = thinking.scale * (ratio ** (1.0 / thinking.exponent) - 1.0)
    return jnp.where(reachable & (tokens <= most), tokens, jnp.inf)
