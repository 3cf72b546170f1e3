"""Is the design found an optimum, what holds it, and what would move it?

Design found -> multipliers, KKT residual, variables at bounds, elasticities.
"""

import jax
import numpy as np
from scipy.optimize import nnls

from codesign.optimize.discrete import Mask
from codesign.optimize.problem import Theta
from codesign.optimize.result import Binding, Evidence
from codesign.optimize.search import Engine
from codesign.optimize.space import Floats, Space
from codesign.serving.design import Design

ACTIVE = 2e-2  # |ln(use / limit)| below which a limit counts as binding
EDGE = 1e-3  # share of the box that counts as its bound
NO_PRICE = 1e-4


def gather_evidence(
    engine: Engine, theta: Theta, *, values: Floats, mask: Mask
) -> Evidence:
    """KKT evidence at a legal design.

    min_{l >= 0, m} || grad f + sum l_i grad g_i + m ||  over the free variables
    that are no listed choice, integers taken as continuous; the bound
    multipliers m have the sign of their bound. The shadow price of a limit is
    its l_i, and elasticities are those of f + sum l_i g_i.

    Source: Nocedal and Wright, Numerical Optimization, chapter 12; envelope
    theorem.
    """
    problem, space = engine.problem, engine.space
    point = space.encode(values)
    rows = [
        engine.pull_back(values, theta, weights=row)
        for row in np.eye(len(problem.constraint_names) + 1)
    ]
    constraints = rows[0][0][1:]
    by_point = np.stack([row[1] for row in rows])
    by_value = by_point / (space.high - space.low)
    continuous = mask & ~space.coarse
    at_low, at_high = continuous & (point < EDGE), continuous & (point > 1 - EDGE)
    active = np.flatnonzero(np.abs(constraints) < ACTIVE)
    columns = [by_value[1 + i, continuous] for i in active]
    identity = np.eye(len(point))[:, continuous]
    columns += [-identity[i] for i in np.flatnonzero(at_low)]
    columns += [identity[i] for i in np.flatnonzero(at_high)]
    slope = by_value[0, continuous]
    prices, residual = _multipliers(columns, slope)
    names = problem.constraint_names
    binding = [
        Binding(names[i], float(-constraints[i]), float(prices[k]))
        for k, i in enumerate(active)
    ]
    weights = np.zeros(len(rows))
    weights[0] = 1.0
    weights[1 + active] = prices[: len(active)]
    by_design = engine.pull_back(values, theta, weights=weights)[2]
    return Evidence(
        binding=tuple(sorted(binding, key=lambda b: -b.price)),
        kkt=float(residual / max(np.linalg.norm(slope), 1e-12)),
        at_bound=_bounds(space, point, mask=mask),
        elasticities=_elasticities(by_design, theta.design, free=space.paths),
    )


def _multipliers(columns: list[Floats], slope: Floats) -> tuple[Floats, float]:
    if not columns or not slope.size:
        return np.zeros(len(columns)), float(np.linalg.norm(slope))
    found, residual = nnls(np.stack(columns, axis=1), -slope)
    return np.asarray(found), float(residual)


def _bounds(space: Space, point: Floats, *, mask: Mask) -> tuple[str, ...]:
    sides = []
    for index in np.flatnonzero(mask):
        path = space.paths[index]
        if point[index] < EDGE:
            sides.append(f"{path} at its lower bound")
        if point[index] > 1 - EDGE:
            sides.append(f"{path} at its upper bound")
    return tuple(sides)


def _elasticities(
    by_design: Design, design: Design, *, free: tuple[str, ...]
) -> dict[str, float]:
    """d ln objective / d ln parameter of what the search could not choose."""
    slopes, values = jax.tree.leaves(by_design), jax.tree.leaves(design)
    paths = jax.tree_util.tree_flatten_with_path(design)[0]
    found = {}
    for (key, _), slope, value in zip(paths, slopes, values, strict=True):
        path = jax.tree_util.keystr(key, simple=True, separator=".")
        if path in free or path.startswith("model."):
            continue
        change = np.asarray(slope) * np.asarray(value)
        if np.all(np.isfinite(change)) and abs(change.sum()) > NO_PRICE:
            found[path] = float(change.sum())
    return found
