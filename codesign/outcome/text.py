"""What does a byte of text cost? A large vocabulary puts more text in a token.

Cost per token, vocabulary, constants of tokenisers -> joules per byte.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Count
from codesign.cost.record import Cost
from codesign.model.transformer import Transformer
from codesign.quality.constants import TextConstants


def tokens_per_byte(vocab_size: Count, constants: TextConstants) -> Array:
    """Tokens that a byte of text becomes.

    f(V) = a ln^2 V + b ln V + c for V up to the minimum of the parabola, its
    value there beyond (ln V* = -b / (2 a), V* = 231 000).

    Assumes: one byte per character, English text; the parabola was fitted to
    vocabularies of 1 024 to 100 000 entries.
    Source: Tao et al., arXiv 2407.13623; github sail-sg/scaling-with-vocab.

    Example:
        >>> found = TextConstants(curvature=0.0064, slope=-0.1581, offset=1.2047)
        >>> round(float(1.0 / tokens_per_byte(32_000, found)), 2)
        3.95
    """
    lowest = -constants.slope / (2.0 * constants.curvature)
    size = jnp.minimum(jnp.log(vocab_size), lowest)
    return constants.curvature * size**2 + constants.slope * size + constants.offset


def energy_per_byte(found: Cost, model: Transformer, *, text: TextConstants) -> Array:
    """Joules at the server's plug per byte of text written.

    E_byte = E_token f(V): compares models of different vocabularies.
    """
    return found.energy_per_token_server * tokens_per_byte(model.vocab_size, text)
