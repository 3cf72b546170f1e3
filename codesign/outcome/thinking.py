"""How many tokens must a model think to answer as well as another?

Accuracy without thought, its ceiling, a target -> tokens per answer.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Fraction, Ratio, Tokens
from codesign.core.record import Record
from codesign.model.transformer import Transformer
from codesign.quality.constants import QualityConstants, ThinkingConstants
from codesign.quality.evaluate import benchmark_score
from codesign.serving.design import Design

CLOSEST = 1e-9  # to the ceiling; keeps slopes finite where a target is out of reach


class Thinking(Record):
    """Accuracy over tokens of thought: p_inf - (p_inf - p_0) (1 + T / T_0)^-rho.

    ``start`` (p_0) is the benchmark score of a model, ``ceiling`` (p_inf) what
    endless thought would reach; ``scale`` is T_0. An answer has ``least`` to
    ``most`` tokens.
    """

    start: Fraction
    ceiling: Fraction
    scale: Tokens
    exponent: Ratio
    least: Tokens
    most: Tokens


def thinker(start: Fraction, constants: ThinkingConstants) -> Thinking:
    """A model that scores ``start`` without thought, p_inf = p_0 + h (1 - p_0).

    Assumes: every constant, see ``configs/quality/constants.yaml``.
    """
    return Thinking(
        start=start,
        ceiling=start + constants.headroom * (1.0 - start),
        scale=constants.scale,
        exponent=constants.exponent,
        least=constants.least,
        most=constants.most,
    )


def accuracy(thinking: Thinking, tokens: Tokens) -> Array:
    """Accuracy after this much thought, between start and ceiling.

    Assumes: one sample per answer, no verifier. The form and its usual
    constants (500 tokens, exponent 1/2) are assumed.
    """
    missing = thinking.ceiling - thinking.start
    shrunk = (1.0 + tokens / thinking.scale) ** -thinking.exponent
    return jnp.asarray(thinking.ceiling - missing * shrunk)


def thinking_tokens(thinking: Thinking, target: Fraction) -> Array:
    """Tokens of thought to reach a target, between ``least`` and ``most``.

    T = T_0 (((p_inf - p_0) / (p_inf - q))^(1 / rho) - 1)

    ``most`` where the target is at or above the ceiling, or further away: else
    a search would buy endless thought from a tiny model. ``shortfall`` says
    when that happens.

    Example:
        >>> easy = Thinking(start=0.4, ceiling=0.8, scale=500.0, exponent=0.5,
        ...                 least=32.0, most=32e3)
        >>> round(float(thinking_tokens(easy, 0.6)))
        1500
        >>> round(float(thinking_tokens(easy, 0.8)))
        32000
    """
    left = jnp.maximum(thinking.ceiling - target, CLOSEST)
    ratio = jnp.maximum((thinking.ceiling - thinking.start) / left, 1.0)
    longest = (1.0 + thinking.most / thinking.scale) ** thinking.exponent
    near = jnp.minimum(ratio, longest)
    tokens = thinking.scale * (near ** (1.0 / thinking.exponent) - 1.0)
    return jnp.clip(tokens, thinking.least, thinking.most)


def shortfall(thinking: Thinking, target: Fraction) -> Array:
    """ln(q / p(most)): above 0 the target is out of reach within the cap."""
    return jnp.log(target) - jnp.log(accuracy(thinking, thinking.most))


def model_thinker(model: Transformer, constants: QualityConstants) -> Thinking:
    """How a model gains from thought; its start is the benchmark score."""
    return thinker(benchmark_score(model, constants), constants.thinking)


def answer_target(
    reference: Transformer, tokens: Tokens, *, constants: QualityConstants
) -> Array:
    """Accuracy of the reference's answers, which have this many tokens."""
    return accuracy(model_thinker(reference, constants), tokens)


def same_answers(
    design: Design, target: Fraction, *, constants: QualityConstants
) -> Design:
    """The design with outputs as long as its model needs to reach the target.

    A model as good as the reference answers in as many tokens, a worse one needs
    more, which cost joules, KV cache and time.
    """
    tokens = thinking_tokens(model_thinker(design.model, constants), target)
    return design.replace(request=design.request.replace(output_length=tokens))
