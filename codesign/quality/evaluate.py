"""How good is a model, compared with a reference of the same recipe?

Transformer, reference and constants -> gap in compute-equivalents and nats,
with the contribution of each design choice and the validity of the answer.
"""

import numpy as np
from jax import Array

from codesign.core.errors import InputError
from codesign.core.quantities import Fraction, Ratio, Tokens
from codesign.core.record import Record
from codesign.model.transformer import Transformer
from codesign.quality.capacity import (
    Capacity,
    Size,
    capacity,
    law_size,
    log_effective_parameters,
)
from codesign.quality.constants import Laws, Nats, QualityConstants
from codesign.quality.downstream import head_score
from codesign.quality.laws import (
    compute_gap,
    dense_excess,
    effective_tokens,
    weighted_mean,
)
from codesign.quality.precision import Precision, precision, trained_precision
from codesign.quality.structure import structure
from codesign.quality.validity import Validity, validity
from codesign.quality.zeros import zeros_cost


class Terms(Record):
    """What each design choice does: surcharges in nats, ``capacity`` in ln N_eff.

    Surcharges are means over the laws and part of ``Quality.loss``.
    """

    kv_share: Nats
    hybrid: Nats
    vocabulary: Nats
    precision_weights: Nats
    precision_activations: Nats
    precision_kv: Nats
    sparse_weights: Nats
    sparse_activations: Nats
    capacity: Capacity


class Quality(Record):
    """Quality of a model relative to a reference; positive gaps are worse.

    ``gap`` is -dlnC, the mean over the laws of ``compute_gap_by_law``: the
    reference could be trained with exp(-gap) of its compute and be as good.
    ``gap_nats`` and ``loss`` are means over the laws too. ``mmlu`` is for
    display. Every leaf of ``validity`` is <= 0 where the law has evidence.
    """

    gap: Ratio
    gap_nats: Nats
    loss: Nats
    compute_gap_by_law: Ratio
    loss_by_law: Nats
    terms: Terms
    mmlu: Fraction
    validity: Validity


class State(Record):
    """The model as the laws see it; surcharges in nats of the first law."""

    size: Size
    terms: Terms
    log_parameters: Ratio
    tokens: Tokens
    surcharge: Nats


def law_state(model: Transformer, constants: QualityConstants) -> State:
    """N_eff, D_eff and surcharges of a model."""
    size = law_size(model)
    gains = capacity(model, constants, size=size)
    formats = formats_cost(model, constants, size=size)
    zeros = zeros_cost(model, constants)
    parts = structure(
        model, constants.attention, vocabulary=constants.vocabulary, size=size
    )
    terms = Terms(
        kv_share=parts.kv_share,
        hybrid=parts.hybrid,
        vocabulary=parts.vocabulary,
        precision_weights=formats.weights,
        precision_activations=formats.activations,
        precision_kv=formats.kv,
        sparse_weights=zeros.weights,
        sparse_activations=zeros.activations,
        capacity=gains,
    )
    structural = parts.kv_share + parts.hybrid + parts.vocabulary
    pruned = zeros.weights + zeros.activations
    return State(
        size=size,
        terms=terms,
        log_parameters=log_effective_parameters(size, gains),
        tokens=effective_tokens(constants.repetition, model.training_tokens),
        surcharge=structural
        + formats.weights
        + formats.activations
        + formats.kv
        + pruned,
    )


def formats_cost(
    model: Transformer, constants: QualityConstants, *, size: Size
) -> Precision:
    """Nats of the formats, rounded after training or trained in."""
    rounding, trained = constants.precision, constants.trained
    if trained is None:
        return precision(model, rounding, size=size)
    return trained_precision(model, trained, rounding=rounding, size=size)


def reducible_loss(state: State, laws: Laws) -> Array:
    """L - E per law: dense law at N_eff, D_eff plus the scaled surcharges."""
    dense = dense_excess(laws, log_parameters=state.log_parameters, tokens=state.tokens)
    return dense + laws.delta_scale * state.surcharge


def loss(model: Transformer, constants: QualityConstants) -> Array:
    """Pre-training loss of a model in nats per token, one entry per law.

    L = E + A N_eff^-alpha + B D_eff^-beta + s (kv_share + hybrid + vocabulary
    + precision + zeros), s = ``delta_scale`` of the law.

    Assumes: independent effects; only differences between models of one
    recipe are meaningful, and levels differ between laws by 0.2 nats.
    Source: docs/theory/quality.md.
    """
    laws = constants.laws
    return laws.irreducible_loss + reducible_loss(law_state(model, constants), laws)


def scale_surcharges(terms: Terms, laws: Laws) -> Terms:
    """Surcharges in mean nats of the laws instead of nats of the first one."""
    mean_scale = weighted_mean(laws.delta_scale, laws)
    return terms.replace(
        kv_share=mean_scale * terms.kv_share,
        hybrid=mean_scale * terms.hybrid,
        vocabulary=mean_scale * terms.vocabulary,
        precision_weights=mean_scale * terms.precision_weights,
        precision_activations=mean_scale * terms.precision_activations,
        precision_kv=mean_scale * terms.precision_kv,
        sparse_weights=mean_scale * terms.sparse_weights,
        sparse_activations=mean_scale * terms.sparse_activations,
    )


def quality(
    model: Transformer,
    *,
    reference: Transformer,
    constants: QualityConstants,
    reference_constants: QualityConstants | None = None,
) -> Quality:
    """Quality of a model relative to a reference under the same constants.

    gap = sum_k w_k (1/alpha_k + 1/beta_k) ln(l_k / l_ref,k), l = L - E

    ``reference_constants`` say how the reference got its formats where that is
    by another recipe; the laws are those of ``constants``.

    Pure: ``jit``, ``vmap`` over models or constants and ``grad`` work.

    Assumes: both models are trained by one recipe on ``training_tokens`` > 0
    (``check_training_tokens``). The gap does not rank models of different years.
    Source: docs/theory/quality.md.
    """
    laws = constants.laws
    state = law_state(model, constants)
    excess = reducible_loss(state, laws)
    theirs = constants if reference_constants is None else reference_constants
    reference_excess = reducible_loss(law_state(reference, theirs), laws)
    gaps = compute_gap(laws, excess, reference_excess=reference_excess)
    levels = laws.irreducible_loss + excess
    return Quality(
        gap=weighted_mean(gaps, laws),
        gap_nats=weighted_mean(excess - reference_excess, laws),
        loss=weighted_mean(levels, laws),
        compute_gap_by_law=gaps,
        loss_by_law=levels,
        terms=scale_surcharges(state.terms, laws),
        mmlu=_score(state, constants),
        validity=validity(model, constants, reference=reference, size=state.size),
    )


def benchmark_score(model: Transformer, constants: QualityConstants) -> Array:
    """Benchmark score in [0, 1] of a model, as in ``Quality.mmlu``."""
    return _score(law_state(model, constants), constants)


def _score(state: State, constants: QualityConstants) -> Array:
    return head_score(
        constants.mmlu,
        log_parameters=state.log_parameters,
        tokens=state.tokens,
        surcharge=state.surcharge,
    )


def check_training_tokens(model: Transformer) -> None:
    """Raise unless the model says on how many tokens it was trained."""
    tokens = np.asarray(model.training_tokens)
    if not np.all(np.isfinite(tokens) & (tokens > 0)):
        msg = (
            f"model.training_tokens: {tokens} token. The quality law needs a "
            "positive number, such as '15e12 token'; set it in the model's file."
        )
        raise InputError(msg)
