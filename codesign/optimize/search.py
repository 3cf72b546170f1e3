"""How is one optimum found? Relax, fix the choices, round, polish.

Engine, parameters, mask of free variables, known designs -> best legal designs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.optimize.discrete import (
    FEASIBLE,
    Mask,
    Pool,
    mutate,
    neighbours,
    scatter,
    step_aside,
)
from codesign.optimize.engine import Engine
from codesign.optimize.interior import Optima
from codesign.optimize.lagrangian import Lanes
from codesign.optimize.problem import Theta
from codesign.optimize.space import Floats, Space

ELITE = 32
POLISH_TRIALS = 160  # per free variable and round
PENALTIES = (3.0, 300.0)  # on the sum of violations, first and last round
SCALES = np.tile(np.geomspace(0.03, 1e-4, 8), 5)  # spread of the moves, box = 1
RELAXED = 1e-3  # violation below which a relaxed lane counts as feasible
AGREEMENT = 1e-3  # of the logarithmic objective
MARGIN = 3e-4  # tightening of the limits before values are rounded

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """Outcome of one search.

    ``relaxed`` is the best objective with the listed choices fixed and integers
    and multiples continuous; ``agreement`` the share of the fully relaxed
    starts within 0.1 % of their best.
    """

    pool: Pool
    relaxed: float
    agreement: float
    trace: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Log:
    """Stages of one search with their time, for progress and convergence plots."""

    progress: Progress
    trace: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def note(self, stage: str, objective: Floats) -> None:
        """Record the best objective of a stage; infinite lanes are infeasible."""
        best = float(np.exp(np.min(objective)))
        feasible = float(np.mean(np.isfinite(objective)))
        seconds = time.perf_counter() - self.began
        self.trace.append(
            {"stage": stage, "seconds": seconds, "best": best, "feasible": feasible}
        )
        self.progress(f"{stage:<10} best {best:.5g}  feasible {feasible:.0%}")


@dataclass(frozen=True)
class Search:
    """One search: what is solved, which variables move, and from which draws.

    ``weights`` of objective and constraints stand for the objective if given.
    """

    engine: Engine
    theta: Theta
    mask: Mask
    rng: np.random.Generator
    weights: Floats | None = None

    def run(self, known: Floats, *, starts: int, progress: Progress) -> Found:
        """Best legal designs when the masked variables are free.

        Starts are the known designs and random points, half as many lanes refine
        the best of them; the known designs stay in the pool, so the result is
        never worse than they are.
        """
        log, space, mask = Log(progress), self.engine.space, self.mask
        pool = self._evaluate(np.concatenate([known, space.round(known, mask=mask)]))
        given = self._starts(known, count=starts)
        lanes = self.engine.descend(
            given,
            self.theta,
            free=np.tile(mask, (starts, 1)),
            goal=self.engine.goal(self.theta, starts, weights=self.weights),
        )
        relaxed = _feasible_objective(lanes)
        log.note("relaxed", relaxed)
        seeds = reached_values(space, lanes, given=given, mask=mask)[_order(lanes)]
        bound, count = np.inf, max(starts // 2, 1)
        for stage in ("choices", "neighbours", "neighbours", "integers"):
            held, given = self._rounded(seeds, stage=stage, count=count)
            lanes, reached = self._refined(given, held=held)
            pool = pool.join(self._evaluate(space.round(reached, mask=mask)))
            found = _feasible_objective(lanes)
            bound = bound if stage == "integers" else min(bound, float(np.min(found)))
            seeds = reached[_order(lanes)]
            log.note(stage, found)
        pool = self._polish(pool)
        log.note("polish", _legal_objective(pool))
        pool = self._polish(self._around(pool, count=count))
        log.note("again", _legal_objective(pool))
        best = float(np.exp(bound)) if np.isfinite(bound) else np.nan
        return Found(pool, best, _agreement(relaxed), log.trace)

    def _evaluate(self, values: Floats) -> Pool:
        return self.engine.evaluate(values, self.theta, weights=self.weights)

    def _rounded(self, seeds: Floats, *, stage: str, count: int) -> tuple[Mask, Floats]:
        """Which variables a stage holds, and lanes in which they are legal."""
        space, mask, rng = self.engine.space, self.mask, self.rng
        if stage == "integers":
            held = mask & (space.coarse | space.fine)
            return held, scatter(space, seeds, mask=held, count=count, rng=rng)
        moved = neighbours(space, seeds, mask=mask, count=count, rng=rng)
        return mask & space.coarse, moved

    def _refined(self, given: Floats, *, held: Mask) -> tuple[Optima, Floats]:
        """Lanes solved with some variables held, and the values that they reach."""
        free, count = self.mask & ~held, len(given)
        lanes = self.engine.refine(
            given,
            self.theta,
            free=np.tile(free, (count, 1)),
            margin=MARGIN,
            goal=self.engine.goal(self.theta, count, weights=self.weights),
        )
        return lanes, reached_values(self.engine.space, lanes, given=given, mask=free)

    def _around(self, pool: Pool, *, count: int) -> Pool:
        """Integers and multiples a few steps from the best, the rest solved again."""
        space, mask = self.engine.space, self.mask
        held = mask & (space.coarse | space.fine)
        near = step_aside(space, pool.values, mask=held, count=count, rng=self.rng)
        _, reached = self._refined(near, held=held)
        return pool.join(self._evaluate(space.round(reached, mask=mask)))

    def _starts(self, known: Floats, *, count: int) -> Floats:
        space, mask, rng = self.engine.space, self.mask, self.rng
        random = space.decode(rng.uniform(size=(count, len(space.paths))))
        base = known[np.arange(count) % len(known)]
        near = space.encode(base)
        jitter = near + 0.1 * rng.normal(size=near.shape)
        jittered = space.decode(np.clip(jitter, 0.0, 1.0))
        half = np.arange(count)[:, None] % 2 == 0
        starts = np.where(mask, np.where(half, random, jittered), base)
        starts[: len(known)] = known[:count]
        return starts

    def _polish(self, pool: Pool) -> Pool:
        """Neighbourhood search on the hard model under a growing exact penalty."""
        space, mask = self.engine.space, self.mask
        penalties = np.geomspace(*PENALTIES, len(SCALES))
        for penalty, scale in zip(penalties, SCALES, strict=True):
            elite = pool.distinct(ELITE, columns=mask & space.coarse, penalty=penalty)
            copies = max(1, POLISH_TRIALS * int(mask.sum()) // len(elite.values))
            trials = self._evaluate(
                mutate(
                    space,
                    elite.values,
                    mask=mask,
                    scale=scale,
                    copies=copies,
                    rng=self.rng,
                )
            )
            kept = trials.take(trials.order(penalty)[: 4 * ELITE])
            pool = pool.best(ELITE).join(elite).join(kept)
        return pool.best(ELITE)


def reached_values(
    space: Space, lanes: Lanes | Optima, *, given: Floats, mask: Mask
) -> Floats:
    """Values at the end of a descent; what is not masked is as given."""
    return np.where(mask, space.decode(np.asarray(lanes.points)), given)


def _agreement(relaxed: Floats) -> float:
    """Share of lanes near the best one, 0 if none is feasible."""
    best = float(np.min(relaxed))
    return float(np.mean(relaxed <= best + AGREEMENT)) if np.isfinite(best) else 0.0


def _legal_objective(pool: Pool) -> Floats:
    return np.where(pool.violation <= FEASIBLE, pool.objective, np.inf)


def _order(lanes: Lanes | Optima) -> NDArray[np.intp]:
    """Lanes from best to worst: first by violation, then by objective."""
    violation = np.maximum(np.max(np.asarray(lanes.constraints), axis=1), RELAXED)
    return np.lexsort((np.asarray(lanes.objective), violation.round(3)))


def _feasible_objective(lanes: Lanes | Optima) -> Floats:
    violation = np.max(np.asarray(lanes.constraints), axis=1)
    return np.where(violation <= RELAXED, np.asarray(lanes.objective), np.inf)
