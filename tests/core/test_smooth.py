import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.core.smooth import (
    round_up,
    safe_ratio,
    saturate,
    smooth_ceil,
    smooth_max,
    smooth_min,
)

VALUES = st.lists(st.floats(min_value=1e-12, max_value=1e12), min_size=1, max_size=5)
SHARPNESS = st.sampled_from([64.0, 256.0, 511.5, 4096.0])


@given(VALUES, SHARPNESS)
def test_smooth_max_lies_above_the_hard_one_by_its_bound(
    values: list[float], sharpness: float
):
    smooth, hard = float(smooth_max(*values, sharpness=sharpness)), max(values)
    assert hard * (1 - 1e-12) <= smooth
    assert smooth <= hard * len(values) ** (1 / sharpness) * (1 + 1e-12)


@given(VALUES, SHARPNESS)
def test_smooth_min_lies_below_the_hard_one_by_its_bound(
    values: list[float], sharpness: float
):
    smooth, hard = float(smooth_min(*values, sharpness=sharpness)), min(values)
    assert smooth <= hard * (1 + 1e-12)
    assert smooth >= hard * len(values) ** (-1 / sharpness) * (1 - 1e-12)


@given(VALUES)
def test_hard_max_and_min_are_exact(values: list[float]):
    assert float(smooth_max(*values, sharpness=None)) == max(values)
    assert float(smooth_min(*values, sharpness=None)) == pytest.approx(min(values))


@given(VALUES, st.floats(min_value=1e-6, max_value=1e6))
def test_smooth_max_scales_with_its_values(values: list[float], factor: float):
    plain = smooth_max(*values, sharpness=256.0)
    scaled = smooth_max(*(factor * v for v in values), sharpness=256.0)
    assert float(scaled) == pytest.approx(factor * float(plain))


def test_smooth_max_of_nothing_is_nothing_with_a_finite_slope():
    assert float(smooth_max(0.0, 0.0, sharpness=256.0)) == 0.0
    slope = jax.grad(lambda x: smooth_max(x, 0.0, sharpness=256.0))(0.0)
    assert np.isfinite(slope)


def test_slope_of_the_smooth_max_is_shared_at_a_tie():
    slope = jax.grad(lambda x: smooth_max(x, 3.0, sharpness=256.0))(3.0)
    assert float(slope) == pytest.approx(0.5 * 2 ** (1 / 256), rel=1e-9)


@given(st.floats(min_value=0.0, max_value=1e4), SHARPNESS)
def test_smooth_ceil_lies_between_the_value_and_the_hard_ceil(
    value: float, sharpness: float
):
    smooth = float(smooth_ceil(value, sharpness=sharpness))
    hard = float(smooth_ceil(value, sharpness=None))
    norm = 2 ** (1 / sharpness)
    assert max(1.0, value) * (1 - 1e-12) <= smooth <= hard * norm + 1e-6


@pytest.mark.parametrize("value", [1.0, 2.0, 17.0, 4096.0])
def test_ceil_is_exact_at_integers(value: float):
    """But for the p-norm with one, which ties there."""
    assert float(smooth_ceil(value, sharpness=None)) == value
    for sharpness in (256.0, 4096.0):
        expected = value * 2 ** (1 / sharpness) if value == 1.0 else value
        smooth = float(smooth_ceil(value, sharpness=sharpness))
        assert smooth == pytest.approx(expected, rel=1e-12)


def test_ceil_is_at_least_one():
    for value in (0.0, 1e-6, 0.3):
        assert float(smooth_ceil(value, sharpness=None)) == 1.0
        assert float(smooth_ceil(value, sharpness=256.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("value", [1.04, 2.5, 7.9])
def test_smooth_ceil_tends_to_the_hard_one(value: float):
    gaps = [
        np.ceil(value) - float(smooth_ceil(value, sharpness=2.0**power))
        for power in (8, 16, 32, 64, 96)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3


def test_smooth_ceil_rises_everywhere():
    points = np.linspace(0.5, 5.5, 501)
    slopes = jax.vmap(jax.grad(lambda x: smooth_ceil(x, sharpness=256.0)))(points)
    assert (slopes[points > 1.0] > 0).all()
    values = smooth_ceil(points, sharpness=256.0)
    assert (jnp.diff(values) >= 0).all()


def test_rounding_up_to_a_multiple():
    assert float(round_up(65.0, multiple=64.0, sharpness=None)) == 128.0
    assert float(round_up(64.0, multiple=64.0, sharpness=None)) == 64.0
    assert float(round_up(0.0, multiple=64.0, sharpness=None)) == 64.0


def test_rounding_up_ignores_the_last_bits_of_a_quotient():
    assert float(round_up(64.0 * (1 + 1e-12), multiple=64.0, sharpness=None)) == 64.0


def test_saturate_is_exact_at_both_ends():
    assert saturate(jnp.array([-1.0, 0.0, 0.25, 1.0, 3.0])).tolist() == [
        0.0,
        0.0,
        0.25,
        1.0,
        1.0,
    ]


def test_safe_ratio_guards_zero_and_its_slope():
    assert float(safe_ratio(3.0, 0.0)) == 0.0
    assert float(safe_ratio(3.0, 0.0, empty=7.0)) == 7.0
    assert float(safe_ratio(3.0, 2.0)) == 1.5
    slope = jax.grad(lambda d: safe_ratio(3.0, d))(0.0)
    assert float(slope) == 0.0
