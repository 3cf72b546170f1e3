"""By how little must limits be loosened before a design keeps them all?

Study without a legal design -> the smallest joint and single relaxations, each a
solved problem, all in one batch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.config.limits import is_difference
from codesign.core.paths import get_path
from codesign.optimize.discrete import FEASIBLE, Mask, mutate
from codesign.optimize.ends import reached_values, without_number
from codesign.optimize.engine import Engine, Goal
from codesign.optimize.evidence import LANES as AROUND
from codesign.optimize.evidence import NO_PRICE, solve_around
from codesign.optimize.groups import best_first, legal_around
from codesign.optimize.interior import Optima
from codesign.optimize.lagrangian import Lanes
from codesign.optimize.problem import Theta, design_at
from codesign.optimize.result import Binding, Loosening, Relaxation
from codesign.optimize.search import MARGIN, PENALTIES, SCALES
from codesign.optimize.space import Floats
from codesign.optimize.trace import Log, Progress

LANES = 32  # starts of each problem
ELITE = 4  # designs of each problem that the polish varies
KEPT = 16  # designs of each problem that a round keeps
TRIALS = 3200  # variations in a round
LOOSE = 50.0  # ln, by which an elastic limit may be broken
DIGITS = 4  # of a relaxed limit, rounded outwards


@dataclass(frozen=True)
class _Designs:
    """Legal values with every hard constraint."""

    values: Floats
    constraints: Floats

    def join(self, other: "_Designs") -> "_Designs":
        values = np.concatenate([self.values, other.values])
        constraints = np.concatenate([self.constraints, other.constraints])
        _, first = np.unique(np.log(values).round(12), axis=0, return_index=True)
        return _Designs(values[first], constraints[first])

    def take(self, index: NDArray[np.intp]) -> "_Designs":
        return _Designs(self.values[index], self.constraints[index])

    def score(self, stretch: Floats, *, penalty: float) -> Floats:
        """Loosening of each design (rows) for each problem (columns), penalised.

        stretch . max(0, g) + penalty sum of max(0, g) of rigid constraints
        """
        broken = np.maximum(self.constraints, 0.0)
        rigid = np.maximum(self.constraints - FEASIBLE, 0.0) @ (stretch == 0).T
        over = np.where(
            rigid > 0, penalty * np.maximum(rigid, np.finfo(float).tiny), 0.0
        )
        score = broken @ stretch.T + over
        return np.where(np.isnan(score), np.inf, score)

    def best(self, stretch: Floats, *, count: int, penalty: float) -> NDArray[np.intp]:
        score = self.score(stretch, penalty=penalty)
        return np.unique(np.argsort(score, axis=0, kind="stable")[:count])


class Relaxer:
    """A study's problem in elastic form: limits may be broken, at a price.

    min sum over elastic i of max(0, g_i)   s.t.   g_j <= 0 for all others

    g is ln(use / limit), so that a sum of one is a factor e on one limit; a
    difference in ln compute for quality. The problems of one batch: every
    constraint elastic (least violation), all limits of the study (joint), and each
    of them alone.

    Source: Chinneck and Dravnieks, "Locating minimal infeasible constraint sets in
    linear programs", ORSA J. Comput. 3(2), 1991, for elastic programs; the steps
    are those of ``Search``.
    """

    def __init__(
        self, engine: Engine, theta: Theta, *, mask: Mask, rng: np.random.Generator
    ) -> None:
        self.engine, self.theta, self.mask, self.rng = engine, theta, mask, rng
        self.sources = engine.problem.sources
        limits, number = len(engine.problem.limits), len(self.sources)
        asked = np.array([place < limits for _, place in self.sources])
        joint = asked.astype(float)
        self.stretch = np.concatenate(
            [np.ones((1, number)), joint[None], np.eye(number)[asked]]
        )

    def run(self, known: Floats, *, progress: Progress) -> Relaxation:
        """Least loosening found from known designs and from random points."""
        self.log = Log(progress, lost=np.zeros((0, known.shape[1])))
        designs = self._evaluate(self.engine.space.round(known, mask=self.mask))
        designs = self._settled(designs, known)
        text = f"{len(self.stretch)} relaxations, every limit on its own"
        self.log.close("elastic", text)
        designs = self._polish(designs)
        self.log.close("polish", "smallest relaxations")
        score = designs.score(self.stretch, penalty=np.inf)
        chosen = np.argmin(score, axis=0)
        enough = np.isfinite(np.min(score, axis=0))
        enough[1] |= not self.engine.problem.limits
        joint = self._loosenings(designs.take(chosen[1:2])) if enough[1] else ()
        single = [
            each
            for index in range(2, len(self.stretch))
            if enough[index]
            for each in self._loosenings(designs.take(chosen[[index]]))
        ]
        nearest = int(chosen[1] if enough[1] else chosen[0])
        return Relaxation(
            single=tuple(sorted(single, key=lambda each: each.amount)),
            joint=tuple(sorted(joint, key=lambda each: -each.amount)),
            holding=self._holding(designs.values[nearest], elastic=1 if joint else 0),
            nearest=designs.values[nearest],
            trace=tuple(self.log.trace),
            lost=self.log.lost,
        )

    def _evaluate(self, values: Floats) -> _Designs:
        """Hard constraints of designs; those without a number are dropped."""
        constraints = self.engine.constraints(values, self.theta)[1]
        lost = np.isnan(constraints).any(axis=1)
        self.log.drop(values[lost])
        kept = np.flatnonzero(~lost) if not lost.all() else np.arange(len(values))
        return _Designs(values, constraints).take(kept)

    def _goal(self, problems: NDArray[np.intp]) -> Goal:
        """Elastic objective of each lane; the study's objective does not count."""
        stretch = self.stretch[problems]
        goal = self.engine.goal(self.theta, len(problems))
        return goal._replace(
            weights=np.zeros_like(goal.weights),
            stretch=stretch,
            loose=np.where(stretch > 0, LOOSE, 0.0),
        )

    def _settled(self, designs: _Designs, known: Floats) -> _Designs:
        """Legal designs of every problem's lanes, after each stage of a search."""
        space, mask, rng = self.engine.space, self.mask, self.rng
        problems = np.repeat(np.arange(len(self.stretch)), LANES)
        goal, count = self._goal(problems), len(problems)
        near = space.encode(known[np.arange(count) % len(known)])
        near = np.clip(near + 0.1 * rng.normal(size=near.shape), 0.0, 1.0)
        anywhere = np.arange(count)[:, None] % 2 == 0
        points = np.where(anywhere, rng.uniform(size=near.shape), near)
        given = np.where(mask, space.decode(points), known[0])
        lanes = self.engine.descend(
            given, self.theta, free=np.tile(mask, (count, 1)), goal=goal
        )
        reached = self._ordered(lanes, given, goal=goal, free=mask)
        coarse = mask & space.coarse
        for held in (coarse, coarse, mask & (space.coarse | space.fine)):
            given = legal_around(space, reached, held=held, size=LANES, rng=rng)
            free = mask & ~held
            optima = self.engine.refine(
                given,
                self.theta,
                free=np.tile(free, (count, 1)),
                margin=MARGIN,
                goal=goal,
            )
            reached = self._ordered(optima, given, goal=goal, free=free)
            designs = designs.join(self._evaluate(space.round(reached, mask=mask)))
        return designs

    def _ordered(
        self, lanes: Lanes | Optima, given: Floats, *, goal: Goal, free: Mask
    ) -> Floats:
        self.log.drop(given[without_number(lanes)])
        reached = reached_values(self.engine.space, lanes, given=given, mask=free)
        return best_first(lanes, reached, given=given, size=LANES, loose=goal.loose)

    def _polish(self, designs: _Designs) -> _Designs:
        """Neighbourhood search on the hard model; designs serve every problem."""
        penalties = np.geomspace(*PENALTIES, len(SCALES))
        for penalty, scale in zip(penalties, SCALES, strict=True):
            elite = designs.take(
                designs.best(self.stretch, count=ELITE, penalty=penalty)
            )
            trials = mutate(
                self.engine.space,
                elite.values,
                mask=self.mask,
                scale=scale,
                copies=max(1, TRIALS // len(elite.values)),
                rng=self.rng,
            )
            designs = designs.join(self._evaluate(trials))
            kept = [
                designs.best(self.stretch, count=KEPT, penalty=p)
                for p in (penalty, 1e9)
            ]
            designs = designs.take(np.unique(np.concatenate(kept)))
        return designs

    def _loosenings(self, design: _Designs) -> tuple[Loosening, ...]:
        """The limits of the study that a design breaks, and what it needs."""
        return tuple(
            self._loosening(int(index), design=design)
            for index in np.flatnonzero(self.stretch[1])
            if design.constraints[0, index] > FEASIBLE
        )

    def _loosening(self, index: int, *, design: _Designs) -> Loosening:
        problem, (case, place) = self.engine.problem, self.sources[index]
        limit, amount = problem.limits[place], float(design.constraints[0, index])
        bounds = np.reshape(self.theta.bounds, (-1, len(problem.limits)))
        old = float(bounds[case, place])
        if limit.path is not None:
            placed = design_at(problem, design.values[0], theta=self.theta, case=case)
            old = limit.factor * float(get_path(placed, limit.path))
        signed = amount if limit.sense == "<=" else -amount
        differs = is_difference(limit.metric)
        exact = old + signed if differs else old * float(np.exp(signed))
        new = _outward(exact, up=limit.sense == "<=")
        amount = abs(new - old) if differs else abs(float(np.log(new / old)))
        text = problem.constraint_names[index]
        about = text.removeprefix(f"{limit.text} [").removesuffix("]")
        about = about if text.endswith("]") else ""
        return Loosening(
            text, limit.metric, old=old, new=new, amount=amount, case=about
        )

    def _holding(self, values: Floats, *, elastic: int) -> tuple[Binding, ...]:
        """Constraints that bind in the elastic problem, with their prices there."""
        slack = -self.engine.constraints(values[None], self.theta)[1][0]
        lane = solve_around(
            self.engine,
            self.theta,
            values=values,
            mask=self.mask,
            goal=self._goal(np.full(AROUND, elastic)),
        )
        prices = np.where(self.stretch[elastic] > 0, 0.0, np.asarray(lane.multipliers))
        names = self.engine.problem.constraint_names
        found = [
            Binding(names[i], float(slack[i]), float(prices[i]))
            for i in np.flatnonzero(prices > NO_PRICE)
        ]
        return tuple(sorted(found, key=lambda binding: -binding.price))


def _outward(value: float, *, up: bool) -> float:
    """The next number of few digits in the direction of a loosening.

    Example:
        >>> _outward(0.00731201, up=True), _outward(-2.00009, up=False)
        (0.007313, -2.001)
    """
    step = 10.0 ** (np.floor(np.log10(max(abs(value), 1e-12))) - DIGITS + 1)
    whole = np.ceil(value / step - 1e-9) if up else np.floor(value / step + 1e-9)
    return float(f"{whole * step:.{DIGITS}g}")
