"""Geometric programs: the optimum found is the global one, that of cvxpy.

In logarithms a posynomial is a convex function, so that a solver for convex
problems certifies the optimum by its dual.
"""

from importlib import import_module

import cvxpy as cp
import jax
import numpy as np
import pytest
from jax import Array
from scipy.special import logsumexp

from codesign.optimize.interior import Optima, interior_solver
from codesign.optimize.lagrangian import Start
from codesign.optimize.problem import Problem

LANES, VARIABLES, LIMITS, TERMS = 64, 5, 3, 4
SHAPE = (LIMITS + 1, TERMS, VARIABLES + 1)
PROBLEM = Problem(
    paths=tuple("abcde"), minimize="f", limits=(), always=("one", "two", "three")
)


@pytest.fixture(autouse=True)
def posynomials(monkeypatch: pytest.MonkeyPatch) -> None:
    """ln sum exp(A x + b) of the objective and every limit, coefficients by lane."""

    def values_and_constraints(
        _: Problem, point: Array, *, bounds: Array, **__: object
    ) -> tuple[Array, Array]:
        table = bounds.reshape(SHAPE)
        logs = jax.scipy.special.logsumexp(
            table[..., :-1] @ point + table[..., -1], axis=1
        )
        return logs[0], logs[1:]

    module = import_module("codesign.optimize.lagrangian")
    monkeypatch.setattr(module, "values_and_constraints", values_and_constraints)


def solve(tables: np.ndarray) -> Optima:
    weights = np.zeros((LANES, LIMITS + 1))
    weights[:, 0] = 1.0
    points = np.random.default_rng(1).uniform(size=(LANES, VARIABLES))
    start = Start(
        points=points,
        free=np.ones(points.shape, bool),
        margin=np.zeros(LANES),
        bounds=tables.reshape(LANES, -1),
        weights=weights,
    )
    return interior_solver(PROBLEM)(start, None, iterations=200)


def certified(tables: np.ndarray) -> np.ndarray:
    """Optimum of every program, by cvxpy."""
    x = cp.Variable(VARIABLES, bounds=[0, 1])
    powers = [cp.Parameter((TERMS, VARIABLES)) for _ in range(LIMITS + 1)]
    shifts = [cp.Parameter(TERMS) for _ in range(LIMITS + 1)]
    logs = [cp.log_sum_exp(a @ x + b) for a, b in zip(powers, shifts, strict=True)]
    program = cp.Problem(cp.Minimize(logs[0]), [log <= 0 for log in logs[1:]])
    least = []
    for table in tables:
        for rows, a, b in zip(table, powers, shifts, strict=True):
            a.value, b.value = rows[:, :-1], rows[:, -1]
        least.append(program.solve(solver=cp.CLARABEL))
        assert program.status == cp.OPTIMAL
    return np.array(least)


def random_programs(seed: int) -> np.ndarray:
    """Programs that some point of the box keeps strictly."""
    rng = np.random.default_rng(seed)
    tables = rng.normal(scale=2.0, size=(LANES, *SHAPE))
    inside = rng.uniform(0.2, 0.8, size=(LANES, VARIABLES))
    values = np.einsum("lktn,ln->lkt", tables[..., :-1], inside) + tables[..., -1]
    slack = rng.uniform(0.05, 0.5, size=(LANES, LIMITS + 1))
    tables[..., -1] -= (logsumexp(values, axis=2) + slack)[..., None]
    return tables


def test_random_programs_end_at_their_certified_optimum():
    tables = random_programs(0)
    found = solve(tables)
    assert np.max(found.constraints) < 1e-8
    gaps = np.asarray(found.objective) - certified(tables)
    assert np.mean(np.abs(gaps) < 1e-5) >= 0.99, np.sort(np.abs(gaps))[-3:]
    assert np.min(gaps) > -1e-6
    assert np.sum(np.max(np.asarray(found.multipliers), axis=1) > 1e-3) > LANES // 2
