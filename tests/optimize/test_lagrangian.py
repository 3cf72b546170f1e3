"""The descent reaches known constrained optima."""

from importlib import import_module

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array

from codesign.optimize.lagrangian import Lanes, Schedule, Start, descender
from codesign.optimize.problem import Problem

PROBLEM = Problem(paths=("a", "b"), minimize="f", limits=(), always=("sum", "slack"))
TARGET = (0.8, 0.6)


def plain(count: int) -> dict[str, np.ndarray]:
    """No limits of a study; the objective alone counts."""
    weights = np.zeros((count, len(PROBLEM.always) + 1))
    weights[:, 0] = 1.0
    return {"bounds": np.zeros((count, 0)), "weights": weights}


@pytest.fixture(autouse=True)
def known_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """|x - target|^2 subject to a + b <= 1 and a limit that never binds."""

    def values_and_constraints(
        _: Problem, point: Array, **__: object
    ) -> tuple[Array, Array]:
        objective = jnp.sum((point - jnp.array(TARGET)) ** 2)
        return objective, jnp.stack([jnp.sum(point) - 1.0, point[0] - 10.0])

    module = import_module("codesign.optimize.lagrangian")
    monkeypatch.setattr(module, "values_and_constraints", values_and_constraints)


def descend(points: object, *, free: object = True, margin: float = 0.0) -> Lanes:
    points = np.array(points, float)
    start = Start(
        points=points,
        free=np.broadcast_to(free, points.shape),
        margin=np.full(len(points), margin),
        **plain(len(points)),
    )
    return descender(PROBLEM)(start, None)


def test_every_start_reaches_the_optimum_and_its_multipliers():
    rng = np.random.default_rng(0)
    lanes = descend(rng.uniform(size=(16, 2)))
    np.testing.assert_allclose(lanes.points, [[0.6, 0.4]] * 16, atol=2e-3)
    np.testing.assert_allclose(lanes.objective, 0.08, atol=2e-3)
    np.testing.assert_allclose(lanes.multipliers, [[0.4, 0.0]] * 16, atol=5e-2)
    assert np.max(lanes.constraints[:, 0]) < 1e-3


def test_fixed_variables_stay_even_outside_the_box():
    lanes = descend([[0.1, 1.7], [0.1, 0.7]], free=[[True, False]])
    np.testing.assert_array_equal(np.asarray(lanes.points)[:, 1], [1.7, 0.7])
    np.testing.assert_allclose(lanes.points[1, 0], 0.3, atol=2e-3)
    np.testing.assert_allclose(lanes.points[0, 0], 0.0, atol=1e-12)


def test_a_margin_tightens_the_limits():
    lanes = descend([[0.5, 0.5]], margin=0.1)
    np.testing.assert_allclose(lanes.points[0], [0.55, 0.35], atol=2e-3)


def test_the_trace_has_one_row_per_round():
    schedule = Schedule(rounds=4, steps=10)
    start = Start(
        points=np.full((3, 2), 0.5),
        free=np.ones((3, 2), bool),
        margin=np.zeros(3),
        **plain(3),
    )
    lanes = descender(PROBLEM, schedule)(start, None)
    assert lanes.trace.shape == (3, 4, 2)


def test_another_optax_transform_reaches_the_same_optimum():
    transform = optax.sgd(optax.cosine_decay_schedule(0.1, 600, alpha=0.02))
    start = Start(
        points=np.array([[0.2, 0.9]]),
        free=np.ones((1, 2), bool),
        margin=np.zeros(1),
        **plain(1),
    )
    lanes = descender(PROBLEM, transform=transform)(start, None)
    np.testing.assert_allclose(lanes.points[0], [0.6, 0.4], atol=5e-3)
