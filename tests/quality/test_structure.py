"""Attention, hybrids and vocabulary: small prices as measured, none negative."""

import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.models import load_model
from codesign.model.transformer import Transformer
from codesign.quality.capacity import law_size
from codesign.quality.constants import QualityConstants
from codesign.quality.structure import (
    attention_share,
    hybrid_cost,
    kv_share_cost,
    vocabulary_cost,
)


def test_kv_sharing_costs_what_was_measured(
    *, constants: QualityConstants, small: Transformer
):
    """One KV head for 32: between 0.001 and 0.011 per e-fold."""
    multi = small.replace(num_kv_heads=jnp.asarray(32.0))
    single = small.replace(num_kv_heads=jnp.asarray(1.0))
    assert float(kv_share_cost(multi, constants.attention)) == 0.0
    cost = float(kv_share_cost(single, constants.attention))
    assert 0.001 * np.log(32) < cost < 0.011 * np.log(32)


def test_latent_attention_pays_nothing(*, constants: QualityConstants):
    model = load_model("deepseek-v3")
    assert float(kv_share_cost(model, constants.attention)) == 0.0


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("llama-3-70b", 0.5, 0.5),
        ("gpt-oss-20b", 0.25, 0.25),
        ("gemma-3-27b", 0.07, 0.1),
        ("nemotron-nano-9b-v2", 0.06, 0.1),
    ],
)
def test_attention_share_of_published_models(*, name: str, low: float, high: float):
    assert low <= float(attention_share(load_model(name))) <= high


def test_few_attention_layers_are_cheap_and_none_is_not(*, constants: QualityConstants):
    cost = [float(hybrid_cost(a, constants.attention)) for a in (0.0, 0.07, 0.5)]
    assert cost[0] == pytest.approx(0.02, rel=1e-6)
    assert 0.0 < cost[1] < 0.003
    assert 0.0 <= cost[2] < 1e-8


@pytest.mark.parametrize(("size", "best"), [(7e9, 67e3), (70e9, 231e3)])
def test_best_vocabulary_is_the_published_one(
    *, constants: QualityConstants, size: float, best: float
):
    """Optimum of Tao et al. 2024, approach 2, at widths 4096 and 8192."""
    width = 4096.0 if size < 10e9 else 8192.0
    words = np.geomspace(4e3, 4e6, 2001)
    blank = law_size(load_model("llama-3-8b"))
    costs = [
        float(
            vocabulary_cost(
                blank.replace(body=size, active=size, vocabulary=count * width),
                constants.vocabulary,
            )
        )
        for count in words
    ]
    assert min(costs) == pytest.approx(0.0, abs=1e-6)
    assert words[int(np.argmin(costs))] == pytest.approx(best, rel=0.1)
