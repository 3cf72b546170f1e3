"""Where do the contenders end when the constants behind the search are others?

Climber, parameters, known designs -> ln objective of every contender over that of
the baseline tuned under the same parameters, at relaxed optima.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from codesign.core.paths import get_path
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.optimize.climber import EVERYTHING, UNBOUNDED, Climber
from codesign.optimize.discrete import neighbours
from codesign.optimize.ends import RELAXED
from codesign.optimize.engine import GROUP
from codesign.optimize.ladder import LADDER
from codesign.optimize.problem import Theta
from codesign.optimize.space import Floats, place

ALONE = {**{n: p for n, p in LADDER if n != "formats"}, "joint": EVERYTHING}
Mask = NDArray[np.bool_]


def solve_again(
    climber: Climber, theta: Theta, *, known: Mapping[str, Floats]
) -> dict[str, float]:
    """Every contender from the baseline, which is tuned first.

    Each tries choices of the known designs, its own first, and their neighbours,
    whole numbers and tiles taken as continuous; the interior point method does the
    rest. Limits on the baseline refer to the one tuned here. NaN where even that one
    cannot keep its limits; a contender may stay there.

    Assumes: choices that suit these constants lie near those that suit the central
    ones.
    """
    solver = _Solver(climber, known)
    study = climber.study
    solver.theta = _bound_to(climber, theta, tuned=None)
    start = climber.space.values_of(study.baseline)
    tune = {"tuned": climber.space.select(study.tune)}
    tuned, level = solver.best(tune, start)["tuned"]
    if not np.isfinite(level):
        return dict.fromkeys((*ALONE, "in turn"), np.nan)
    solver.theta = _bound_to(climber, theta, tuned=tuned)
    masks = {n: climber.space.select(prefixes) for n, prefixes in ALONE.items()}
    found = solver.best(masks, tuned)
    turn = found["model"]
    for name in ("hardware", "model", "hardware"):
        turn = solver.best({"in turn": masks[name]}, turn[0])["in turn"]
    reached = {**found, "in turn": turn}
    ends = {n: min(end - level, 0.0) for n, (_, end) in reached.items()}
    return {**ends, "joint": min(ends.values())}


class _Solver:
    """The compiled engine at parameters that may be replaced."""

    def __init__(self, climber: Climber, known: Mapping[str, Floats]) -> None:
        self.climber, self.theta, self.known = climber, climber.theta, known

    def best(
        self, masks: Mapping[str, Mask], base: Floats
    ) -> dict[str, tuple[Floats, float]]:
        """Best relaxed design over each mask's variables, and its ln objective."""
        space, engine = self.climber.space, self.climber.engine
        rng = np.random.default_rng(0)
        each = GROUP // len(masks)
        given, free = [], []
        for name, mask in masks.items():
            seeds = np.where(mask, self._seeds(name), base)
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
        ends = [(reached[i], float(objective[i])) for i in places]
        return dict(zip(masks, ends, strict=True))

    def _seeds(self, name: str) -> Floats:
        """Known designs, that of the same contender first, then the best."""
        order = sorted(self.known, key=lambda other: other != name)
        return np.stack([self.known[other] for other in order])


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
