"""What does one metric cost in another? Designs that no other beats in all.

Study and two or three metrics -> the designs on their Pareto front.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

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
from codesign.optimize.checkpoint import Checkpoint, Kept
from codesign.optimize.climber import EVERYTHING, UNBOUNDED, Climber
from codesign.optimize.discrete import FEASIBLE, Mask, mutate
from codesign.optimize.ends import reached_values, without_number
from codesign.optimize.engine import Goal
from codesign.optimize.front import hypervolume, non_dominated
from codesign.optimize.groups import best_first, legal_around
from codesign.optimize.levels import STRICT, Archive
from codesign.optimize.problem import Theta
from codesign.optimize.relax import Relaxer
from codesign.optimize.result import Relaxation, Rung, infeasible_text
from codesign.optimize.search import MARGIN, SCALES, Found, Search
from codesign.optimize.space import Floats
from codesign.optimize.trace import Log, Lost, Progress, Searched, all_lost, silent
from codesign.outcome.text import PER_BYTE

LANES = 8  # starts of each level, handed to fewer levels at first
BETWEEN = 6  # levels to one with lanes of its own at first
ANCHORS = 8  # least number of these, unless there are fewer levels
LEAST_LANES = 24  # that each of these has
ELITE = 2  # designs of each level that the polish varies
COPIES = 24
KEPT = 8  # designs of each level that a round of the polish keeps
PENALTIES = (3.0, 300.0)
RANKS = (0, 1, 2, 3, 5, 8, 13, 21)  # levels that hand designs to a lane, by distance
BEYOND = 1e-6  # of a level, so that its own end is inside
SAME = 1e-4  # in every metric, of designs that are told once
ARCHIVE = ("values", "metrics", "excess")
STATE = "front"  # name of the designs between the ends in a checkpoint
FAR = 100.0  # above any quality, whose limits are differences


@dataclass(frozen=True)
class Front:
    """Designs on a front: every metric smaller or equal is better.

    ``values`` has one row per design and one column per metric, in SI;
    ``hypervolume`` is that of ln(values), of quality itself, within the worst of
    both ends.
    ``tuned`` is the tuned baseline, which is not on the front as a rule. Where no
    design keeps all limits there are none; ``relaxation`` is then the smallest change
    of the limits that lets one exist, ``nearest`` that design, or the one of least
    violation. ``lost`` are lanes of all searches that had no number.
    """

    study: Study
    metrics: tuple[str, ...]
    rungs: tuple[Rung, ...]
    values: Floats
    tuned: Rung
    hypervolume: float
    relaxation: Relaxation | None = None
    nearest: Rung | None = None
    lost: Lost = field(default_factory=Lost)

    @property
    def feasible(self) -> bool:
        """Whether any design keeps every limit."""
        return bool(self.rungs)

    @property
    def status(self) -> str:
        """What was found, in a sentence."""
        found = f"{len(self.rungs)} designs, hypervolume {self.hypervolume:.4g}."
        if self.relaxation is not None and self.nearest is not None:
            found = infeasible_text(self.nearest, self.relaxation)
        return " ".join(filter(None, (found, self.lost.text)))

    def __str__(self) -> str:
        return f"{self.study.name}: {self.status}\n{text_table(self._table())}"

    def _repr_html_(self) -> str:
        """Designs and their metrics: what a notebook shows."""
        head, *rows = self._table()
        return html_table(head, rows, note=self.status)

    def _table(self) -> list[tuple[str, ...]]:
        units = [metric_units()[name] for name in self.metrics]
        rows = [
            (str(i), *map(quantity_text, values, units))
            for i, values in enumerate(self.values)
        ]
        return [("design", *self.metrics), *rows]


def pareto(
    study: Study,
    *,
    x: str,
    y: str | None = None,
    z: str | None = None,
    points: int = 48,
    progress: Progress = silent,
    checkpoint: Path | str | None = None,
) -> Front:
    """The designs that no other beats in ``y``, ``x`` and, if given, ``z``.

    Both ends of every trade are searched first; between them ``y`` is minimised
    at levels of the others, all levels in the same batch, and neighbours hand
    their designs on (epsilon constraints). ``y`` is the study's objective if not
    given; all limits of the study hold. ``x`` and ``z`` may be quality, such as
    ``quality.gap``. Where no design keeps all limits, the front is empty and says what
    to change. ``checkpoint`` as in ``optimize``.

    Assumes: smaller is better in each metric.
    Source: Haimes, Lasdon, Wismer, "On a bicriterion formulation", IEEE Trans.
    Syst. Man Cybern. 1(3), 1971.

    Raises:
        InputError: a metric is unknown, stands twice, is better when larger, or counts
            per token where the vocabulary is free; the checkpoint is of another
            question or version.
    """
    first = read_metric(y or study.minimize)
    traded = [read_traded(name) for name in (x, z) if name]
    metrics = _checked(study, (first, *traded))
    tracer = _Tracer(study, metrics, progress=progress, checkpoint=checkpoint)
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


class _Tracer:
    """A study with a limit for each metric that is traded, and its engine."""

    def __init__(
        self,
        study: Study,
        metrics: tuple[str, ...],
        *,
        progress: Progress,
        checkpoint: Path | str | None = None,
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
        self.climber = Climber(asked, progress, checkpoint=checkpoint)
        self.log = Log(progress, lost=np.zeros((0, len(self.climber.space.paths))))
        self.tuned = self.climber.tune(self.climber.as_given())
        self.mask = self.climber.space.select(EVERYTHING)

    @property
    def theta(self) -> Theta:
        return self.climber.theta

    def front(self, points: int) -> Front:
        """Ends, levels between them, families from level to level, non-dominated."""
        found = [self._end(index) for index in range(len(self.metrics))]
        ends = self._archive(np.stack([end.pool.best(1).values[0] for end in found]))
        if not np.any(ends.excess <= 0):
            return self._infeasible(found)
        levels = self._levels(ends.metrics, points)
        archive = self._traced(ends, levels)
        front = self._report(archive, ends=ends, levels=levels)
        return replace(front, lost=self._lost([self.log, *found]))

    def _traced(self, ends: Archive, levels: Floats) -> Archive:
        """Designs at all levels; kept after every stage where a checkpoint is."""
        stages = (self._anchored, self._polish, self._handed_on, self._polish)
        archive, done = self._recalled(levels) or (ends, 0)
        for count, stage in enumerate(stages[done:], done + 1):
            archive = stage(archive, levels)
            self._keep(archive, levels, done=count)
        return archive

    def _checkpoint(self, levels: Floats) -> Checkpoint | None:
        kept = self.climber.checkpoint
        return kept and kept.about_more({}, arrays=[levels])

    def _recalled(self, levels: Floats) -> tuple[Archive, int] | None:
        """The designs that were kept, with the draws that come next."""
        checkpoint = self._checkpoint(levels)
        kept = checkpoint and checkpoint.recall(STATE)
        if not kept:
            return None
        self.climber.rng.bit_generator.state = kept.facts["rng"]
        self.log.resume(kept.facts["trace"], lost=kept.arrays["lost"])
        self.progress(f"{kept.facts['done']} stages were finished before")
        archive = Archive(*(kept.arrays[name] for name in ARCHIVE))
        return archive, int(kept.facts["done"])

    def _keep(self, archive: Archive, levels: Floats, *, done: int) -> None:
        checkpoint = self._checkpoint(levels)
        if checkpoint is None:
            return
        arrays = {name: getattr(archive, name) for name in ARCHIVE}
        draws = self.climber.rng.bit_generator.state
        facts = {"trace": self.log.trace, "done": done, "rng": draws}
        checkpoint.keep(STATE, Kept({**arrays, "lost": self.log.lost}, facts))

    def _infeasible(self, found: Sequence[Found]) -> Front:
        """No designs, and the smallest change of the limits that lets one exist."""
        self.progress("[smallest relaxation]")
        climber = self.climber
        relaxer = Relaxer(climber.engine, self.theta, mask=self.mask, rng=climber.rng)
        known = [self.tuned.values, *(end.pool.best(1).values[0] for end in found)]
        relaxation = relaxer.run(np.stack(known), progress=self.progress)
        return Front(
            study=self.study,
            metrics=self.metrics,
            rungs=(),
            values=np.zeros((0, len(self.metrics))),
            tuned=self.tuned,
            hypervolume=0.0,
            relaxation=relaxation,
            nearest=climber.rung("nearest", relaxation.nearest),
            lost=self._lost([self.log, relaxation, *found]),
        )

    def _lost(self, searches: Sequence[Searched]) -> Lost:
        return all_lost([self.tuned, *searches], paths=self.climber.space.paths)

    def _end(self, index: int) -> Found:
        """A search for the best legal design in one metric alone."""
        weights = np.zeros(len(self.climber.problem.constraint_names) + 1)
        weights[0 if index == 0 else 1 + self.traded[index - 1]] = 1.0
        self.progress(f"[least {self.metrics[index]}]")
        search = Search(
            self.climber.engine,
            self.theta,
            self.mask,
            self.climber.rng,
            weights,
            checkpoint=self.climber.checkpoint,
            name=f"end-{index}",
        )
        return search.run(
            self.tuned.values[None],
            starts=self.study.search.starts,
            progress=self.progress,
        )

    def _levels(self, ends: Floats, points: int) -> Floats:
        """Levels of the traded metrics: a line, or a grid for three metrics."""
        traded = len(self.metrics) - 1
        each = points if traded == 1 else max(2, round(points ** (1 / traded)))
        lines = [
            np.linspace(np.min(ends[:, k]), np.max(ends[:, k]), each) + BEYOND
            for k in range(1, traded + 1)
        ]
        return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, traded)

    def priced(self, values: Floats) -> Archive:
        """Designs on the hard model; one that has no number has no metrics."""
        objective, constraints = self.climber.engine.constraints(values, self.theta)
        traded = constraints[:, self.traded] + self.loosest
        others = np.delete(constraints, self.traded, axis=1)
        broken = np.maximum(others - FEASIBLE, 0.0).sum(axis=1)
        metrics = np.column_stack([objective, traded])
        metrics[np.isnan(broken)] = np.nan
        return Archive(values, metrics, np.where(np.isfinite(broken), broken, np.inf))

    def _archive(self, values: Floats) -> Archive:
        """Designs on the hard model; those without a number are dropped."""
        found = self.priced(values)
        lost = np.isnan(found.metrics).any(axis=1)
        self.log.drop(values[lost])
        return found.take(np.flatnonzero(~lost))

    def _anchored(self, archive: Archive, levels: Floats) -> Archive:
        """Legal designs at some levels, with lanes for a design of every choice.

        Starts are between the ends and at random; stages are those of a search.
        """
        space, mask, rng = self.climber.space, self.mask, self.climber.rng
        ends = archive.values
        count = max(min(ANCHORS, len(levels)), round(len(levels) / BETWEEN))
        places = np.linspace(0, len(levels) - 1, count + 2)[1:-1].round().astype(int)
        anchors = levels[places]
        size = max(LEAST_LANES, LANES * len(levels) // count)
        shape = (count * size, len(mask))
        shares = rng.dirichlet(np.ones(len(ends)), size=count * size)
        inner = shares @ space.encode(ends) + 0.05 * rng.normal(size=shape)
        between = np.arange(len(inner))[:, None] % 2 == 0
        points = np.clip(np.where(between, inner, rng.uniform(size=shape)), 0.0, 1.0)
        values = np.where(mask, space.decode(points), ends[0])
        reached = self._descended(values, anchors, free=mask)
        self.log.close("relaxed", f"{count} levels, {len(values)} lanes")
        found = self._archive(space.round(reached, mask=mask))
        coarse, whole = mask & space.coarse, mask & (space.coarse | space.fine)
        given = legal_around(space, reached, held=coarse, size=size, rng=rng)
        reached = self._descended(given, anchors, free=mask & ~coarse)
        for held in (coarse, whole):
            reached = self._refined(reached, anchors, held=held)
            found = found.join(self._archive(space.round(reached, mask=mask)))
        self.log.close("integers", "at these levels")
        return archive.join(found)

    def _handed_on(self, archive: Archive, levels: Floats) -> Archive:
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
        found = self._archive(space.round(reached, mask=mask))
        self.log.close("handed on", f"to {len(levels)} levels")
        return archive.join(found)

    def _descended(self, values: Floats, levels: Floats, *, free: Mask) -> Floats:
        """Values that every level's lanes descend to, best first."""
        size = len(values) // len(levels)
        lanes = self.climber.engine.descend(
            values,
            self.theta,
            free=np.tile(free, (len(values), 1)),
            goal=self._goal(np.repeat(levels, size, axis=0)),
        )
        self.log.drop(values[without_number(lanes)])
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
        self.log.drop(values[without_number(optima)])
        reached = reached_values(space, optima, given=values, mask=free)
        return best_first(optima, reached, given=values, size=size)

    def _goal(self, levels: Floats) -> Goal:
        goal = self.climber.engine.goal(self.theta, len(levels))
        bounds = goal.bounds.copy()
        bounds[:, self.traded] = np.where(self.is_ratio[1:], np.exp(levels), levels)
        return goal._replace(bounds=bounds)

    def _polish(self, archive: Archive, levels: Floats) -> Archive:
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
        self.log.close("polish", "at every level")
        return archive

    def _report(self, archive: Archive, *, ends: Archive, levels: Floats) -> Front:
        legal = archive.take(np.flatnonzero(archive.excess <= 0))
        best = legal.take(legal.best(levels, count=1, penalty=STRICT))
        best = best.join(ends.take(np.flatnonzero(ends.excess <= 0)))
        best = best.take(np.flatnonzero(non_dominated(best.metrics)))
        best = best.take(np.argsort(best.metrics[:, 1], kind="stable"))
        apart = np.abs(best.metrics[:, None] - best.metrics).max(axis=2)
        best = best.take(np.flatnonzero(~np.tril(apart < SAME, -1).any(axis=1)))
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
