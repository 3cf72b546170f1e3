import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.core.solve import rising_root


@pytest.mark.parametrize("target", [1e-3, 0.5, 7.0])
def test_root_of_a_cube(target: float):
    root = rising_root(lambda x: x**3 - target, low=0.0, high=10.0)
    assert float(root) == pytest.approx(target ** (1 / 3), rel=1e-9)


@pytest.mark.parametrize("target", [1e-3, 0.5, 7.0])
def test_root_moves_by_the_implicit_function_theorem(target: float):
    def root(t: float) -> jax.Array:
        return rising_root(lambda x: x**3 - t, low=0.0, high=10.0)

    expected = target ** (-2 / 3) / 3
    assert float(jax.grad(root)(target)) == pytest.approx(expected, rel=1e-9)
    assert float(jax.jacfwd(root)(target)) == pytest.approx(expected, rel=1e-9)


def test_second_derivative_is_not_promised_but_finite():
    def root(t: float) -> jax.Array:
        return rising_root(lambda x: x**3 - t, low=0.0, high=10.0)

    assert np.isfinite(float(jax.grad(jax.grad(root))(0.5)))


def test_residual_that_stays_below_zero_gives_the_upper_end_and_its_slope():
    def root(high: float) -> jax.Array:
        return rising_root(lambda x: x - 5.0, low=0.0, high=high)

    assert float(root(2.0)) == 2.0
    assert float(jax.grad(root)(2.0)) == 1.0


def test_residual_that_stays_above_zero_gives_the_lower_end():
    def root(low: float) -> jax.Array:
        return rising_root(lambda x: x + 5.0, low=low, high=3.0)

    assert float(root(1.0)) == pytest.approx(1.0, abs=1e-12)
    assert float(jax.grad(root)(1.0)) == pytest.approx(1.0)


def test_lower_end_moves_the_lower_end_only_where_it_is_the_answer():
    slope = jax.grad(lambda low: rising_root(lambda x: x - 2.0, low=low, high=3.0))(1.0)
    assert float(slope) == pytest.approx(0.0, abs=1e-12)


def test_elements_are_solved_independently():
    targets = jnp.array([0.5, 2.0, 50.0])
    roots = rising_root(
        lambda x: x**2 - targets, low=0.0, high=jnp.array([3.0, 3.0, 4.0])
    )
    np.testing.assert_allclose(roots, [np.sqrt(0.5), np.sqrt(2.0), 4.0], rtol=1e-9)


def test_batch_equals_loop():
    def root(t: jax.Array) -> jax.Array:
        return rising_root(lambda x: jnp.exp(x) - t, low=-5.0, high=5.0)

    targets = jnp.array([0.1, 1.0, 20.0])
    np.testing.assert_allclose(jax.vmap(root)(targets), jnp.log(targets), atol=1e-9)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(root))(targets), 1 / targets, rtol=1e-9
    )


def test_steps_flat_parts_and_kinks_end_as_well():
    for corner in (0.1, 0.5, 0.9):
        step = rising_root(
            lambda x, c=corner: jnp.where(x < c, -1.0, 1.0), low=0.0, high=1.0
        )
        assert float(step) == pytest.approx(corner, rel=1e-13)
        kink = rising_root(
            lambda x, c=corner: jnp.maximum(1e-9 * (x - c), 1e9 * (x - c)),
            low=0.0,
            high=1.0,
        )
        assert float(kink) == pytest.approx(corner, rel=1e-13)
    flat = rising_root(lambda x: jnp.minimum(x - 0.5, 0.0), low=0.0, high=1.0)
    assert float(flat) == 1.0
