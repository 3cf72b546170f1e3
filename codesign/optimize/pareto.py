"""What does one metric cost in another? Designs that no other beats in all.

Study and two or three metrics -> the designs on their Pareto front.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codesign.config.limits import (
    LESS_LOSS,
    Limit,
    metric_units,
    read_metric,
    read_traded,
)
from codesign.config.study import Study
from codesign.core.errors import InputError
from codesign.core.show import html_table, quantity_text, text_table
from codesign.optimize.climber import EVERYTHING, UNBOUNDED, Climber
from codesign.optimize.discrete import FEASIBLE, Mask, mutate
from codesign.optimize.ends import reached_values
from codesign.optimize.engine import Goal
from codesign.optimize.front import hypervolume, non_dominated
from codesign.optimize.groups import best_first, legal_around
from codesign.optimize.problem import Theta
from codesign.optimize.result import Rung
from codesign.optimize.search import MARGIN, SCALES, Search
from codesign.optimize.space import Floats
from codesign.optimize.trace import Progress, silent
from codesign.outcome.text import PER_BYTE

LANES = 8  # starts of each level, handed to fewer levels at first
BETWEEN = 6  # levels to one with lanes of its own at first
ELITE = 2  # designs of each level that the polish varies
COPIES = 24
KEPT = 8  # designs of each level that a round of the polish keeps
PENALTIES = (3.0, 300.0)
STRICT = 1e9  # penalty under which nothing may be broken
RANKS = (0, 1, 2, 3, 5, 8, 13, 21)  # levels that hand designs to a lane, by distance
BEYOND = 1e-6  # of a level, so that its own end is inside
FAR = 100.0  # above any quality, whose limits are differences


@dataclass(frozen=True)
class Front:
    """Designs on a front: every metric smaller or equal is better.

    ``values`` has one row per design and one column per metric, in SI;
    ``hypervolume`` is that of ln(values), of quality itself, within the worst of
    both ends.
    ``tuned`` is the tuned baseline, which is not on the front as a rule.
    """

    study: Study
    metrics: tuple[str, ...]
    rungs: tuple[Rung, ...]
    values: Floats
    tuned: Rung
    hypervolume: float

    def __str__(self) -> str:
        return f"{self.study.name}: {self._note()}\n{text_table(self._table())}"

    def _repr_html_(self) -> str:
        """Designs and their metrics: what a notebook shows."""
        head, *rows = self._table()
        return html_table(head, rows, note=self._note())

    def _table(self) -> list[tuple[str, ...]]:
        units = [metric_units()[name] for name in self.metrics]
        rows = [
            (str(i), *map(quantity_text, values, units))
            for i, values in enumerate(self.values)
        ]
        return [("design", *self.metrics), *rows]

    def _note(self) -> str:
        return f"{len(self.rungs)} designs, hypervolume {self.hypervolume:.4g}."


def pareto(
    study: Study,
    *,
    x: str,
    y: str | None = None,
    z: str | None = None,
    points: int = 48,
    progress: Progress = silent,
) -> Front:
    """The designs that no other beats in ``y``, ``x`` and, if given, ``z``.

    Both ends of every trade are searched first; between them ``y`` is minimised
    at levels of the others, all levels in the same batch, and neighbours hand
    their designs on (epsilon constraints). ``y`` is the study's objective if not
    given; all limits of the study hold. ``x`` and ``z`` may be quality, such as
    ``quality.gap``.

    Assumes: smaller is better in each metric.
    Source: Haimes, Lasdon, Wismer, "On a bicriterion formulation", IEEE Trans.
    Syst. Man Cybern. 1(3), 1971.

    Raises:
        InputError: a metric is unknown, stands twice, is better when larger, or counts
            per token where the vocabulary is free.
    """
    first = read_metric(y or study.minimize)
    traded = [read_traded(name) for name in (x, z) if name]
    metrics = _checked(study, (first, *traded))
    tracer = _Tracer(study, metrics, progress=progress)
    return tracer.front(points)


def _checked(study: Study, found: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(found)) < len(found):
        raise InputError(f"{', '.join(found)}: name different metrics.")
    for name in found:
        if study.terms.text and name in PER_BYTE:
            raise InputError(
                f"{name}: the vocabulary is free, so a token is no fixed amount of "
                f"text; name {PER_BYTE[name]} instead."
            )
    return found


@dataclass(frozen=True)
class _Archive:
    """Legal designs, their metrics and what limits they break.

    Metrics are logarithms, quality is as it is.
    """

    values: Floats
    metrics: Floats
    excess: Floats

    def join(self, other: "_Archive") -> "_Archive":
        both = [
            np.concatenate([getattr(self, n), getattr(other, n)])
            for n in ("values", "metrics", "excess")
        ]
        _, first = np.unique(np.log(both[0]).round(12), axis=0, return_index=True)
        return _Archive(*(part[first] for part in both))

    def take(self, index: NDArray[np.intp]) -> "_Archive":
        return _Archive(self.values[index], self.metrics[index], self.excess[index])

    def best(self, levels: Floats, *, count: int, penalty: float) -> NDArray[np.intp]:
        """The best designs of every level under a penalty, each once."""
        score = self._score(levels, penalty=penalty)
        return np.unique(np.argsort(score, axis=0, kind="stable")[:count])

    def best_of_each(self, levels: Floats) -> NDArray[np.intp]:
        """The best design of every level."""
        return np.argmin(self._score(levels, penalty=STRICT), axis=0)

    def _score(self, levels: Floats, *, penalty: float) -> Floats:
        over = np.maximum(self.metrics[:, None, 1:] - levels[None], 0.0).sum(axis=2)
        score = self.metrics[:, :1] + penalty * (self.excess[:, None] + over)
        return np.where(np.isfinite(score), score, np.inf)


class _Tracer:
    """A study with a limit for each metric that is traded, and its engine."""

    def __init__(
        self, study: Study, metrics: tuple[str, ...], *, progress: Progress
    ) -> None:
        quality = np.isin(metrics, LESS_LOSS)
        loosest = np.where(quality, FAR, UNBOUNDED)[1:]
        levels = [
            Limit(name, "<=", f"{name} <= level", value=float(bound))
            for name, bound in zip(metrics[1:], loosest, strict=True)
        ]
        self.metrics, self.is_ratio = metrics, ~quality
        self.loosest = np.where(quality[1:], loosest, np.log(loosest))
        self.traded = len(study.limits) + np.arange(len(levels))
        asked = replace(study, minimize=metrics[0], limits=(*study.limits, *levels))
        self.study, self.progress = study, progress
        self.climber = Climber(asked, progress)
        self.tuned = self.climber.tune(self.climber.as_given())
        self.mask = self.climber.space.select(EVERYTHING)

    @property
    def theta(self) -> Theta:
        return self.climber.theta

    def front(self, points: int) -> Front:
        """Ends, levels between them, families from level to level, non-dominated."""
        ends = self._archive(np.stack([self._end(i) for i in range(len(self.metrics))]))
        levels = self._levels(ends.metrics, points)
        archive = ends.join(self._anchored(ends.values, levels))
        archive = self._polish(archive, levels)
        archive = archive.join(self._handed_on(archive, levels))
        archive = self._polish(archive, levels)
        return self._report(archive, ends=ends, levels=levels)

    def _end(self, index: int) -> Floats:
        """The best legal design in one metric alone."""
        weights = np.zeros(len(self.climber.problem.constraint_names) + 1)
        weights[0 if index == 0 else 1 + self.traded[index - 1]] = 1.0
        self.progress(f"[least {self.metrics[index]}]")
        search = Search(
            self.climber.engine, self.theta, self.mask, self.climber.rng, weights
        )
        found = search.run(
            self.tuned.values[None],
            starts=self.study.search.starts,
            progress=self.progress,
        )
        return found.pool.best(1).values[0]

    def _levels(self, ends: Floats, points: int) -> Floats:
        """Levels of the traded metrics: a line, or a grid for three metrics."""
        traded = len(self.metrics) - 1
        each = points if traded == 1 else max(2, round(points ** (1 / traded)))
        lines = [
            np.linspace(np.min(ends[:, k]), np.max(ends[:, k]), each) + BEYOND
            for k in range(1, traded + 1)
        ]
        return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, traded)

    def _archive(self, values: Floats) -> _Archive:
        objective, constraints = self.climber.engine.constraints(values, self.theta)
        traded = constraints[:, self.traded] + self.loosest
        others = np.delete(constraints, self.traded, axis=1)
        broken = np.maximum(others - FEASIBLE, 0.0).sum(axis=1)
        return _Archive(
            values,
            np.column_stack([objective, traded]),
            np.where(np.isfinite(broken), broken, np.inf),
        )

    def _anchored(self, ends: Floats, levels: Floats) -> _Archive:
        """Legal designs at some levels, with lanes for a design of every choice.

        Starts are between the ends and at random; stages are those of a search.
        """
        space, mask, rng = self.climber.space, self.mask, self.climber.rng
        count = max(1, round(len(levels) / BETWEEN))
        places = np.linspace(0, len(levels) - 1, count + 2)[1:-1].round().astype(int)
        anchors, size = levels[places], LANES * len(levels) // count
        shape = (count * size, len(mask))
        shares = rng.dirichlet(np.ones(len(ends)), size=count * size)
        inner = shares @ space.encode(ends) + 0.05 * rng.normal(size=shape)
        between = np.arange(len(inner))[:, None] % 2 == 0
        points = np.clip(np.where(between, inner, rng.uniform(size=shape)), 0.0, 1.0)
        values = np.where(mask, space.decode(points), ends[0])
        reached = self._descended(values, anchors, free=mask)
        self.progress(f"relaxed    {count} levels, {len(values)} lanes")
        found = self._archive(space.round(reached, mask=mask))
        coarse, whole = mask & space.coarse, mask & (space.coarse | space.fine)
        given = legal_around(space, reached, held=coarse, size=size, rng=rng)
        reached = self._descended(given, anchors, free=mask & ~coarse)
        for held in (coarse, whole):
            reached = self._refined(reached, anchors, held=held)
            found = found.join(self._archive(space.round(reached, mask=mask)))
        self.progress("integers   at these levels")
        return found

    def _handed_on(self, archive: _Archive, levels: Floats) -> _Archive:
        """Designs of levels near and far, solved anew at every level.

        Their choices are held, so that a family of designs reaches every level at
        which it is the best.
        """
        space, mask = self.climber.space, self.mask
        best = archive.best_of_each(levels)
        apart = np.abs(levels[:, None] - levels[None]).sum(axis=2)
        ranks = np.minimum(RANKS, len(levels) - 1)
        near = np.argsort(apart, axis=1, kind="stable")[:, ranks]
        values = archive.values[best[near]].reshape(-1, len(mask))
        reached = self._descended(values, levels, free=mask & ~space.coarse)
        whole = mask & (space.coarse | space.fine)
        reached = self._refined(reached, levels, held=whole)
        self.progress(f"handed on  to {len(levels)} levels")
        return self._archive(space.round(reached, mask=mask))

    def _descended(self, values: Floats, levels: Floats, *, free: Mask) -> Floats:
        """Values that every level's lanes descend to, best first."""
        size = len(values) // len(levels)
        lanes = self.climber.engine.descend(
            values,
            self.theta,
            free=np.tile(free, (len(values), 1)),
            goal=self._goal(np.repeat(levels, size, axis=0)),
        )
        reached = reached_values(self.climber.space, lanes, given=values, mask=free)
        return best_first(lanes, reached, given=values, size=size)

    def _refined(self, reached: Floats, levels: Floats, *, held: Mask) -> Floats:
        """Legal held variables around every level's lanes, the others solved."""
        space, free = self.climber.space, self.mask & ~held
        size = len(reached) // len(levels)
        values = legal_around(
            space, reached, held=held, size=size, rng=self.climber.rng
        )
        optima = self.climber.engine.refine(
            values,
            self.theta,
            free=np.tile(free, (len(values), 1)),
            margin=MARGIN,
            goal=self._goal(np.repeat(levels, size, axis=0)),
        )
        reached = reached_values(space, optima, given=values, mask=free)
        return best_first(optima, reached, given=values, size=size)

    def _goal(self, levels: Floats) -> Goal:
        goal = self.climber.engine.goal(self.theta, len(levels))
        bounds = goal.bounds.copy()
        bounds[:, self.traded] = np.where(self.is_ratio[1:], np.exp(levels), levels)
        return goal._replace(bounds=bounds)

    def _polish(self, archive: _Archive, levels: Floats) -> _Archive:
        """Neighbourhood search at all levels at once; designs serve every level."""
        penalties = np.geomspace(*PENALTIES, len(SCALES))
        for penalty, scale in zip(penalties, SCALES, strict=True):
            elite = archive.take(archive.best(levels, count=ELITE, penalty=penalty))
            trial = mutate(
                self.climber.space,
                elite.values,
                mask=self.mask,
                scale=scale,
                copies=COPIES,
                rng=self.climber.rng,
            )
            archive = archive.join(self._archive(trial))
            kept = [
                archive.best(levels, count=KEPT, penalty=p) for p in (penalty, STRICT)
            ]
            archive = archive.take(np.unique(np.concatenate(kept)))
        self.progress("polish     at every level")
        return archive

    def _report(self, archive: _Archive, *, ends: _Archive, levels: Floats) -> Front:
        legal = archive.take(np.flatnonzero(archive.excess <= 0))
        best = legal.take(legal.best(levels, count=1, penalty=STRICT))
        best = best.join(ends.take(np.flatnonzero(ends.excess <= 0)))
        best = best.take(np.flatnonzero(non_dominated(best.metrics)))
        best = best.take(np.argsort(best.metrics[:, 1], kind="stable"))
        rungs = tuple(
            self.climber.rung(f"{index}", values)
            for index, values in enumerate(best.values)
        )
        return Front(
            study=self.study,
            metrics=self.metrics,
            rungs=rungs,
            values=np.where(self.is_ratio, np.exp(best.metrics), best.metrics),
            tuned=self.tuned,
            hypervolume=hypervolume(best.metrics, np.max(ends.metrics, axis=0)),
        )
