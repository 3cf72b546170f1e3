"""Which numbers does the quality law need? Constants with the same shape per draw.

Values come from ``configs/quality/``; every leaf may carry a leading axis of
draws, over which ``jax.vmap`` maps. Losses are in nats per token.
"""

from typing import Annotated

from codesign.core.quantities import (
    Bits,
    Count,
    Factor,
    Fraction,
    Ratio,
    Scalar,
    Tokens,
    Unit,
)
from codesign.core.record import Record

Nats = Annotated[Scalar, Unit("1")]


class Laws(Record):
    """Base laws L = E + A N^-alpha + B D^-beta; each leaf has one entry per law.

    ``weight`` sums to 1 over the laws. ``delta_scale`` converts surcharges,
    which are calibrated in nats of the first law, into nats of each law.
    """

    irreducible_loss: Nats
    size_coefficient: Factor
    size_exponent: Factor
    data_coefficient: Factor
    data_exponent: Factor
    weight: Fraction
    delta_scale: Factor


class LawSpread(Record):
    """One standard deviation of the first law's values, and their correlation.

    The terms are ln(A N0^-alpha) and ln(B D0^-beta) at the pivots N0 and D0,
    where they are nearly independent of the exponents. Rows of ``correlation``:
    irreducible loss, size term, size exponent, data term, data exponent.
    """

    size_pivot: Count
    data_pivot: Tokens
    irreducible_loss: Nats
    log_size_term: Ratio
    size_exponent: Factor
    log_data_term: Ratio
    data_exponent: Factor
    correlation: Ratio


class Anchor(Record):
    """Two dense models whose gap says how large a nat is under a law."""

    small: Count
    large: Count
    tokens: Tokens


class Repetition(Record):
    """What tokens are worth when ``unique_tokens`` have to be read again."""

    unique_tokens: Tokens
    decay_epochs: Factor


class ExpertConstants(Record):
    """What total parameters of a mixture of experts are worth.

    ``exponent`` (kappa) of the saturating sparsity, ``granularity_gain`` (g)
    at ``best_granularity``, and ``tokens_per_parameter`` (mu) below which
    experts starve. ``softness`` rounds the kinks of the granularity bonus.
    """

    exponent: Factor
    granularity_gain: Factor
    best_granularity: Ratio
    tokens_per_parameter: Factor
    max_sparsity: Ratio
    softness: Factor


class ShapeConstants(Record):
    """What depth, width and the balance of layers cost in ln N."""

    aspect_penalty: Factor
    best_aspect: Ratio
    depth_scale: Count
    ffn_penalty: Factor
    best_ffn_ratio: Ratio


class AttentionConstants(Record):
    """What sharing KV heads and dropping attention layers cost."""

    kv_share_price: Nats
    hybrid_price: Nats
    attention_scale: Fraction


class VocabularyConstants(Record):
    """Best number of vocabulary parameters, N_v = best (N / size)^exponent."""

    best_parameters: Count
    best_at_size: Count
    best_exponent: Factor
    price: Nats
    price_at_size: Count
    price_exponent: Factor


class PrecisionConstants(Record):
    """What post-training quantisation costs, in nats of WikiText.

    ``text_factor`` (lambda) converts those into nats of the laws.
    """

    text_factor: Factor
    reference_tokens: Tokens
    reference_bits: Bits
    full_bits: Bits
    weight_price: Nats
    activation_price: Nats
    bits_per_efold: Bits
    token_exponent: Factor
    kv_price: Nats
    kv_bits_per_efold: Bits
    kv_token_exponent: Factor


class TrainedFormat(Record):
    """Loss that 4-bit training adds: k D^gamma_D (log2 G)^gamma_G / N^gamma_N."""

    factor: Factor
    size_exponent: Factor
    token_exponent: Factor
    group_exponent: Factor


class TrainedConstants(Record):
    """What a model pays that was trained in its weight and activation formats.

    ``joint_factor`` is the price of both formats over the sum of either,
    ``scale`` that of a whole recipe over the law's, ``group_size`` the number of
    elements that share a scale.
    """

    weights: TrainedFormat
    activations: TrainedFormat
    joint_factor: Ratio
    scale: Factor
    bits_per_efold: Bits
    group_size: Count


class TextConstants(Record):
    """Tokens per byte of text, a ln^2 V + b ln V + c of the vocabulary V."""

    curvature: Ratio
    slope: Ratio
    offset: Ratio


class SparsityConstants(Record):
    """What zeros cost, in nats of WikiText at half density, pruned after training.

    Prices grow with the share of zeros to the power of their exponent, and with
    training tokens. A model trained with zeros loses ``trained_exponent`` of
    ln(density) in ln N_eff instead.
    """

    weight_price: Nats
    weight_exponent: Factor
    weight_token_exponent: Factor
    trained_exponent: Factor
    activation_price: Nats
    activation_exponent: Factor
    activation_token_exponent: Factor


class ThinkingConstants(Record):
    """How accuracy grows with tokens of thought; see ``outcome/thinking.py``.

    Endless thought closes a share ``headroom`` of what is missing to 1. An answer
    takes ``least`` to ``most`` tokens.
    """

    scale: Tokens
    exponent: Ratio
    headroom: Fraction
    least: Tokens
    most: Tokens


class SpeculationConstants(Record):
    """How far a draft model stays from the model; see ``outcome/speculative.py``.

    ``equal_model_gap`` is the relative entropy between two models of equal loss.
    """

    equal_model_gap: Nats


class Curve(Record):
    """Loss -> benchmark score in [0, 1] by a sigmoid, one entry per law.

    Recipes improve by ``recipe_growth`` in ln of compute a year; scores are of
    a recipe ``recipe_years`` younger than that of the fit.
    """

    floor: Fraction
    ceiling: Fraction
    middle_loss: Nats
    width: Nats
    recipe_growth: Ratio
    recipe_years: Ratio


class Head(Record):
    """A benchmark: laws that have a curve for it, and those curves."""

    laws: Laws
    curve: Curve


class Range(Record):
    """An interval of a pure number in which the evidence for the law lies."""

    low: Ratio
    high: Ratio


class Limits(Record):
    """Validity of the law; outside it a value is an extrapolation."""

    aspect: Range
    layers: Range
    active_parameters: Range
    granularity: Range
    vocabulary: Range
    token_ratio: Range
    sparsity: Ratio
    weight_bits: Bits
    activation_bits: Bits
    kv_bits: Bits
    attention_share: Fraction
    window_size: Tokens
    weight_density: Fraction
    activation_density: Fraction


class QualityConstants(Record):
    """Everything the quality law needs beside the model.

    With ``trained`` weights and activations were trained in their formats,
    without it they are rounded after training.
    """

    laws: Laws
    repetition: Repetition
    experts: ExpertConstants
    shape: ShapeConstants
    attention: AttentionConstants
    vocabulary: VocabularyConstants
    precision: PrecisionConstants
    mmlu: Head
    limits: Limits
    text: TextConstants
    sparsity: SparsityConstants
    thinking: ThinkingConstants
    speculation: SpeculationConstants
    trained: TrainedConstants | None = None
