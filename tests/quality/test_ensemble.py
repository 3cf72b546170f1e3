"""Draws of the constants: published spread, paired gaps, quantiles, terms."""

import csv
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.catalogue import presets_directory
from codesign.config.quality import load_quality_draws, load_quality_spread
from codesign.core.errors import InputError
from codesign.model.transformer import Transformer
from codesign.quality.constants import LawSpread, QualityConstants
from codesign.quality.contributions import (
    EVIDENCE,
    Contributions,
    gap_contributions,
    log_mean,
    loss_contributions,
)
from codesign.quality.ensemble import (
    NUM_DRAWS,
    SEARCH_DRAWS,
    Draws,
    Paired,
    Reference,
    band,
    paired,
    quantile,
    reference_under,
    robust_deviation,
    smooth_quantile,
    uniform_points,
)
from codesign.quality.evaluate import quality
from tests.helpers import central_difference, tree_finite
from tests.quality.models import corners, preset

LAW = (
    "irreducible_loss",
    "size_coefficient",
    "size_exponent",
    "data_coefficient",
    "data_exponent",
)


@pytest.fixture(scope="module")
def draws() -> Draws:
    return load_quality_draws(count=NUM_DRAWS)


@pytest.fixture(scope="module")
def under(draws: Draws, reference: Transformer) -> Reference:
    return reference_under(draws, reference)


@jax.jit
def gaps(model: Transformer, reference: Reference) -> Paired:
    return paired(model, reference)


def test_every_axis_is_filled_evenly():
    points = np.sort(uniform_points(16, 22), axis=0)
    expected = np.tile((np.arange(16)[:, None] + 0.5) / 16, (1, 22))
    np.testing.assert_allclose(points, expected)


def test_draws_are_the_same_every_time(draws: Draws):
    again = load_quality_draws(count=NUM_DRAWS)
    equal = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), draws, again)
    assert all(jax.tree.leaves(equal))


def test_laws_occur_as_often_as_they_weigh(draws: Draws, constants: QualityConstants):
    levels = np.asarray(draws.constants.laws.irreducible_loss[:, 0])
    for law in (1, 2, 3):
        share = np.mean(levels == float(constants.laws.irreducible_loss[law]))
        assert share == pytest.approx(float(constants.laws.weight[law]), abs=0.01)


def test_draws_have_the_spread_of_the_file(draws: Draws, constants: QualityConstants):
    spread = load_quality_spread()
    assert len(spread.paths) > 12
    for path, deviation, log in zip(
        spread.paths, spread.deviations, spread.lognormal, strict=True
    ):
        section, name = path.split(".")
        if section == "trained":
            continue
        values = np.asarray(getattr(getattr(draws.constants, section), name))
        middle = float(getattr(getattr(constants, section), name))
        values = np.log(values) if log else values
        assert np.std(values) == pytest.approx(deviation, rel=0.03), path
        expected = np.log(middle) if log else middle
        assert np.mean(values) == pytest.approx(expected, abs=0.03 * deviation), path


def test_first_law_spreads_as_in_its_bootstrap(
    *, shared_data: Path, draws: Draws, constants: QualityConstants
):
    """Deviations and correlations of 256 refits, at the pivots."""
    path = shared_data / "quality_law_ensemble.csv"
    if not path.is_file():
        pytest.skip("bootstrap fits absent: no quality_law_ensemble.csv")
    with path.open(encoding="utf-8") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    law = load_quality_spread().law
    fits = {k: np.asarray([row[k] for row in rows]) for k in rows[0]}
    fitted = pivoted([fits[k] for k in ("E", "A", "alpha", "B", "beta")], law=law)
    laws = jax.tree.map(lambda leaf: np.asarray(leaf)[:, 0], draws.constants.laws)
    others = np.asarray(constants.laws.irreducible_loss)[1:]
    own = ~np.isin(laws.irreducible_loss, others)
    drawn = pivoted([getattr(laws, name)[own] for name in LAW], law=law)
    np.testing.assert_allclose(np.std(drawn, axis=1), np.std(fitted, axis=1), rtol=0.15)
    np.testing.assert_allclose(np.corrcoef(drawn), np.corrcoef(fitted), atol=0.17)
    raw = np.corrcoef(np.log(laws.size_coefficient[own]), laws.size_exponent[own])
    assert raw[0, 1] > 0.998


def pivoted(values: list[np.ndarray], *, law: LawSpread) -> np.ndarray:
    """Level, size term, its exponent, data term, its exponent."""
    level, size, alpha, data, beta = values
    terms = np.log(size) - alpha * np.log(float(law.size_pivot))
    rest = np.log(data) - beta * np.log(float(law.data_pivot))
    return np.stack([level, terms, alpha, rest, beta])


@pytest.mark.parametrize(
    ("name", "values", "nats", "low", "high", "chance"),
    [
        ("llama-3-8b", {}, 0.096, 0.080, 0.153, 0.0),
        ("llama-3-70b", {"weight_bits": 4, "scale_bits": 0.16}, 0.018, 0.005, 0.048, 0),
        ("llama-3-70b", {"weight_bits": 5, "kv_bits": 4}, 0.007, 0.002, 0.017, 0.0),
        ("qwen3-30b-a3b", {}, 0.090, 0.062, 0.149, 0.0),
        ("qwen3-235b-a22b", {}, 0.007, -0.007, 0.021, 0.21),
        ("deepseek-v3", {}, -0.036, -0.071, -0.017, 1.0),
        ("llama-3.1-405b", {}, -0.040, -0.085, -0.027, 1.0),
    ],
)
def test_bands_of_published_models(
    *,
    under: Reference,
    name: str,
    values: dict[str, float],
    nats: float,
    low: float,
    high: float,
    chance: float,
):
    """Against 400 independent draws, whose 95 % ends are known to 0.02.

    16384 give 0.163 for Qwen3-30B-A3B where 400 gave 0.149.
    """
    found = band(gaps(preset(name, **values), under), extrapolated=False)
    assert float(found.gap_nats.mean) == pytest.approx(nats, abs=0.011)
    assert float(found.gap_nats.low) == pytest.approx(low, abs=0.011)
    assert float(found.gap_nats.high) == pytest.approx(high, abs=0.02)
    assert float(found.no_worse) == pytest.approx(chance, abs=0.06)


def test_reference_has_no_gap_in_any_draw(under: Reference, *, reference: Transformer):
    found = gaps(reference, under)
    np.testing.assert_allclose(found.gap, 0.0, atol=1e-12)
    assert float(quantile(jnp.asarray(found.gap), 0.9)) == pytest.approx(0.0, abs=1e-12)


def test_pairing_halves_the_spread(
    *, draws: Draws, small: Transformer, reference: Transformer
):
    """Levels of both models against the gap between them, first law only."""
    laws = draws.constants.laws
    level = np.asarray(laws.irreducible_loss[:, 0])
    own = np.asarray([np.sum(level == value) == 1 for value in level])
    under = reference_under(draws, reference)
    ours, theirs = gaps(small, under), gaps(reference, under)
    spread = np.std(np.asarray(ours.gap_nats)[own])
    for found in (ours, theirs):
        assert spread < 0.5 * np.std(np.asarray(found.loss)[own])


def test_mean_of_draws_lies_near_mean_constants(
    *, under: Reference, constants: QualityConstants, reference: Transformer
):
    for name in ("llama-3-8b", "qwen3-235b-a22b", "deepseek-v3"):
        model = preset(name)
        single = quality(model, reference=reference, constants=constants).gap
        drawn = float(np.mean(np.asarray(gaps(model, under).gap)))
        assert drawn == pytest.approx(float(single), abs=0.12)


def test_extrapolation_doubles_the_band(*, under: Reference, small: Transformer):
    found = gaps(small, under)
    inside, outside = (band(found, extrapolated=flag) for flag in (False, True))
    width = float(inside.gap.high - inside.gap.low)
    assert float(outside.gap.high - outside.gap.low) == pytest.approx(2.0 * width)
    assert float(outside.gap.mean) == pytest.approx(float(inside.gap.mean))


def test_quantile_counts_draws():
    values = jnp.asarray([0.4, -1.0, -0.5, -0.2, 0.1])
    assert float(quantile(values, 0.6)) == -0.2
    assert float(quantile(values, 0.61)) == 0.1
    assert float(quantile(values, 0.99)) == 0.4


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_smooth_quantile_approaches_the_exact_one(level: float):
    values = jnp.asarray(np.random.default_rng(0).normal(size=4096))
    exact = float(quantile(values, level))
    assert float(smooth_quantile(values, level)) == pytest.approx(exact, abs=0.02)


def test_slope_of_the_quantile_is_continuous_between_ties():
    base = jnp.asarray(np.random.default_rng(0).normal(size=16))
    slopes = jnp.asarray(np.random.default_rng(1).normal(size=16))

    def moved(step: jax.Array) -> jax.Array:
        return smooth_quantile(base + step[0] * slopes, 0.8)

    at = jnp.asarray([0.0])
    np.testing.assert_allclose(
        jax.grad(moved)(at), central_difference(moved, at), rtol=1e-6
    )


def test_slope_of_the_quantile_is_continuous_at_a_tie():
    """The 14th and 15th of 16 values change places; a sorted mean has a kink there."""
    base, slopes = jnp.arange(16.0).at[14].set(13.0), jnp.zeros(16).at[14].set(1.0)

    def slope(step: float) -> float:
        return float(jax.grad(lambda t: smooth_quantile(base + t * slopes, 0.8))(step))

    assert slope(-1e-4) == pytest.approx(slope(1e-4), rel=1e-2)
    assert 0.05 < slope(0.0) < 0.5


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_a_worse_draw_does_not_lower_the_quantile(level: float):
    """A tenth of a step is what the width of the draws may take back."""
    values = jnp.asarray(np.random.default_rng(0).normal(size=(200, 16)))
    slopes = jax.vmap(jax.grad(lambda each: smooth_quantile(each, level)))(values)
    assert float(slopes.min()) > -0.1
    np.testing.assert_allclose(slopes.sum(axis=1), 1.0)


@pytest.mark.parametrize("far", [-10.0, -100.0, -1000.0])
def test_a_far_draw_that_does_no_harm_hardly_counts(far: float):
    values = jnp.append(jnp.linspace(-1.0, 1.0, 15), far)
    exact = float(quantile(values, 0.9))
    assert float(smooth_quantile(values, 0.9)) == pytest.approx(exact, abs=1.0)
    assert float(robust_deviation(values)) < 4.0


def test_deviation_of_normal_values():
    """Weights of a Student's t take 3 to 15 % off that of normal ones."""
    values = jnp.asarray(np.random.default_rng(0).normal(size=4096))
    assert 0.7 < float(robust_deviation(values)) < 1.0
    shifted = robust_deviation(5.0 - 3.0 * values)
    assert float(shifted) == pytest.approx(3.0 * float(robust_deviation(values)))


def test_equal_values_have_a_quantile_and_a_slope():
    def moved(step: float) -> jax.Array:
        return smooth_quantile(jnp.full(16, 2.0) + step, 0.9)

    assert float(moved(0.0)) == pytest.approx(2.0)
    assert float(jax.grad(moved)(0.0)) == pytest.approx(1.0)


DESIGNS: dict[str, tuple[str, dict[str, float]]] = {
    "4-bit weights": ("llama-3-70b", {"weight_bits": 4, "scale_bits": 0.16}),
    "4-bit KV": ("llama-3-70b", {"weight_bits": 5, "kv_bits": 4}),
    "8 bit": ("llama-3-70b", {"weight_bits": 8, "activation_bits": 8}),
    "one KV head": ("llama-3-70b", {"num_kv_heads": 1}),
    "small": ("llama-3-8b", {}),
    "sparse": ("qwen3-30b-a3b", {}),
    "sparse and level": ("qwen3-235b-a22b", {"weight_bits": 8}),
    "sparse and narrow": ("deepseek-v3", {"weight_bits": 4, "kv_bits": 8}),
    "large and narrow": ("llama-3.1-405b", {"weight_bits": 4, "scale_bits": 0.16}),
    "deep": ("llama-3-70b", {"num_layers": 140, "num_ffn_layers": 140}),
}


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_few_draws_of_the_search_stand_for_all(
    *, under: Reference, reference: Transformer, level: float
):
    """Smooth quantile over 16 draws against the exact one over 256."""
    few = reference_under(load_quality_draws(count=SEARCH_DRAWS), reference)
    for title, (name, values) in DESIGNS.items():
        model = preset(name, **values)
        every = jnp.asarray(gaps(model, under).gap)
        fast = float(smooth_quantile(jnp.asarray(gaps(model, few).gap), level))
        exact = float(quantile(every, level))
        assert abs(fast - exact) < 0.55 * float(jnp.std(every)), title


@pytest.mark.parametrize("name", ["llama-3-8b", "deepseek-v3", "nemotron-nano-9b-v2"])
def test_terms_add_up_to_the_gap(
    *, constants: QualityConstants, reference: Transformer, name: str
):
    model = preset(name, weight_bits=4, kv_bits=4, training_tokens=20e12)
    found = quality(model, reference=reference, constants=constants)
    parts = gap_contributions(model, reference, constants=constants)
    nats = loss_contributions(model, reference, constants=constants)
    assert sum(map(float, jax.tree.leaves(parts))) == pytest.approx(float(found.gap))
    total = sum(map(float, jax.tree.leaves(nats)))
    assert total == pytest.approx(float(found.gap_nats))


def test_terms_of_the_reference_are_zero(
    *, constants: QualityConstants, reference: Transformer
):
    parts = gap_contributions(reference, reference, constants=constants)
    assert all(float(part) == 0.0 for part in jax.tree.leaves(parts))


def test_every_term_has_a_class_of_evidence():
    assert set(EVIDENCE) == set(Contributions.__dataclass_fields__)


def test_log_mean_lies_between():
    assert 1.0 < float(log_mean(1.0, 4.0)) < 4.0
    assert float(log_mean(3.0, 3.0 * (1 + 1e-12))) == pytest.approx(3.0)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_gradients_are_finite_at_every_corner(
    *, under: Reference, reference: Transformer, dtype: type
):
    def cast(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)

    @jax.jit
    def slopes(model: Transformer, under: Reference) -> Any:
        def upper(point: Transformer) -> jax.Array:
            found = paired(point, under)
            return quantile(found.gap, 0.9) + quantile(found.mmlu, 0.1)

        return jax.value_and_grad(upper)(model)

    for name, model in corners(reference).items():
        assert tree_finite(slopes(cast(model), cast(under))), name


def test_models_batch_over_the_draws(*, under: Reference, small: Transformer):
    sizes = jnp.asarray([0.9, 1.0, 1.1]) * small.ffn_size
    batch = jax.vmap(lambda size: paired(small.replace(ffn_size=size), under).gap)
    assert batch(sizes).shape == (3, NUM_DRAWS)
    np.testing.assert_allclose(batch(sizes)[1], gaps(small, under).gap, rtol=1e-9)


def test_a_spread_without_its_kind_is_an_error(tmp_path: Path):
    file = presets_directory() / "quality" / "constants.yaml"
    text = file.read_text(encoding="utf-8")
    path = tmp_path / "constants.yaml"
    path.write_text(text.replace("note: normal", "note: uniform"), encoding="utf-8")
    with pytest.raises(InputError, match="normal or lognormal"):
        load_quality_spread(path)
