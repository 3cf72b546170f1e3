"""Geometric programs: the optimum found is the global one, certified by its dual.

In logarithms a posynomial is a convex function, so that the Lagrangian with any
prices bounds the optimum from below; SciPy minimises it over the box.
"""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from codesign.config.chips import load_chip
from codesign.config.technology import load_technology
from codesign.core.checks import enable_x64
from codesign.hardware.silicon import area_parts
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


def solve(tables: np.ndarray, *, free: np.ndarray | None = None) -> Optima:
    count = len(tables)
    weights = np.zeros((count, LIMITS + 1))
    weights[:, 0] = 1.0
    points = np.random.default_rng(1).uniform(size=(count, VARIABLES))
    start = Start(
        points=points,
        free=np.ones(points.shape, bool) if free is None else free,
        margin=np.zeros(count),
        bounds=tables.reshape(count, -1),
        weights=weights,
    )
    return interior_solver(PROBLEM)(start, None, iterations=200)


def dual_bound(table: np.ndarray, prices: np.ndarray, *, start: np.ndarray) -> float:
    """min over the box of f + l'g, which no feasible point is below."""
    weights = np.append(1.0, np.maximum(prices, 0.0))

    def lagrangian(x: np.ndarray) -> tuple[float, np.ndarray]:
        inner = table[..., :-1] @ x + table[..., -1]
        slopes = np.einsum("kt,ktn->kn", softmax(inner, axis=1), table[..., :-1])
        return float(weights @ logsumexp(inner, axis=1)), weights @ slopes

    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 2000}
    found = minimize(
        lagrangian,
        start,
        jac=True,
        bounds=[(0, 1)] * VARIABLES,
        method="L-BFGS-B",
        options=options,
    )
    return float(found.fun)


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
    gaps = np.array(
        [
            float(found.objective[i])
            - dual_bound(
                tables[i],
                np.asarray(found.multipliers[i]),
                start=np.asarray(found.points[i]),
            )
            for i in range(LANES)
        ]
    )
    assert np.mean(np.abs(gaps) < 1e-5) >= 0.99, np.sort(np.abs(gaps))[-3:]
    assert np.sum(np.max(np.asarray(found.multipliers), axis=1) > 1e-3) > LANES // 2


def test_sizing_a_real_chip_ends_at_its_certified_optimum():
    """Static energy of a step, by MACs and links, with the preset's own areas.

    E = p A t,  A = a + b M + c W <= limit,  t = F / (2 f M) + D / W <= deadline
    """
    enable_x64()
    chip, technology = load_chip("h100-sxm"), load_technology()

    def area(macs: Array, bandwidth: Array) -> Array:
        sized = chip.replace(
            compute=chip.compute.replace(macs=macs),
            link=chip.link.replace(bandwidth=bandwidth),
        )
        return jnp.exp(chip.anchor.area) * sum(area_parts(sized, technology))

    macs, bandwidth = float(chip.compute.macs), float(chip.link.bandwidth)
    whole = float(area(macs, bandwidth))
    per_mac, per_byte = jax.grad(area, argnums=(0, 1))(macs, bandwidth)
    assert float(area(2 * macs, bandwidth)) == pytest.approx(whole + macs * per_mac)
    parts = np.array([0.0, float(per_mac) * macs, float(per_byte) * bandwidth])
    parts[0] = whole - parts.sum()
    shares = np.log(np.append(parts / whole, 1e-30))
    wide = np.log(16.0)  # each from a quarter to four times the preset's
    times = np.log([0.3, 0.7, 1e-30, 1e-30])
    size = np.array([[0, 0], [1, 0], [0, 1], [0, 0]]) * wide
    late = np.array([[-1, 0], [0, -1], [0, 0], [0, 0]]) * wide
    start = np.array([[0.5], [0.5]])
    product = np.array(
        [
            [*(size[i] + late[j]), shares[i] + times[j]]
            for i in (0, 1, 2)
            for j in (0, 1)
        ]
    )
    product[:, 2] -= (product[:, :2] @ start)[:, 0]
    assert len(product) == 6
    energy = product[np.argsort(product[:, 2])[-TERMS:]]
    area_rows = np.column_stack([size, shares - (size @ start)[:, 0] - np.log(1.1)])
    time_rows = np.column_stack([late, times - (late @ start)[:, 0] - np.log(0.9)])
    loose = np.tile([0.0, 0.0, -9.0], (TERMS, 1))
    table = np.zeros((1, *SHAPE))
    for place, rows in enumerate((energy, area_rows, time_rows, loose)):
        table[0, place, :, :2], table[0, place, :, -1] = rows[:, :2], rows[:, 2]
    free = np.zeros((LANES, VARIABLES), bool)
    free[:, :2] = True
    found = solve(np.tile(table, (LANES, 1, 1, 1)), free=free)
    bound = dual_bound(
        table[0], np.asarray(found.multipliers[0]), start=np.asarray(found.points[0])
    )
    np.testing.assert_allclose(found.objective, bound, atol=1e-6)
    assert np.max(found.multipliers) > 1e-2
