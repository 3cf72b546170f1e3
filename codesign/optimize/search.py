"""How is one optimum found? Relax, fix the choices, round, polish.

Problem, parameters, mask of free variables, known designs -> best legal design.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
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
from codesign.optimize.interior import Optima, interior_solver
from codesign.optimize.lagrangian import Lanes, Schedule, Start, descender
from codesign.optimize.problem import Problem, Theta, hard_evaluator, puller
from codesign.optimize.space import Floats, Space

GROUP = 64  # lanes that descend together
CHUNK = 256  # designs that are evaluated together
ELITE = 32
POLISH_TRIALS = 160  # per free variable and round
PENALTIES = (3.0, 300.0)  # on the sum of violations, first and last round
SCALES = np.tile(np.geomspace(0.03, 1e-4, 8), 5)  # spread of the moves, box = 1
POLISH_ROUNDS = len(SCALES)
RELAXED = 1e-3  # violation below which a relaxed lane counts as feasible
AGREEMENT = 1e-3  # of the logarithmic objective
REFINING = 40  # iterations of the interior point method within a search
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


class Engine:
    """The compiled functions of a problem, shared by all its searches."""

    def __init__(self, problem: Problem, space: Space, *, schedule: Schedule) -> None:
        self.problem = problem
        self.space = space
        self.schedule = schedule
        self._descend = descender(problem, schedule)
        self._hard = hard_evaluator(problem)
        self._refine = interior_solver(problem)
        self._pull = puller(problem, sharpness=schedule.sharpness)

    def compile(self, values: Floats, theta: Theta) -> None:
        """Compile all functions for a design's shapes, each in a thread.

        Tracing holds the interpreter's lock and goes one after the other; XLA
        does not.
        """
        points = jnp.tile(self.space.encode(values), (GROUP, 1))
        start = Start(
            points=points, free=jnp.zeros(points.shape, bool), margin=jnp.zeros(GROUP)
        )
        chunk = jnp.tile(points[:1], (CHUNK, 1))
        weights = np.zeros(len(self.problem.constraint_names) + 1)
        with ThreadPoolExecutor() as pool:
            compiled = [
                pool.submit(self._descend.lower(start, theta).compile),
                pool.submit(
                    self._refine.lower(start, theta, iterations=REFINING).compile
                ),
                pool.submit(self._hard.lower(chunk, theta).compile),
                pool.submit(
                    self._pull.lower(points[0], theta, weights=weights).compile
                ),
            ]
        for done in compiled:
            done.result()

    def pull_back(
        self, values: Floats, theta: Theta, *, weights: Floats
    ) -> dict[str, Any]:
        """Gradient of a weighted sum of objective and constraints in the constants."""
        return jax.device_get(
            self._pull(self.space.encode(values), theta, weights=weights)
        )

    def descend(self, values: Floats, theta: Theta, *, free: Mask) -> Lanes:
        """Augmented-Lagrangian descent of a batch of lanes."""
        points, margins = self._inside(values, free), np.zeros((len(values), 1))
        return self._lanes(
            lambda p, f, m: self._descend(
                Start(points=p, free=f, margin=m[:, 0]), theta
            ),
            self._groups(points, free, margins, size=GROUP),
            count=len(values),
        )

    def refine(
        self,
        values: Floats,
        theta: Theta,
        *,
        free: Mask,
        margin: float = 0.0,
        iterations: int = REFINING,
    ) -> Optima:
        """Interior point method from a batch of lanes."""
        points = self._inside(values, free)
        margins = np.full((len(values), 1), margin)
        return self._lanes(
            lambda p, f, m: self._refine(
                Start(points=p, free=f, margin=m[:, 0]), theta, iterations=iterations
            ),
            self._groups(points, free, margins, size=GROUP),
            count=len(values),
        )

    def _inside(self, values: Floats, free: Mask) -> Floats:
        points = self.space.encode(values)
        return np.where(free, np.clip(points, 0.0, 1.0), points)

    def _lanes(
        self, function: Callable[..., Any], groups: list[Any], *, count: int
    ) -> Any:
        """Results of all groups as one batch, without what filled the last one."""
        found = self._parallel(function, groups)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *found)

    def evaluate(self, values: Floats, theta: Theta) -> Pool:
        """Hard objective and worst violation of legal designs."""
        objective, constraints = self.constraints(values, theta)
        violation = np.max(constraints, axis=1)
        violation = np.where(np.isfinite(violation), violation, np.inf)
        excess = np.sum(np.maximum(constraints, 0.0), axis=1)
        return Pool(values, objective, violation, np.where(excess >= 0, excess, np.inf))

    def constraints(self, values: Floats, theta: Theta) -> tuple[Floats, Floats]:
        """Hard objective and every constraint of legal designs."""
        groups = self._groups(self.space.encode(values), size=CHUNK)
        found = self._parallel(lambda p: self._hard(p, theta), groups)
        objective, constraints = (
            np.concatenate(part)[: len(values)] for part in zip(*found, strict=True)
        )
        return objective, constraints

    def _groups(self, *arrays: Any, size: int) -> list[tuple[Any, ...]]:
        """Arrays cut into groups of equal size, the last one filled up."""
        count = len(arrays[0])
        index = np.minimum(np.arange(-(-count // size) * size), count - 1)
        cut = [a[index].reshape(-1, size, a.shape[-1]) for a in arrays]
        return list(zip(*cut, strict=True))

    def _parallel(self, function: Callable[..., Any], groups: list[Any]) -> list[Any]:
        """The compiled function on every group, one thread per core."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda g: jax.device_get(function(*g)), groups))

    def search(
        self,
        theta: Theta,
        *,
        mask: Mask,
        known: Floats,
        starts: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> Found:
        """Best legal designs when the masked variables are free.

        Starts are the known designs and random points, half as many lanes refine
        the best of them; the known designs stay in the pool, so the result is
        never worse than they are.
        """
        log = Log(progress)
        space, count = self.space, max(starts // 2, 1)
        pool = self.evaluate(
            np.concatenate([known, space.round(known, mask=mask)]), theta
        )
        fixed = self._starts(known, mask=mask, count=starts, rng=rng)
        lanes = self.descend(fixed, theta, free=np.tile(mask, (starts, 1)))
        relaxed = _feasible_objective(lanes)
        best = float(np.min(relaxed))
        agreement = (
            float(np.mean(relaxed <= best + AGREEMENT)) if best < np.inf else 0.0
        )
        log.note("relaxed", relaxed)
        reached, bound = self._reached(lanes, given=fixed, mask=mask), np.inf
        for stage in ("choices", "neighbours", "integers"):
            seeds = reached[_order(lanes)]
            held = mask & (space.coarse | (space.fine & (stage == "integers")))
            fixed = neighbours(space, seeds, mask=mask, count=count, rng=rng)
            if stage == "integers":
                fixed = scatter(space, seeds, mask=held, count=count, rng=rng)
            lanes = self.refine(
                fixed, theta, free=np.tile(mask & ~held, (count, 1)), margin=MARGIN
            )
            reached = self._reached(lanes, given=fixed, mask=mask & ~held)
            pool = pool.join(self.evaluate(space.round(reached, mask=mask), theta))
            reached_best = float(np.min(_feasible_objective(lanes)))
            bound = bound if stage == "integers" else min(bound, reached_best)
            log.note(stage, _feasible_objective(lanes))
        pool = self._polish(pool, theta, mask=mask, rng=rng)
        log.note("polish", _legal_objective(pool))
        pool = self._around(pool, theta, mask=mask, count=count, rng=rng)
        pool = self._polish(pool, theta, mask=mask, rng=rng)
        log.note("again", _legal_objective(pool))
        relaxed_best = float(np.exp(bound)) if np.isfinite(bound) else np.nan
        return Found(pool, relaxed_best, agreement, log.trace)

    def _around(
        self,
        pool: Pool,
        theta: Theta,
        *,
        mask: Mask,
        count: int,
        rng: np.random.Generator,
    ) -> Pool:
        """Integers and multiples a few steps from the best, the rest re-optimised."""
        space = self.space
        held = mask & (space.coarse | space.fine)
        near = step_aside(space, pool.values, mask=held, count=count, rng=rng)
        lanes = self.refine(
            near, theta, free=np.tile(mask & ~held, (count, 1)), margin=MARGIN
        )
        reached = self._reached(lanes, given=near, mask=mask & ~held)
        return pool.join(self.evaluate(space.round(reached, mask=mask), theta))

    def _starts(
        self, known: Floats, *, mask: Mask, count: int, rng: np.random.Generator
    ) -> Floats:
        random = self.space.decode(rng.uniform(size=(count, len(self.space.paths))))
        base = known[np.arange(count) % len(known)]
        near = self.space.encode(base)
        jitter = near + 0.1 * rng.normal(size=near.shape)
        jittered = self.space.decode(np.clip(jitter, 0.0, 1.0))
        half = np.arange(count)[:, None] % 2 == 0
        starts = np.where(mask, np.where(half, random, jittered), base)
        starts[: len(known)] = known[:count]
        return starts

    def _reached(self, lanes: Lanes | Optima, *, given: Floats, mask: Mask) -> Floats:
        """Values at the end of a descent; what is not masked is as given."""
        return np.where(mask, self.space.decode(np.asarray(lanes.points)), given)

    def _polish(
        self, pool: Pool, theta: Theta, *, mask: Mask, rng: np.random.Generator
    ) -> Pool:
        """Neighbourhood search on the hard model under a growing exact penalty."""
        columns = mask & self.space.coarse
        penalties = np.geomspace(*PENALTIES, POLISH_ROUNDS)
        for penalty, scale in zip(penalties, SCALES, strict=True):
            elite = pool.distinct(ELITE, columns=columns, penalty=penalty)
            copies = max(1, POLISH_TRIALS * int(mask.sum()) // len(elite.values))
            trial = mutate(
                self.space, elite.values, mask=mask, scale=scale, copies=copies, rng=rng
            )
            trials = self.evaluate(trial, theta)
            kept = trials.take(trials.order(penalty)[: 4 * ELITE])
            pool = pool.best(ELITE).join(elite).join(kept)
        return pool.best(ELITE)


def _legal_objective(pool: Pool) -> Floats:
    return np.where(pool.violation <= FEASIBLE, pool.objective, np.inf)


def _order(lanes: Lanes | Optima) -> NDArray[np.intp]:
    """Lanes from best to worst: first by violation, then by objective."""
    violation = np.maximum(np.max(np.asarray(lanes.constraints), axis=1), RELAXED)
    return np.lexsort((np.asarray(lanes.objective), violation.round(3)))


def _feasible_objective(lanes: Lanes | Optima) -> Floats:
    violation = np.max(np.asarray(lanes.constraints), axis=1)
    return np.where(violation <= RELAXED, np.asarray(lanes.objective), np.inf)
