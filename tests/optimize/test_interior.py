"""The interior point method reaches known optima, their multipliers and bounds."""

from importlib import import_module

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from codesign.optimize.interior import Optima, interior_solver
from codesign.optimize.lagrangian import Start
from codesign.optimize.problem import Problem

PROBLEM = Problem(
    paths=("a", "b", "c"), minimize="f", limits=(), always=("disc", "sum", "held")
)
HELD = 0.5  # what the third constraint must not exceed; only c moves it


def plain(count: int) -> dict[str, np.ndarray]:
    """No limits of a study; the objective alone counts."""
    weights = np.zeros((count, len(PROBLEM.always) + 1))
    weights[:, 0] = 1.0
    return {"bounds": np.zeros((count, 0)), "weights": weights}


@pytest.fixture(autouse=True)
def known_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow curved valley, cut by a disc; a loose plane; a limit on c alone."""

    def values_and_constraints(
        _: Problem, point: Array, **__: object
    ) -> tuple[Array, Array]:
        a, b, c = 2 * point - 0.5
        valley = (1 - a) ** 2 + 100 * (b - a**2) ** 2 + (c - 0.2) ** 2
        limits = [a**2 + b**2 - 1.0, a + b + c - 9.0, point[2] - HELD]
        return valley, jnp.stack(limits)

    module = import_module("codesign.optimize.lagrangian")
    monkeypatch.setattr(module, "values_and_constraints", values_and_constraints)


def solve(
    points: object, *, free: object = True, margin: float = 0.0, iterations: int = 200
) -> Optima:
    points = np.array(points, float)
    start = Start(
        points=points,
        free=np.broadcast_to(free, points.shape),
        margin=np.full(len(points), margin),
        **plain(len(points)),
    )
    return interior_solver(PROBLEM)(start, None, iterations=iterations)


def test_every_start_reaches_the_optimum_on_the_disc():
    """Rosenbrock's function in the unit disc: x = (0.7864, 0.6177), f = 0.04567."""
    found = solve(np.random.default_rng(0).uniform(size=(16, 3)))
    np.testing.assert_allclose(found.objective, 0.0456748, atol=1e-6)
    ends = 2 * np.asarray(found.points) - 0.5
    np.testing.assert_allclose(ends[:, :2], [[0.786415, 0.617698]] * 16, atol=1e-5)
    np.testing.assert_allclose(ends[:, 2], 0.2, atol=1e-5)
    assert np.max(found.residual) < 1e-8


def test_multipliers_balance_the_slopes():
    """df/db + l dg/db = 0 on the disc, in the coordinates of the search."""
    found = solve([[0.5, 0.5, 0.5]])
    a, b = 2 * np.asarray(found.points)[0, :2] - 0.5
    expected = -200 * (b - a**2) / (2 * b)
    np.testing.assert_allclose(found.multipliers[0], [expected, 0, 0], atol=1e-6)
    assert expected > 0.1


def test_a_start_outside_of_the_limits_comes_in():
    found = solve([[0.99, 0.99, 0.99]])
    assert float(np.max(found.constraints)) <= 1e-8
    np.testing.assert_allclose(found.objective, 0.0456748, atol=1e-6)


def test_held_variables_stay_where_they_are():
    found = solve([[0.6, 0.1, 0.9]], free=[[False, True, False]])
    np.testing.assert_array_equal(np.asarray(found.points)[0, [0, 2]], [0.6, 0.9])
    assert float(found.residual[0]) < 1e-8


def test_a_limit_that_nothing_moves_has_no_price():
    """c is held above its limit: the limit is reported as broken, not chased."""
    found = solve([[0.5, 0.5, 0.9]], free=[[True, True, False]])
    assert float(found.constraints[0, 2]) == pytest.approx(0.9 - HELD)
    assert float(found.multipliers[0, 2]) == pytest.approx(0.0, abs=1e-6)
    assert float(found.residual[0]) < 1e-8


def test_a_margin_tightens_the_limits():
    found = solve([[0.5, 0.5, 0.5]], margin=0.1)
    assert float(found.constraints[0, 0]) == pytest.approx(-0.1, abs=1e-7)


def test_too_few_iterations_leave_a_residual():
    found = solve([[0.2, 0.9, 0.5]], iterations=3)
    assert float(found.residual[0]) > 1e-3
