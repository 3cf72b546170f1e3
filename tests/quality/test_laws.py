"""Base laws: published values, the compute equivalent, repetition."""

import jax.numpy as jnp
import numpy as np
import pytest

from codesign.model.huggingface import build_transformer
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import loss
from codesign.quality.laws import (
    compute_gap,
    dense_excess,
    dense_gap,
    effective_tokens,
    weighted_mean,
)

BESIROGLU, HOFFMANN, MUENNIGHOFF, JOINT = range(4)

CHINCHILLA = {
    "hidden_size": 8192,
    "num_layers": 80,
    "num_heads": 64,
    "num_kv_heads": 64,
    "head_size": 128,
    "ffn_size": 32768,
    "num_ffn_matrices": 2,
    "vocab_size": 32000,
    "training_tokens": 1.4e12,
}
"""Shape of Chinchilla-70B, arXiv 2203.15556 (recalled)."""


def dense_loss(constants: QualityConstants, *, size: float, tokens: float):
    laws = constants.laws
    log_size = jnp.log(size)
    excess = dense_excess(laws, log_parameters=log_size, tokens=tokens)
    return laws.irreducible_loss + excess


def test_chinchilla_has_the_loss_of_its_law(*, constants: QualityConstants):
    model = build_transformer(CHINCHILLA)
    levels = loss(model, constants)
    assert 1.93 < float(levels[BESIROGLU]) < 2.00
    assert 1.90 < float(levels[HOFFMANN]) < 1.97


@pytest.mark.parametrize(("law", "expected"), [(BESIROGLU, 1.974), (HOFFMANN, 1.937)])
def test_laws_at_chinchilla(*, constants: QualityConstants, law: int, expected: float):
    level = dense_loss(constants, size=70e9, tokens=1.4e12)[law]
    assert float(level) == pytest.approx(expected, abs=2e-3)


def test_a_neutral_dense_model_reproduces_the_base_law(*, constants: QualityConstants):
    layers, hidden = 80.0, 8000.0
    attention = 4.0 * hidden * hidden
    body = layers * 4.0 * attention + hidden * (2.0 * layers + 1.0)
    best = constants.vocabulary
    vocabulary = best.best_parameters * (body / best.best_at_size) ** best.best_exponent
    shape = {
        "hidden_size": hidden,
        "num_layers": layers,
        "num_heads": 50,
        "num_kv_heads": 50,
        "head_size": 160,
        "ffn_size": 4.0 * hidden,
        "num_ffn_matrices": 3,
        "vocab_size": float(vocabulary) / hidden,
        "training_tokens": 5e12,
    }
    model = build_transformer(shape)
    expected = dense_loss(constants, size=float(body + vocabulary), tokens=5e12)
    np.testing.assert_allclose(loss(model, constants), expected, atol=1e-4)


def test_joint_law_constants_follow_from_its_published_form(
    *, constants: QualityConstants
):
    """One expert in the joint law, arXiv 2502.05172, table 4, within 1 %."""
    start, top = 2.0732, 290.4521
    experts = 1.0 / (1.0 / (1.0 / (1.0 / start - 1.0 / top)) + 1.0 / top)
    size_exponent = 0.1889 - 0.0098 * np.log(experts)
    data_exponent = 0.1775 + 0.0259 * np.log(experts)
    laws = constants.laws
    assert float(laws.size_coefficient[JOINT]) == pytest.approx(
        35.91 * experts**-0.2285, rel=0.01
    )
    assert float(laws.data_coefficient[JOINT]) == pytest.approx(
        35.98 * experts**0.5529, rel=0.01
    )
    assert float(laws.size_exponent[JOINT]) == pytest.approx(size_exponent, rel=0.01)
    assert float(laws.data_exponent[JOINT]) == pytest.approx(data_exponent, rel=0.01)


def test_gap_is_the_compute_of_the_best_dense_models(*, constants: QualityConstants):
    """Against a search over N of the least 6 N D that reaches each loss."""
    laws = constants.laws
    size = np.exp(np.linspace(np.log(1e6), np.log(1e15), 40001))[:, None]
    exponent = np.asarray(laws.size_exponent)

    def least_compute(excess: float) -> np.ndarray:
        left = excess - np.asarray(laws.size_coefficient) * size**-exponent
        ratio = np.asarray(laws.data_coefficient) / np.where(left > 0, left, np.nan)
        tokens = ratio ** (1.0 / np.asarray(laws.data_exponent))
        return np.nanmin(np.log(6.0 * size * tokens), axis=0)

    expected = least_compute(0.12) - least_compute(0.20)
    found = compute_gap(laws, 0.20, reference_excess=0.12)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_laws_agree_on_the_step_from_8b_to_70b(*, constants: QualityConstants):
    gap = dense_gap(constants.laws, small=8e9, large=70e9, tokens=15e12)
    assert float(gap[BESIROGLU]) == pytest.approx(0.092, abs=0.006)
    assert float(gap[JOINT]) == pytest.approx(0.157, abs=0.005)
    scale = [1.0, 1.0, 0.97, 1.7]
    np.testing.assert_allclose(constants.laws.delta_scale, scale, atol=0.02)


def test_weights_are_the_mixture(*, constants: QualityConstants):
    weight = constants.laws.weight
    np.testing.assert_allclose(weight, [0.57, 0.143, 0.143, 0.143], atol=1e-3)
    assert float(weighted_mean(jnp.ones(4), constants.laws)) == pytest.approx(1.0)


def test_unique_tokens_keep_their_worth(*, constants: QualityConstants):
    tokens = jnp.asarray([1e12, 15e12, 30e12])
    np.testing.assert_allclose(effective_tokens(constants.repetition, tokens), tokens)


def test_repeated_tokens_lose_worth_and_are_bounded(*, constants: QualityConstants):
    unique = constants.repetition.unique_tokens
    epochs = jnp.asarray([1.0, 2.0, 4.0, 16.0, 64.0, 1e4])
    worth = effective_tokens(constants.repetition, unique * epochs) / unique
    assert bool(jnp.all(jnp.diff(worth) >= 0))
    assert float(worth[2]) == pytest.approx(4.0, rel=0.1)
    assert float(worth[-1]) < 16.5
