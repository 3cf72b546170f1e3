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
)
from codesign.optimize.lagrangian import Lanes, Schedule, Start, descender
from codesign.optimize.problem import Problem, Theta, hard_evaluator, puller
from codesign.optimize.space import Floats, Space
from codesign.serving.design import Design

GROUP = 64  # lanes whose arrays fit in the cache together
ELITE = 32
POLISH_TRIALS = 160  # per free variable and round
PENALTIES = (3.0, 300.0)  # on the sum of violations, first and last round
SCALES = np.tile(np.geomspace(0.03, 1e-4, 8), 5)  # spread of the moves, box = 1
POLISH_ROUNDS = len(SCALES)
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


class Engine:
    """The two compiled functions of a problem, shared by all its searches."""

    def __init__(self, problem: Problem, space: Space, *, schedule: Schedule) -> None:
        self.problem = problem
        self.space = space
        self.schedule = schedule
        self._descend = descender(problem, schedule)
        self._hard = hard_evaluator(problem)
        self._pull = puller(problem)

    def compile(self, values: Floats, theta: Theta) -> None:
        """Compile all functions for a design's shapes, each in a thread.

        Tracing holds the interpreter's lock and goes one after the other; XLA
        does not.
        """
        points = jnp.tile(self.space.encode(values), (GROUP, 1))
        start = Start(
            points=points, free=jnp.zeros(points.shape, bool), margin=jnp.zeros(GROUP)
        )
        weights = np.zeros(len(self.problem.constraint_names) + 1)
        with ThreadPoolExecutor() as pool:
            compiled = [
                pool.submit(self._descend.lower(start, theta).compile),
                pool.submit(self._hard.lower(points, theta).compile),
                pool.submit(
                    self._pull.lower(points[0], theta, weights=weights).compile
                ),
            ]
        for done in compiled:
            done.result()

    def pull_back(
        self, values: Floats, theta: Theta, *, weights: Floats
    ) -> tuple[Floats, Floats, Design]:
        """Objective and constraints, and the gradient of their weighted sum."""
        return jax.device_get(
            self._pull(self.space.encode(values), theta, weights=weights)
        )

    def descend(
        self, values: Floats, theta: Theta, *, free: Mask, margin: float = 0.0
    ) -> Lanes:
        """Augmented-Lagrangian descent of a batch of lanes."""
        points = self.space.encode(values)
        points = np.where(free, np.clip(points, 0.0, 1.0), points)
        margins = np.full((len(values), 1), margin)
        groups = self._groups(points, free, margins)
        found = self._parallel(
            lambda p, f, m: self._descend(
                Start(points=p, free=f, margin=m[:, 0]), theta
            ),
            groups,
        )
        return jax.tree.map(
            lambda *leaves: np.concatenate(leaves)[: len(values)], *found
        )

    def evaluate(self, values: Floats, theta: Theta) -> Pool:
        """Hard objective and worst violation of legal designs."""
        objective, constraints = self.constraints(values, theta)
        violation = np.max(constraints, axis=1)
        violation = np.where(np.isfinite(violation), violation, np.inf)
        excess = np.sum(np.maximum(constraints, 0.0), axis=1)
        return Pool(values, objective, violation, np.where(excess >= 0, excess, np.inf))

    def constraints(self, values: Floats, theta: Theta) -> tuple[Floats, Floats]:
        """Hard objective and every constraint of legal designs."""
        groups = self._groups(self.space.encode(values))
        found = self._parallel(lambda p: self._hard(p, theta), groups)
        objective, constraints = (
            np.concatenate(part)[: len(values)] for part in zip(*found, strict=True)
        )
        return objective, constraints

    def _groups(self, *arrays: Any) -> list[tuple[Any, ...]]:
        """Arrays cut into groups of equal size, the last one filled up."""
        count = len(arrays[0])
        index = np.minimum(np.arange(-(-count // GROUP) * GROUP), count - 1)
        cut = [a[index].reshape(-1, GROUP, a.shape[-1]) for a in arrays]
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
            lanes = self.descend(
                fixed, theta, free=np.tile(mask & ~held, (count, 1)), margin=MARGIN
            )
            reached = self._reached(lanes, given=fixed, mask=mask & ~held)
            pool = pool.join(self.evaluate(space.round(reached, mask=mask), theta))
            reached_best = float(np.min(_feasible_objective(lanes)))
            bound = bound if stage == "integers" else min(bound, reached_best)
            log.note(stage, _feasible_objective(lanes))
        pool = self._polish(pool, theta, mask=mask, rng=rng)
        log.note("polish", np.where(pool.violation <= FEASIBLE, pool.objective, np.inf))
        relaxed_best = float(np.exp(bound)) if np.isfinite(bound) else np.nan
        return Found(pool, relaxed_best, agreement, log.trace)

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

    def _reached(self, lanes: Lanes, *, given: Floats, mask: Mask) -> Floats:
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


def _order(lanes: Lanes) -> NDArray[np.intp]:
    """Lanes from best to worst: first by violation, then by objective."""
    violation = np.maximum(np.max(np.asarray(lanes.constraints), axis=1), RELAXED)
    return np.lexsort((np.asarray(lanes.objective), violation.round(3)))


def _feasible_objective(lanes: Lanes) -> Floats:
    violation = np.max(np.asarray(lanes.constraints), axis=1)
    return np.where(violation <= RELAXED, np.asarray(lanes.objective), np.inf)
