"""Bytes of text, life with training, thinking to a target."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.models import load_model
from codesign.config.quality import load_quality_constants
from codesign.outcome.lifetime import lifetime_energy
from codesign.outcome.text import energy_per_byte, tokens_per_byte
from codesign.outcome.thinking import Thinking, accuracy, thinking_tokens
from codesign.quality.capacity import law_size
from codesign.quality.laws import dense_excess

MODEL = "llama-3-70b"


def cost(energy: float) -> Any:
    return SimpleNamespace(energy_per_token_server=energy)


@pytest.mark.parametrize(("words", "bytes_per_token"), [(32e3, 3.96), (128e3, 4.36)])
def test_bytes_per_token_are_the_published_ones(words: float, bytes_per_token: float):
    text = load_quality_constants().text
    found = 1.0 / float(tokens_per_byte(words, text))
    assert found == pytest.approx(bytes_per_token, abs=0.04)


def test_a_larger_vocabulary_never_means_more_tokens():
    text = load_quality_constants().text
    found = tokens_per_byte(jnp.geomspace(1e3, 1e7, 60), text)
    assert bool(jnp.all(jnp.diff(found) <= 1e-12))
    assert bool(jnp.all(found > 0.0))


def test_energy_of_a_byte_follows_energy_of_a_token():
    text, model = load_quality_constants().text, load_model(MODEL)
    found = [float(energy_per_byte(cost(e), model, text=text)) for e in (1.0, 2.0)]
    assert found[1] == pytest.approx(2.0 * found[0])
    assert 0.2 < found[0] < 0.26


def test_life_is_training_and_inference():
    model = load_model(MODEL, training_tokens=15e12)
    found = lifetime_energy(
        model, cost(0.5), energy_per_training_flop=2e-12, demand=1e15
    )
    assert float(found.training) == pytest.approx(6 * 69.5e9 * 15e12 * 2e-12, rel=0.01)
    assert float(found.inference) == pytest.approx(5e14)
    assert float(found.total) == pytest.approx(float(found.training) + 5e14)
    assert float(law_size(model).active) == pytest.approx(69.5e9, rel=0.01)


def test_demand_shifts_the_optimum_as_derived():
    """eps_N / eps_D = 1 + D_inf / (3 D) at the least 6 N D + 2 N D_inf.

    Sardana et al., arXiv 2401.00448: eps are elasticities of the reducible loss.
    """
    laws = jax.tree.map(lambda leaf: leaf[0], load_quality_constants().laws)
    target, demand = 0.15, 5e12

    def tokens_for(size: np.ndarray) -> np.ndarray:
        left = target - laws.size_coefficient * size ** -float(laws.size_exponent)
        left = np.where(left > 0, left, np.nan)
        return (left / laws.data_coefficient) ** (-1.0 / laws.data_exponent)

    sizes = np.geomspace(5e9, 5e12, 400001)
    tokens = np.asarray(tokens_for(sizes))
    best = int(np.nanargmin(6 * sizes * tokens + 2 * sizes * demand))
    size, trained = sizes[best], tokens[best]
    whole = dense_excess(laws, log_parameters=np.log(size), tokens=trained)
    part = laws.size_coefficient * size ** -float(laws.size_exponent)
    by_size = laws.size_exponent * part
    by_data = laws.data_exponent * (whole - part)
    expected = 1.0 + demand / (3.0 * trained)
    assert float(by_size / by_data) == pytest.approx(expected, rel=1e-3)


THINKER = Thinking(start=0.4, ceiling=0.8, scale=500.0, exponent=0.5)


def test_thinking_reaches_its_target():
    tokens = thinking_tokens(THINKER, 0.7, most=1e6)
    assert float(accuracy(THINKER, tokens)) == pytest.approx(0.7)
    assert float(thinking_tokens(THINKER, 0.3, most=1e6)) == 0.0


def test_endless_thought_is_out_of_reach():
    """A tiny model cannot buy its way past its ceiling, nor past the cap."""
    assert float(thinking_tokens(THINKER, 0.9, most=1e9)) == np.inf
    assert float(thinking_tokens(THINKER, 0.799, most=32e3)) == np.inf


def test_slopes_of_thinking_are_finite():
    slope = jax.grad(lambda q: thinking_tokens(THINKER, q, most=32e3))
    for target in (0.2, 0.4, 0.6, 0.75):
        assert np.isfinite(float(slope(target)))
