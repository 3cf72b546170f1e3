"""How is one optimum found? Relax, look at combinations of choices, round, polish.

Engine, parameters, mask of free variables, known designs -> best legal designs.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from codesign.optimize.checkpoint import Checkpoint, Kept
from codesign.optimize.discrete import (
    FEASIBLE,
    Mask,
    Pool,
    mutate,
    neighbours,
    pairs,
    scatter,
    step_aside,
)
from codesign.optimize.ends import (
    feasible_objective,
    ranked_ends,
    reached_values,
    without_number,
)
from codesign.optimize.engine import GROUP, Engine
from codesign.optimize.inert import Live
from codesign.optimize.interior import Optima
from codesign.optimize.lagrangian import Lanes
from codesign.optimize.problem import Theta
from codesign.optimize.space import Floats
from codesign.optimize.trace import FIRST_STARTS, OTHER_STARTS, Log, Progress

ELITE = 32
POLISH_TRIALS = 160  # per free variable and round
PENALTIES = (3.0, 300.0)  # on the sum of violations, first and last round
SCALES = np.tile(np.geomspace(0.03, 1e-4, 8), 5)  # spread of the moves, box = 1
LEAST_LANES = 128  # that round integers, or as many as there are starts
MOST_LOOKS = 4
LOOKED = 1024  # combinations of choices that a look puts on the hard model
LOOK_SCALES = np.tile(np.geomspace(0.05, 1e-3, 8), 2)
LOOK_KEEPS = 8  # designs that a look leaves to the stages after it
POOL = ("values", "objective", "violation", "excess")
MOST_PROBED = 8 * ELITE  # designs that a polish begins with
AGREEMENT = 1e-3  # of the logarithmic objective
MARGIN = 3e-4  # tightening of the limits before values are rounded
NEARLY = 24  # iterations of the interior point method: what it finds is polished


@dataclass(frozen=True)
class Found:
    """Outcome of one search.

    ``relaxed`` is the best objective with the listed choices fixed and integers
    and multiples continuous; ``agreement`` the share of the fully relaxed
    starts within 0.1 % of their best. ``lost`` are values of lanes that could not
    be evaluated; the trace counts all of them.
    """

    pool: Pool
    relaxed: float
    agreement: float
    trace: list[dict[str, Any]] = field(default_factory=list)
    lost: Floats = field(default_factory=lambda: np.zeros((0, 0)))


@dataclass
class _State:
    """What a search knows after a number of its stages.

    ``seeds`` are the ends of the last descents, ``solved`` of lanes with their choices
    held, both best first.
    """

    pool: Pool
    seeds: Pool
    solved: Pool
    relaxed: Floats
    bound: float = np.inf
    done: int = 0


@dataclass(frozen=True)
class Look:
    """What a look found: its best designs, its solved lanes, and the best of these."""

    pool: Pool
    solved: Pool
    bound: float
    log: Log


Stage = Callable[..., Floats]


@dataclass(frozen=True)
class Search:
    """One search: what is solved, which variables move, and from which draws.

    ``weights`` of objective and constraints stand for the objective if given.
    With a ``checkpoint`` the state is kept under ``name`` after every stage, and
    a search that was stopped goes on from the last one.
    """

    engine: Engine
    theta: Theta
    mask: Mask
    rng: np.random.Generator
    weights: Floats | None = None
    checkpoint: Checkpoint | None = None
    name: str = "search"

    def run(self, known: Floats, *, starts: int, progress: Progress) -> Found:
        """Best legal designs when the masked variables are free.

        Starts are the known designs and random points. The first of them are taken to
        a legal design at once; the others are dealt to further looks at once. The known
        designs stay in the pool, so the result is never worse than they are.
        """
        log = Log(progress, lost=np.zeros((0, known.shape[1])))
        count = max(starts // 2, min(starts, LEAST_LANES))
        looks = min(-(-starts // GROUP), MOST_LOOKS)
        first, rest = min(starts, GROUP), starts - GROUP
        state = self._recalled(log) or self._begun(known, log=log)
        others: tuple[tuple[str, Stage], ...] = (
            (OTHER_STARTS, partial(self._descend, known=known, count=rest)),
            ("looks", partial(self._looks, known=known, count=looks - 1)),
        )
        stages: tuple[tuple[str, Stage], ...] = (
            (FIRST_STARTS, partial(self._relax, known=known, count=first)),
            ("look", partial(self._looks, known=known, count=1)),
            *(others if rest > 0 else ()),
            ("pairs", partial(self._pairs, count=LEAST_LANES)),
            ("integers", partial(self._integers, count=count)),
            ("polish", partial(self._polished, count=count)),
        )
        for name, stage in stages[state.done :]:
            log.note(name, stage(state, log=log))
            state.done += 1
            self._keep(state, log)
        best = float(np.exp(state.bound)) if np.isfinite(state.bound) else np.nan
        agreement = _agreement(state.relaxed)
        return Found(state.pool, best, agreement, log.trace, log.lost)

    def _begun(self, known: Floats, *, log: Log) -> _State:
        pool = self._known(known, log=log)
        none = pool.take(np.s_[:0])
        return _State(pool, seeds=none, solved=none, relaxed=np.zeros(0))

    def _known(self, known: Floats, *, log: Log) -> Pool:
        rounded = self.engine.space.round(known, mask=self.mask)
        return self._evaluate(np.concatenate([known, rounded]), log=log)

    def _relax(self, state: _State, *, known: Floats, count: int, log: Log) -> Floats:
        """Starts solved with all masked variables continuous, soon and roughly."""
        solve = partial(self.engine.refine, iterations=NEARLY)
        return self._from_starts(state, solve, known=known, count=count, log=log)

    def _descend(self, state: _State, *, known: Floats, count: int, log: Log) -> Floats:
        """Starts descend with all masked variables continuous."""
        solve = self.engine.descend
        return self._from_starts(state, solve, known=known, count=count, log=log)

    def _from_starts(
        self,
        state: _State,
        solve: Callable[..., Lanes | Optima],
        *,
        known: Floats,
        count: int,
        log: Log,
    ) -> Floats:
        """Random points and designs around the known ones, solved by one method."""
        given, none = self._starts(known, count=count), np.zeros_like(self.mask)
        lanes, state.seeds = self._solved(solve, given, held=none, log=log)
        found = feasible_objective(lanes)
        state.relaxed = np.concatenate([state.relaxed, found])
        return state.relaxed

    def _looks(self, state: _State, *, known: Floats, count: int, log: Log) -> Floats:
        """Looks side by side around a share of the seeds each.

        None knows what another found, so that one family does not crowd them all.
        """
        draws = self.rng.integers(2**63, size=count)
        apart = [replace(self, rng=np.random.default_rng(draw)) for draw in draws]
        dealt = [state.seeds.dealt(place, count=count) for place in range(count)]
        begun = self._known(known, log=log)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            looks = pool.map(lambda s, seeds: s.look(seeds, begun=begun), apart, dealt)
            for look in looks:
                log.absorb(look.log)
                state.pool = state.pool.join(look.pool)
                state.solved = state.solved.join(look.solved).ranked()
                state.bound = min(state.bound, look.bound)
        return _legal_objective(state.pool)

    def look(self, seeds: Pool, *, begun: Pool) -> Look:
        """The best combinations of choices around seeds, solved and polished a little.

        The hard model says which combinations are worth solving: a thousand of its
        values take less time than one descent.
        """
        space, mask = self.engine.space, self.mask
        log = Log(lambda _: None, lost=np.zeros((0, len(mask))))
        near = neighbours(space, seeds.values, mask=mask, count=LOOKED, rng=self.rng)
        pool = begun.join(self._evaluate(space.round(near, mask=mask), log=log))
        held = mask & space.coarse
        each = max(1, GROUP // space.num_combinations(held))
        chosen = pool.distinct(GROUP, columns=held, penalty=PENALTIES[0], each=each)
        lanes, solved = self._solved(self._refine, chosen.values, held=held, log=log)
        legal = self._evaluate(space.round(solved.values, mask=mask), log=log)
        polished = self._polish(pool.join(legal), scales=LOOK_SCALES, log=log)
        bound = float(np.min(feasible_objective(lanes)))
        return Look(polished.best(LOOK_KEEPS), solved, bound, log)

    def _pairs(self, state: _State, *, count: int, log: Log) -> Floats:
        """The best design with one or two of its choices moved, all else solved."""
        space, held = self.engine.space, self.mask & self.engine.space.coarse
        best = state.pool.best(1).values
        live = self._live().columns(best, mask=held)[0]
        given = pairs(space, best[0], mask=live, count=count, rng=self.rng)
        if len(given) > 1:
            lanes, found = self._solved(self._refine, given, held=held, log=log)
            legal = self._evaluate(space.round(found.values, mask=self.mask), log=log)
            state.pool = state.pool.join(legal)
            state.solved = state.solved.join(found).ranked()
            state.bound = min(state.bound, float(np.min(feasible_objective(lanes))))
        return _legal_objective(state.pool)

    def _integers(self, state: _State, *, count: int, log: Log) -> Floats:
        """Solved lanes rounded up or down at random, the rest solved again."""
        space, mask = self.engine.space, self.mask
        held = mask & (space.coarse | space.fine)
        given = scatter(
            space, state.solved.values, mask=held, count=count, rng=self.rng
        )
        _, found = self._solved(self._refine, given, held=held, log=log)
        legal = self._evaluate(space.round(found.values, mask=mask), log=log)
        state.pool = state.pool.join(legal)
        return _legal_objective(state.pool)

    def _polished(self, state: _State, *, count: int, log: Log) -> Floats:
        """Designs a few steps around the best, solved again, then the polish."""
        near = self._around(state.pool, count=count, log=log)
        state.pool = self._polish(near, scales=SCALES, log=log)
        return _legal_objective(state.pool)

    def _recalled(self, log: Log) -> _State | None:
        """The state that was kept, with the draws that come next."""
        kept = self.checkpoint.recall(self.name) if self.checkpoint else None
        if kept is None:
            return None
        arrays, facts = kept
        self.rng.bit_generator.state = facts["rng"]
        log.resume(facts["trace"], lost=arrays["lost"])
        log.progress(f"{facts['done']} stages were finished before")
        return _State(
            pool=Pool(*(arrays[name] for name in POOL)),
            seeds=Pool(*(arrays[f"seeds_{name}"] for name in POOL)),
            solved=Pool(*(arrays[f"solved_{name}"] for name in POOL)),
            relaxed=arrays["relaxed"],
            bound=float(arrays["bound"]),
            done=int(facts["done"]),
        )

    def _keep(self, state: _State, log: Log) -> None:
        if self.checkpoint is None:
            return
        pools = {"": state.pool, "seeds_": state.seeds, "solved_": state.solved}
        arrays = {
            f"{prefix}{name}": getattr(pool, name)
            for prefix, pool in pools.items()
            for name in POOL
        }
        arrays |= {"relaxed": state.relaxed, "lost": log.lost}
        arrays["bound"] = np.array(state.bound)
        draws = self.rng.bit_generator.state
        facts = {"trace": log.trace, "done": state.done, "rng": draws}
        self.checkpoint.keep(self.name, Kept(arrays, facts))

    def _evaluate(self, values: Floats, *, log: Log) -> Pool:
        """Hard values of designs; those without a number are dropped."""
        pool = self.engine.evaluate(values, self.theta, weights=self.weights)
        sound = ~np.isnan(pool.objective) & ~np.isnan(pool.excess)
        if sound.all():
            return pool
        log.drop(values[~sound])
        return pool.take(np.flatnonzero(sound))

    def _live(self) -> Live:
        """Which variables change anything; to be asked of designs."""

        def outcomes(values: Floats) -> Floats:
            return np.column_stack(self.engine.constraints(values, self.theta))

        return Live(self.engine.space, outcomes)

    @property
    def _refine(self) -> Callable[..., Optima]:
        return partial(self.engine.refine, margin=MARGIN, iterations=NEARLY)

    def _solved(
        self,
        solve: Callable[..., Lanes | Optima],
        given: Floats,
        *,
        held: Mask,
        log: Log,
    ) -> tuple[Lanes | Optima, Pool]:
        """Lanes solved with some variables held, and what they reached, best first."""
        free, count = self.mask & ~held, len(given)
        goal = self.engine.goal(self.theta, count, weights=self.weights)
        lanes = solve(given, self.theta, free=np.tile(free, (count, 1)), goal=goal)
        lost = without_number(lanes)
        if lost.any():
            log.drop(given[lost])
        reached = reached_values(self.engine.space, lanes, given=given, mask=free)
        return lanes, ranked_ends(lanes, reached, given=given)

    def _around(self, pool: Pool, *, count: int, log: Log) -> Pool:
        """Integers and multiples a few steps from the best, the rest solved again."""
        space, mask = self.engine.space, self.mask
        held = mask & (space.coarse | space.fine)
        near = step_aside(space, pool.values, mask=held, count=count, rng=self.rng)
        _, found = self._solved(self._refine, near, held=held, log=log)
        legal = space.round(found.values, mask=mask)
        return pool.join(self._evaluate(legal, log=log))

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

    def _polish(self, pool: Pool, *, scales: Floats, log: Log) -> Pool:
        """Neighbourhood search on the hard model under a growing exact penalty."""
        space, mask = self.engine.space, self.mask
        penalties = np.geomspace(*PENALTIES, len(scales))
        whole = mask & (space.coarse | space.fine)
        live = self._live()
        pool = pool.take(pool.order(penalties[0])[:MOST_PROBED])
        for penalty, scale in zip(penalties, scales, strict=True):
            columns = live.columns(pool.values, mask=whole)
            elite = pool.distinct(ELITE, columns=columns, penalty=penalty)
            copies = max(1, POLISH_TRIALS * int(mask.sum()) // len(elite.values))
            trials = self._evaluate(
                mutate(
                    space,
                    elite.values,
                    mask=mask,
                    scale=scale,
                    copies=copies,
                    rng=self.rng,
                ),
                log=log,
            )
            kept = trials.take(trials.order(penalty)[: 4 * ELITE])
            pool = pool.best(ELITE).join(elite).join(kept)
        return pool.best(ELITE)


def _agreement(relaxed: Floats) -> float:
    """Share of lanes near the best one, 0 if none is feasible."""
    best = float(np.min(relaxed))
    return float(np.mean(relaxed <= best + AGREEMENT)) if np.isfinite(best) else 0.0


def _legal_objective(pool: Pool) -> Floats:
    return np.where(pool.violation <= FEASIBLE, pool.objective, np.inf)
