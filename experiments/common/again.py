"""Where do the contenders end when the constants behind the search are others?

Climber, parameters, known designs -> ln objective of every contender over that of
the baseline tuned under the same parameters, at relaxed optima.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codesign.core.paths import get_path
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.optimize.discrete import neighbours
from codesign.optimize.engine import GROUP
from codesign.optimize.ladder import EVERYTHING, LADDER, UNBOUNDED, Climber
from codesign.optimize.problem import Theta
from codesign.optimize.search import RELAXED
from codesign.optimize.space import Floats, place

ALONE = {**{n: p for n, p in LADDER if n != "formats"}, "joint": EVERYTHING}
Mask = NDArray[np.bool_]


def solve_again(climber: Climber, theta: Theta, *, known: Floats) -> dict[str, float]:
    """Every contender from the baseline, which is tuned first.

    Each tries choices of the known designs and their neighbours, whole numbers and
    tiles taken as continuous; the interior point method does the rest. Limits
    on the baseline refer to the one tuned here.

    Assumes: choices that suit these constants lie near those that suit the central
    ones.
    """
    solver = _Solver(climber, known)
    study = climber.study
    solver.theta = _bound_to(climber, theta, tuned=None)
    start = climber.space.values_of(study.baseline)
    [(tuned, level)] = solver.best([climber.space.select(study.tune)], start)
    solver.theta = _bound_to(climber, theta, tuned=tuned)
    masks = {n: climber.space.select(prefixes) for n, prefixes in ALONE.items()}
    found = dict(zip(ALONE, solver.best(list(masks.values()), tuned), strict=True))
    turn = found["model"]
    for name in ("hardware", "model", "hardware"):
        [turn] = solver.best([masks[name]], turn[0])
    ends = {n: reached - level for n, (_, reached) in found.items()}
    ends["in turn"] = turn[1] - level
    return {**ends, "joint": min(*ends.values(), 0.0)}


class _Solver:
    """The compiled engine at parameters that may be replaced."""

    def __init__(self, climber: Climber, known: Floats) -> None:
        self.climber, self.theta, self.known = climber, climber.theta, known

    def best(self, masks: Sequence[Mask], base: Floats) -> list[tuple[Floats, float]]:
        """Best relaxed design over each mask's variables, and its ln objective."""
        space, engine = self.climber.space, self.climber.engine
        rng = np.random.default_rng(0)
        each = GROUP // len(masks)
        given, free = [], []
        for mask in masks:
            seeds = np.where(mask, self.known, base)
            lanes = neighbours(space, seeds, mask=mask, count=each, rng=rng)
            lanes[0] = base
            given.append(lanes)
            free.append(np.tile(mask & ~space.coarse, (each, 1)))
        starts, moving = np.concatenate(given), np.concatenate(free)
        found = engine.refine(starts, self.theta, free=moving)
        violation = np.max(np.asarray(found.constraints), axis=1)
        objective = np.where(violation <= RELAXED, np.asarray(found.objective), np.inf)
        reached = np.where(moving, space.decode(np.asarray(found.points)), starts)
        places = np.argmin(objective.reshape(len(masks), each), axis=1)
        places += each * np.arange(len(masks))
        return [(reached[i], float(objective[i])) for i in places]


def _bound_to(climber: Climber, theta: Theta, *, tuned: Floats | None) -> Theta:
    """The parameters with limits on the baseline referring to a tuned one.

    Until it is known they do not bind.
    """
    bounds, cost = np.array(theta.bounds), None
    if tuned is not None:
        placed = place(theta.design, climber.space.paths, values=tuned)
        cost = evaluate(as_float64(placed))
    for index, limit in enumerate(climber.study.limits):
        if limit.baseline:
            use = UNBOUNDED if cost is None else get_path(cost, limit.metric)
            bounds[index] = limit.factor * float(np.asarray(use))
    return theta.replace(bounds=bounds)


def gains(again: dict[str, list[float]], names: Sequence[str]) -> Floats:
    """1 - objective over the tuned baseline's: a row per name, a column per draw."""
    return -np.expm1(np.array([again[name] for name in names]))
