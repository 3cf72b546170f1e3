"""Capacity levers: bounded, with an optimum or a limit, none of them free."""

import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.models import load_model
from codesign.model.huggingface import build_transformer
from codesign.model.transformer import Transformer
from codesign.quality.capacity import (
    Size,
    capacity,
    expert_gain,
    ffn_share_penalty,
    granularity_bonus,
    law_size,
)
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import loss


def size_of(active: float, ratio: float = 1.0) -> Size:
    ones = {"body": active, "mixer": active, "ffn": active, "vocabulary": active}
    return Size(active=active, total=ratio * active, **ones)


@pytest.mark.parametrize(
    ("name", "active", "ratio"),
    [
        ("llama-3-8b", 7.50e9, 1.0),
        ("llama-3-70b", 69.5e9, 1.0),
        ("qwen3-30b-a3b", 3.04e9, 9.94),
        ("deepseek-v3", 36.6e9, 18.3),
    ],
)
def test_size_counts_one_vocabulary_matrix(*, name: str, active: float, ratio: float):
    size = law_size(load_model(name))
    assert float(size.active) == pytest.approx(active, rel=5e-3)
    assert float(size.total / size.active) == pytest.approx(ratio, rel=5e-3)


def test_size_ignores_tying(*, small: Transformer):
    tied = law_size(small.replace(tied_embeddings=jnp.asarray(1.0)))
    assert float(tied.active) == pytest.approx(float(law_size(small).active))


def test_parts_sum_to_the_active_parameters(*, sparse: Transformer):
    size = law_size(sparse)
    assert float(size.mixer + size.ffn) == pytest.approx(float(size.body), rel=1e-3)
    assert float(size.body + size.vocabulary) == pytest.approx(float(size.active))


@pytest.mark.parametrize("granularity", [0.1, 1.0, 11.0, 1e3])
def test_one_expert_is_dense_whatever_its_size(
    *, constants: QualityConstants, small: Transformer, granularity: float
):
    size = jnp.asarray(2.0 * small.hidden_size / granularity)
    changed = small.replace(expert_size=size)
    np.testing.assert_allclose(loss(changed, constants), loss(small, constants))


def test_dense_gains_nothing_from_granularity(*, constants: QualityConstants):
    gains = expert_gain(
        size_of(7e9), constants.experts, log_ratio=jnp.log(11.0), tokens=15e12
    )
    assert float(gains[0]) == 0.0
    assert float(gains[1]) == 0.0


def test_all_experts_active_is_dense(*, constants: QualityConstants):
    """Eight of eight experts of width 1792 are one FFN of width 14336."""
    shape = {
        "hidden_size": 4096,
        "num_layers": 32,
        "num_heads": 32,
        "num_kv_heads": 8,
        "head_size": 128,
        "num_ffn_matrices": 3,
        "vocab_size": 128256,
        "training_tokens": 15e12,
    }
    experts = {"num_experts": 8, "num_active_experts": 8, "expert_size": 1792}
    routed = build_transformer({**shape, **experts, "num_dense_layers": 0})
    dense = build_transformer({**shape, "ffn_size": 14336})
    np.testing.assert_allclose(
        loss(routed, constants), loss(dense, constants), atol=1e-4
    )


def test_experts_gain_with_sparsity_up_to_a_limit(*, constants: QualityConstants):
    def gain(ratio: float) -> float:
        parts = expert_gain(
            size_of(7e9, ratio), constants.experts, log_ratio=0.0, tokens=15e12
        )
        return float(parts[0])

    gains = [gain(ratio) for ratio in (1.0, 2.0, 8.0, 32.0, 128.0, 1e3, 1e9)]
    assert np.all(np.diff(gains) > 0)
    assert gains[-1] < float(constants.experts.exponent) * np.log(129.1)
    assert gains[-1] - gains[-2] < 0.05


def test_experts_without_data_gain_nothing(*, constants: QualityConstants):
    starved = expert_gain(
        size_of(7e9, 10.0),
        constants.experts,
        log_ratio=jnp.log(11.0),
        tokens=0.01 * 7e9,
    )
    fed = expert_gain(
        size_of(7e9, 10.0), constants.experts, log_ratio=jnp.log(11.0), tokens=15e12
    )
    for part, full in zip(starved, fed, strict=True):
        assert float(part) < 0.002 * float(full)


def test_granularity_has_an_optimum_at_eleven(*, constants: QualityConstants):
    ratio = jnp.exp(jnp.linspace(-3.0, 9.0, 4001))
    bonus = granularity_bonus(jnp.log(ratio), constants.experts)
    assert float(ratio[jnp.argmax(bonus)]) == pytest.approx(11.0, rel=0.02)
    assert float(jnp.max(bonus)) == pytest.approx(1.0, abs=0.01)
    assert float(bonus[0]) == pytest.approx(0.0, abs=0.01)
    assert float(jnp.min(bonus)) >= -1.0


def test_shared_experts_count_as_active(*, sparse: Transformer):
    shared = sparse.replace(shared_size=jnp.asarray(768.0))
    added = 48 * 3 * 2048 * 768
    assert float(law_size(shared).active - law_size(sparse).active) == pytest.approx(
        added
    )


def kaplan(layers: int, width: int) -> Transformer:
    shape = {
        "hidden_size": width,
        "num_layers": layers,
        "num_heads": width / 64,
        "num_kv_heads": width / 64,
        "head_size": 64,
        "ffn_size": 4 * width,
        "num_ffn_matrices": 2,
        "vocab_size": 50257,
        "training_tokens": 22e9,
    }
    return build_transformer(shape)


def test_wide_shallow_model_of_kaplan_is_three_percent_worse(
    *, constants: QualityConstants
):
    """(6, 4288) within 3 % of (48, 1600), arXiv 2001.08361, figure 5."""
    wide, deep = (loss(kaplan(*shape), constants) for shape in ((6, 4288), (48, 1600)))
    assert 1.02 < float(wide[0] / deep[0]) < 1.04


def test_shape_terms_vanish_at_the_best_shape(*, constants: QualityConstants):
    shape = {
        "hidden_size": 8000,
        "num_layers": 80,
        "num_heads": 50,
        "num_kv_heads": 50,
        "head_size": 160,
        "ffn_size": 32000,
        "num_ffn_matrices": 3,
        "vocab_size": 128000,
        "training_tokens": 15e12,
    }
    model = build_transformer(shape)
    terms = capacity(model, constants, size=law_size(model))
    for value in (terms.aspect, terms.depth, terms.ffn_share):
        assert float(value) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(("mixer", "ffn"), [(0.0, 1e9), (1e9, 0.0)])
def test_missing_half_of_a_layer_is_a_finite_cost(
    *, constants: QualityConstants, mixer: float, ffn: float
):
    size = size_of(1e9).replace(mixer=mixer, ffn=ffn)
    penalty = float(ffn_share_penalty(size, shape=constants.shape))
    assert np.isfinite(penalty)
    assert penalty < -3.0
