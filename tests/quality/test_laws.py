"""Base laws: published values, the compute equivalent, repetition."""

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

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
HUBER = 1e-3

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


def published_runs(shared_data: Path) -> np.ndarray:
    path = shared_data / "quality_chinchilla_points.csv"
    if not path.is_file():
        pytest.skip("training runs absent: no quality_chinchilla_points.csv")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ("params", "tokens", "loss")
    return np.asarray([[float(row[name]) for name in names] for row in rows])


def test_first_law_is_the_fit_of_the_published_runs(
    *, constants: QualityConstants, shared_data: Path
):
    """Huber fit of ln L to 240 of 245 runs, as in arXiv 2404.10102."""
    runs = np.log(published_runs(shared_data))
    runs = runs[np.argsort(runs[:, 2])][:-5]
    size, tokens, level = runs.T

    def objective(law: jax.Array) -> jax.Array:
        parts = jnp.stack(
            [
                law[0] - law[1] * size,
                law[2] - law[3] * tokens,
                jnp.broadcast_to(law[4], size.shape),
            ]
        )
        error = jnp.abs(jax.nn.logsumexp(parts, axis=0) - level)
        inside = error < HUBER
        huber = jnp.where(inside, 0.5 * error**2, HUBER * (error - 0.5 * HUBER))
        return jnp.sum(huber)

    laws = constants.laws
    start = np.asarray(
        [
            np.log(laws.size_coefficient[BESIROGLU]),
            laws.size_exponent[BESIROGLU],
            np.log(laws.data_coefficient[BESIROGLU]),
            laws.data_exponent[BESIROGLU],
            np.log(laws.irreducible_loss[BESIROGLU]),
        ]
    )
    slope = jax.jit(jax.value_and_grad(objective))
    found = minimize(
        lambda x: tuple(np.asarray(part) for part in slope(x)),
        start + 0.01,
        jac=True,
        method="BFGS",
        options={"gtol": 1e-9},
    ).x
    np.testing.assert_allclose(found[[1, 3]], start[[1, 3]], rtol=0.02)
    np.testing.assert_allclose(found[[0, 2]], start[[0, 2]], rtol=0.01)
    assert np.exp(found[4]) == pytest.approx(np.exp(start[4]), rel=0.01)


def test_granularity_optimum_is_that_of_the_efficiency_leverage_law(
    *, constants: QualityConstants
):
    """arXiv 2507.17702: more than 7 times at 3.1 % active, G 12, 1e22 FLOP."""

    def log_leverage(granularity: np.ndarray | float) -> np.ndarray:
        fine = np.log2(granularity)
        power = 1.23 - 0.0761 * np.log10(1e22) + 0.0167 * fine**2 - 0.117 * fine
        return np.asarray(power * np.log(0.031 + 0.0163))

    assert float(np.exp(log_leverage(12.0))) == pytest.approx(7.2, abs=0.1)
    grid = np.geomspace(1.0, 64.0, 2001)
    best = float(grid[np.argmax(log_leverage(grid))])
    assert best == pytest.approx(float(constants.experts.best_granularity), rel=0.05)
