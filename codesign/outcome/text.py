"""What does a byte of text cost? A large vocabulary puts more text in a token.

Cost per token, vocabulary, constants of tokenisers -> cost per byte.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Count
from codesign.cost.record import Cost
from codesign.model.transformer import Transformer
from codesign.quality.constants import TextConstants
from codesign.serving.design import Design

PER_BYTE = {
    "energy_per_token": "energy_per_byte",
    "energy_per_token_server": "energy_per_byte_server",
    "energy_per_token_facility": "energy_per_byte_facility",
    "usd_per_token": "usd_per_byte",
    "time_per_output_token": "time_per_byte",
}
"""Metrics per token, and those that stand for them where vocabularies differ."""


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


def costs_per_byte(
    found: Cost, model: Transformer, *, constants: TextConstants
) -> dict[str, Array]:
    """Costs per byte of text written by name, c_byte = c_token f(V).

    They compare models of different vocabularies, which joules per token do not.
    """
    tokens = tokens_per_byte(model.vocab_size, constants)
    return {new: getattr(found, old) * tokens for old, new in PER_BYTE.items()}


def same_text(design: Design, base: Design, *, constants: TextConstants) -> Design:
    """The design with its request in tokens of its own vocabulary.

    Prompt and output stay the same text: n = n_base f(V) / f(V_base)
    """
    ratio = tokens_per_byte(design.model.vocab_size, constants) / tokens_per_byte(
        base.model.vocab_size, constants
    )
    request = design.request
    return design.replace(
        request=request.replace(
            prompt_length=ratio * request.prompt_length,
            output_length=ratio * request.output_length,
            lifetime_tokens=ratio * request.lifetime_tokens,
        )
    )
