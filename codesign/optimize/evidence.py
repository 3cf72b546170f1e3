"""Is the design found an optimum, what holds it, and what would move it?

Design found -> multipliers, KKT residual, variables at bounds, elasticities.
"""

from functools import partial
from typing import Any

import jax
import numpy as np

from codesign.optimize.discrete import Mask
from codesign.optimize.engine import Engine, Goal
from codesign.optimize.interior import Optima
from codesign.optimize.problem import Theta
from codesign.optimize.result import Binding, Evidence
from codesign.optimize.space import Floats, Space

ACTIVE = 1e-2  # |ln(use / limit)| of a legal design below which a limit counts
EDGE = 1e-3  # share of the box that counts as its bound
NO_PRICE = 1e-4
QUALITY = "quality."  # prefix of the constants of the quality law
LANES = 16
SPREAD = 0.02  # of the starts around the design, box = 1
ITERATIONS = (80, 400)  # most of a first attempt, and of a second
CONVERGED = 1e-8  # residual that needs no second attempt
SOLVED = 1e-4  # residual above which a lane tells nothing, as where none is feasible
SAME = 1e-6  # of the logarithmic objective: lanes that found one optimum
KEPT = 1e-6  # violation below which a lane counts as feasible


def gather_evidence(
    engine: Engine, theta: Theta, *, values: Floats, mask: Mask
) -> Evidence:
    """KKT evidence of a legal design, its listed choices held.

    The rest, integers taken as continuous, is solved again by the interior point
    method from the design and from points around it. At the best optimum,
    grad f + sum l_i grad g_i + m = 0 with l_i, m >= 0 for the limits and bounds;
    the shadow price of a limit is its l_i, and elasticities are those of
    f + sum l_i g_i.

    Without a solution, as where no design keeps all limits, nothing has a price.

    Assumes: the smooth model, within ln(2) / p of the hard one per maximum.
    Source: Nocedal and Wright, Numerical Optimization, chapter 12; envelope
    theorem.
    """
    problem, space = engine.problem, engine.space
    slack = -engine.constraints(values[None], theta)[1][0]
    lane = solve_around(engine, theta, values=values, mask=mask)
    held = (lane.constraints > -ACTIVE) & bool(lane.residual < SOLVED)
    multipliers = np.where(held, lane.multipliers, 0.0)
    prices = np.where(multipliers > NO_PRICE, multipliers, 0.0)
    active = np.flatnonzero((prices > 0) | (np.abs(slack) < ACTIVE))
    names = problem.constraint_names
    binding = [Binding(names[i], float(slack[i]), float(prices[i])) for i in active]
    pulled = engine.pull_back(
        space.decode(np.asarray(lane.points)),
        theta,
        weights=np.append(1.0, multipliers),
    )
    slopes = leaf_slopes(pulled, theta, free=problem.paths)
    elasticities = {p: slope for p, slope in slopes.items() if abs(slope) > NO_PRICE}
    return Evidence(
        binding=tuple(sorted(binding, key=lambda b: -b.price)),
        kkt=float(lane.residual),
        relaxed=float(np.exp(lane.objective)),
        at_bound=_bounds(space, space.encode(values), mask=mask),
        elasticities=elasticities if lane.residual < SOLVED else {},
    )


def solve_around(
    engine: Engine,
    theta: Theta,
    *,
    values: Floats,
    mask: Mask,
    goal: Goal | None = None,
) -> Optima:
    """The best relaxed optimum around a design whose listed choices are held.

    ``goal`` has ``LANES`` equal lanes; the problem's own if not given.
    """
    goal = goal or engine.goal(theta, LANES)
    attempt = partial(_attempt, engine, theta, values=values, mask=mask, goal=goal)
    lane = attempt(iterations=ITERATIONS[0])
    if lane.residual < CONVERGED:
        return lane
    return attempt(iterations=ITERATIONS[1])


def _attempt(
    engine: Engine,
    theta: Theta,
    *,
    values: Floats,
    mask: Mask,
    goal: Goal,
    iterations: int,
) -> Optima:
    """The lane nearest to a solution among those that found the best optimum.

    Lanes without a number do not count.
    """
    space = engine.space
    continuous = mask & ~space.coarse
    point = space.encode(values)
    noise = SPREAD * np.random.default_rng(0).normal(size=(LANES, len(point)))
    noise[0] = 0.0
    starts = np.where(continuous, np.clip(point + noise, 0.0, 1.0), point)
    lanes = engine.refine(
        space.decode(starts),
        theta,
        free=np.tile(continuous, (LANES, 1)),
        iterations=iterations,
        goal=goal,
    )
    violation = np.max(np.asarray(lanes.constraints) - goal.loose, axis=1)
    objective = np.asarray(lanes.objective)
    violation = np.where(np.isnan(violation + objective), np.inf, violation)
    worst = np.maximum(violation, max(float(np.min(violation)), KEPT))
    kept = worst <= np.min(worst)
    best = np.min(np.where(kept, objective, np.inf))
    found = kept & (objective <= best + SAME)
    index = int(np.argmin(np.where(found, lanes.residual, np.inf)))
    return jax.tree.map(lambda leaf: leaf[index], lanes)


def _bounds(space: Space, point: Floats, *, mask: Mask) -> tuple[str, ...]:
    sides = []
    for index in np.flatnonzero(mask):
        path = space.paths[index]
        if point[index] < EDGE:
            sides.append(f"{path} at its lower bound")
        if point[index] > 1 - EDGE:
            sides.append(f"{path} at its upper bound")
    return tuple(sides)


def leaf_slopes(
    slopes: dict[str, Any], theta: Theta, *, free: tuple[str, ...]
) -> dict[str, float]:
    """d / d ln parameter of what the search could not choose.

    A table counts as one constant, all of whose entries move together.
    """
    found: dict[str, float] = {}
    for prefix in ("design", "constants"):
        values = jax.tree.leaves(getattr(theta, prefix))
        leaves = jax.tree_util.tree_flatten_with_path(slopes[prefix])[0]
        for (key, slope), value in zip(leaves, values, strict=True):
            name = jax.tree_util.keystr(key, simple=True, separator=".")
            path = name if prefix == "design" else f"{QUALITY}{name}"
            if path in free or path.startswith("model."):
                continue
            change = np.asarray(slope) * np.asarray(value)
            if np.all(np.isfinite(change)):
                found[path] = float(change.sum())
    return found
