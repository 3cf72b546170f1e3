"""How is one optimum found? Relax, fix the choices, round, polish.

Problem, parameters, mask of free variables, known designs -> best legal design.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from codesign.optimize.discrete import FEASIBLE, Mask, Pool, mutate, neighbours
from codesign.optimize.lagrangian import GROUP, Lanes, Schedule, descender
from codesign.optimize.problem import Problem, Theta, hard_evaluator
from codesign.optimize.space import Floats, Space

CHUNK = 1024
ELITE = 32
POLISH_ROUNDS = 24
POLISH_COPIES = 128
MARGIN = 3e-4  # tightening of the limits before values are rounded

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """Outcome of one search: pool of legal designs, relaxed value, trace."""

    pool: Pool
    relaxed: float
    agreement: float
    trace: list[dict[str, Any]] = field(default_factory=list)


class Engine:
    """The two compiled functions of a problem, shared by all its searches."""

    def __init__(
        self, problem: Problem, space: Space, *, starts: int, schedule: Schedule
    ) -> None:
        self.problem = problem
        self.space = space
        self.starts = starts
        self.schedule = schedule
        self._descend = descender(problem, schedule)
        self._hard = hard_evaluator(problem, chunk=GROUP)

    def descend(
        self, values: Floats, free: Mask, theta: Theta, *, margin: float = 0.0
    ) -> Lanes:
        """Augmented-Lagrangian descent of ``starts`` lanes."""
        points = self.space.encode(values)
        inside = np.clip(points, 0.0, 1.0)
        points = np.where(free, inside, points)
        return self._descend(
            jnp.asarray(points), jnp.asarray(free), jnp.asarray(margin), theta
        )

    def evaluate(self, values: Floats, theta: Theta) -> Pool:
        """Hard objective and worst violation of legal designs."""
        count = len(values)
        padded = -(-count // CHUNK) * CHUNK
        filled = np.concatenate([values, np.repeat(values[:1], padded - count, axis=0)])
        objective, constraints = self._hard(
            jnp.asarray(self.space.encode(filled)), theta
        )
        violation = np.max(np.asarray(constraints), axis=1)
        violation = np.where(np.isfinite(violation), violation, np.inf)
        return Pool(values, np.asarray(objective)[:count], violation[:count])

    def constraints(self, values: Floats, theta: Theta) -> tuple[float, Floats]:
        """Hard objective and every constraint of one design."""
        filled = np.repeat(values[None], CHUNK, axis=0)
        objective, constraints = self._hard(
            jnp.asarray(self.space.encode(filled)), theta
        )
        return float(objective[0]), np.asarray(constraints)[0]

    def search(
        self,
        theta: Theta,
        *,
        mask: Mask,
        known: Floats,
        rng: np.random.Generator,
        progress: Progress,
    ) -> Found:
        """Best legal designs when the masked variables are free.

        Starts are the known designs and random points; the known designs stay
        in the pool, so the result is never worse than they are.
        """
        clock = time.perf_counter()
        trace: list[dict[str, Any]] = []

        def note(stage: str, objective: float, feasible: float) -> None:
            elapsed = time.perf_counter() - clock
            value = float(np.exp(objective))
            trace.append(
                {
                    "stage": stage,
                    "seconds": elapsed,
                    "best": value,
                    "feasible": feasible,
                }
            )
            progress(f"{stage:<10} best {value:.5g}  feasible {feasible:.0%}")

        pool = self.evaluate(self.space.round(known, mask=mask), theta)
        lanes = self.descend(
            self._starts(known, mask, rng), np.tile(mask, (self.starts, 1)), theta
        )
        relaxed = _feasible_objective(lanes, 1e-3)
        note("relaxed", np.min(relaxed), np.mean(np.isfinite(relaxed)))
        best = np.min(relaxed)
        agreement = float(np.mean(relaxed <= best + 1e-3)) if np.isfinite(best) else 0.0
        seeds = self._sorted_values(lanes)
        for stage in ("choices", "integers"):
            columns = self.space.coarse | (self.space.fine & (stage == "integers"))
            fixed = neighbours(self.space, seeds, mask=mask, count=self.starts, rng=rng)
            fixed = self.space.round(fixed, mask=mask & columns)
            free = np.tile(mask & ~columns, (self.starts, 1))
            lanes = self.descend(fixed, free, theta, margin=MARGIN)
            legal = self.space.round(self._values(lanes, fixed, columns), mask=mask)
            pool = pool.join(self.evaluate(legal, theta))
            relaxed = _feasible_objective(lanes, 1e-3)
            note(stage, np.min(relaxed), np.mean(np.isfinite(relaxed)))
            seeds = self._sorted_values(lanes)[:ELITE]
        pool = self._polish(pool, theta, mask=mask, rng=rng)
        top = pool.best(1)
        note("polish", top.objective[0], float(np.mean(pool.violation <= FEASIBLE)))
        return Found(pool, float(np.exp(best)), agreement, trace)

    def _starts(self, known: Floats, mask: Mask, rng: np.random.Generator) -> Floats:
        random = self.space.decode(
            rng.uniform(size=(self.starts, len(self.space.paths)))
        )
        near = self.space.encode(known[np.arange(self.starts) % len(known)])
        jitter = near + 0.1 * rng.normal(size=near.shape)
        jittered = self.space.decode(np.clip(jitter, 0.0, 1.0))
        half = np.arange(self.starts)[:, None] % 2 == 0
        base = known[np.arange(self.starts) % len(known)]
        starts = np.where(mask, np.where(half, random, jittered), base)
        starts[: len(known)] = known[: self.starts]
        return starts

    def _values(self, lanes: Lanes, fixed: Floats, columns: Mask) -> Floats:
        return np.where(columns, fixed, self.space.decode(np.asarray(lanes.points)))

    def _sorted_values(self, lanes: Lanes) -> Floats:
        violation = np.max(np.asarray(lanes.constraints), axis=1)
        order = np.lexsort(
            (np.asarray(lanes.objective), np.maximum(violation, 1e-3).round(3))
        )
        return self.space.decode(np.asarray(lanes.points))[order]

    def _polish(
        self, pool: Pool, theta: Theta, *, mask: Mask, rng: np.random.Generator
    ) -> Pool:
        columns = mask & self.space.coarse
        for turn in range(POLISH_ROUNDS):
            elite = pool.distinct(ELITE, columns=columns)
            scale = 10.0 ** rng.uniform(-4.5, -1.0)
            copies = POLISH_COPIES * ELITE // len(elite.values)
            trial = mutate(
                self.space, elite.values, mask=mask, scale=scale, copies=copies, rng=rng
            )
            pool = elite.join(self.evaluate(trial, theta)).best(8 * ELITE)
            if turn == POLISH_ROUNDS - 1:
                pool = pool.best(ELITE)
        return pool


def _feasible_objective(lanes: Lanes, tolerance: float) -> Floats:
    violation = np.max(np.asarray(lanes.constraints), axis=1)
    return np.where(violation <= tolerance, np.asarray(lanes.objective), np.inf)
