"""What does one chip for many workloads cost against a chip for each?

A study with cases -> the specialist of every case, what each specialist's chip costs
on the others, and the one design that serves all.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codesign.config.limits import metric_units
from codesign.config.question import Cases
from codesign.config.study import Study
from codesign.core.errors import InputError
from codesign.core.show import html_table, quantity_text, text_table
from codesign.optimize.climber import EVERYTHING, Climber
from codesign.optimize.discrete import FEASIBLE, Mask
from codesign.optimize.engine import Engine
from codesign.optimize.evidence import gather_evidence
from codesign.optimize.joint import WORST, Joint, gather, join_spaces, stack
from codesign.optimize.problem import Theta
from codesign.optimize.relax import Relaxer
from codesign.optimize.result import Evidence, Relaxation, Rung, excess_text
from codesign.optimize.search import Found, Search
from codesign.optimize.space import Floats, Space
from codesign.optimize.trace import Lost, Progress, all_lost, silent

KNOWN = 4  # designs of a joint search that its relaxation starts from
NONE_FITS = "none fits"


@dataclass(frozen=True)
class Scenarios:
    """A chip for each case, and one for all.

    ``cross`` holds the objective of the shared parts of specialist i on case j, all
    else chosen anew; infinite where they cannot keep the limits. ``generalist`` has
    a rung per case, with the same shared parts. Where no design serves all cases,
    ``relaxation`` is the smallest change of the limits with which one does, and the
    generalist that design, or the one of least violation. ``lost`` are lanes of all
    searches that had no number.
    """

    study: Study
    names: tuple[str, ...]
    tuned: tuple[Rung, ...]
    specialists: tuple[Rung, ...]
    cross: Floats
    generalist: tuple[Rung, ...]
    evidence: Evidence
    relaxed: float
    agreement: float
    seconds: float
    relaxation: Relaxation | None = None
    lost: Lost = field(default_factory=Lost)

    @property
    def feasible(self) -> bool:
        """Whether the generalist keeps every limit of every case."""
        return all(rung.feasible for rung in self.generalist)

    @property
    def cross_regret(self) -> Floats:
        """What the chip of case i costs on case j, over the chip of j, minus one."""
        own = np.array([rung.objective for rung in self.specialists])
        return self.cross / own - 1.0

    @property
    def regret(self) -> Floats:
        """What the chip for all costs on each case over its specialist, minus one."""
        all_rungs = zip(self.generalist, self.specialists, strict=True)
        return np.array(
            [
                one.objective / own.objective - 1.0 if one.feasible else np.inf
                for one, own in all_rungs
            ]
        )

    @property
    def status(self) -> str:
        """What was found, in a sentence."""
        found = self._served() if self.feasible else self._broken()
        return " ".join(filter(None, (found, self.lost.text)))

    def _served(self) -> str:
        worst = int(np.argmax(self.regret))
        return (
            f"One design serves all {len(self.names)} cases; it costs "
            f"{np.mean(self.regret):+.1%} over the specialists on average, "
            f"{self.regret[worst]:+.1%} on {self.names[worst]}."
        )

    def _broken(self) -> str:
        """What the nearest design breaks in which case, and what to change."""
        broken = [
            f"{excess_text(rung.worst, rung.violation)} in {name}"
            for name, rung in zip(self.names, self.generalist, strict=True)
            if not rung.feasible
        ]
        relaxed = f" {self.relaxation.text}" if self.relaxation else ""
        nearest = f"the nearest {' and '.join(broken)}"
        return f"Infeasible: no design serves all cases; {nearest}.{relaxed}"

    def __str__(self) -> str:
        return f"{self.study.name}: {self.status}\n{text_table(self.table())}"

    def _repr_html_(self) -> str:
        """The cross matrix: what a notebook shows."""
        head, *rows = self.table()
        return html_table(head, rows, note=self.status)

    def table(self) -> list[tuple[str, ...]]:
        """Objective of each chip on each case, and its change against the own chip."""
        unit = metric_units()[self.study.minimize]
        own = [quantity_text(rung.objective, unit) for rung in self.specialists]
        rows = [("own chip", *own)]
        rows += [
            (f"chip for {name}", *map(_change, row))
            for name, row in zip(self.names, self.cross_regret, strict=True)
        ]
        rows.append(("chip for all", *map(_change, self.regret)))
        return [(self.study.minimize, *self.names), *rows]


def _change(regret: float) -> str:
    return NONE_FITS if np.isinf(regret) else f"{regret:+.1%}"


def scenarios(
    study: Study,
    *,
    progress: Progress = silent,
    checkpoint: Path | str | None = None,
) -> Scenarios:
    """Specialists, the cross matrix, and the design that serves all cases.

    Every case is searched alone, then with the shared parts of every other
    specialist, then all cases at once: shared variables stand once, all others once
    per case, and every limit of every case holds. The joint search starts from each
    specialist's parts with what suits the other cases best. Where no design serves all
    cases, the result says what to change. ``checkpoint`` as in ``optimize``.

    Assumes: cases are served apart, each by systems of its own; only the design of
    the shared parts is common. ``baseline`` in a limit is that case's own.

    Raises:
        InputError: the study has no section ``scenarios``, or the checkpoint is of
            another question or version.

    Example:
        ``cd.scenarios(cd.load_study("my_scenarios.yaml")).cross_regret``
    """
    clock = time.perf_counter()
    cases = study.cases
    if cases is None:
        raise InputError(f"{study.name}: has no section scenarios; add cases to it.")
    climbers = [
        Climber(case, progress, checkpoint=checkpoint and Path(checkpoint) / f"{i}")
        for i, case in enumerate(cases.studies)
    ]
    tuned = [climber.tune(climber.as_given()) for climber in climbers]
    own = _specialists(climbers, tuned, names=cases.names)
    cross = _cross(climbers, tuned, own=own, cases=cases)
    shared = _selected(climbers[0].space, cases.shared)
    known = _starts(own, cross, shared=shared)
    found = solve_joint(
        climbers, cases, known=known, levels=[rung.objective for rung in own]
    )
    relaxation = None if found.feasible else found.relax(climbers[0])
    chosen = found.best if relaxation is None else relaxation.nearest
    values = found.each(chosen)
    rungs = [
        climber.rung("for all", each)
        for climber, each in zip(climbers, values, strict=True)
    ]
    return Scenarios(
        study=study,
        names=cases.names,
        tuned=tuple(tuned),
        specialists=tuple(own),
        cross=np.array([[_objective(rung) for rung in row] for row in cross]),
        generalist=tuple(rungs),
        evidence=found.evidence(chosen),
        relaxed=found.found.relaxed,
        agreement=found.found.agreement,
        seconds=time.perf_counter() - clock,
        relaxation=relaxation,
        lost=all_lost(
            [*tuned, *(rung for row in cross for rung in row)],
            paths=climbers[0].space.paths,
        )
        + found.lost(relaxation),
    )


def _objective(rung: Rung) -> float:
    return rung.objective if rung.feasible else np.inf


def _selected(space: Space, prefixes: Sequence[str]) -> Mask:
    return np.array([path.startswith(tuple(prefixes)) for path in space.paths])


def _specialists(
    climbers: Sequence[Climber], tuned: Sequence[Rung], *, names: Sequence[str]
) -> list[Rung]:
    return [
        climber.climb(
            f"chip for {name}",
            mask=climber.space.select(EVERYTHING),
            known=rung.values[None],
        )
        for climber, rung, name in zip(climbers, tuned, names, strict=True)
    ]


def _cross(
    climbers: Sequence[Climber],
    tuned: Sequence[Rung],
    *,
    own: Sequence[Rung],
    cases: Cases,
) -> list[list[Rung]]:
    """Each specialist's shared parts on each case, the rest searched."""
    shared = _selected(climbers[0].space, cases.shared)
    rows: list[list[Rung]] = []
    for i, chip in enumerate(own):
        row: list[Rung] = []
        for j, climber in enumerate(climbers):
            if i == j:
                row.append(chip)
                continue
            known = np.stack([own[j].values, tuned[j].values])
            known[:, shared] = chip.values[shared]
            mask = climber.space.select(EVERYTHING) & ~shared
            title = f"{cases.names[j]} on the chip for {cases.names[i]}"
            row.append(climber.climb(title, mask=mask, known=known))
        rows.append(row)
    return rows


def _starts(
    own: Sequence[Rung], cross: Sequence[Sequence[Rung]], *, shared: Mask
) -> list[list[Floats]]:
    """For each specialist's parts the values of every case with them."""
    starts: list[list[Floats]] = []
    for chip, row in zip(own, cross, strict=True):
        each = [np.where(shared, chip.values, rung.values) for rung in row]
        starts.append(each)
    return starts


@dataclass(frozen=True)
class Solved:
    """The joint problem with its engine, and what its search has found."""

    engine: Engine
    theta: Theta
    joint: Joint
    mask: Mask
    found: Found

    @property
    def best(self) -> Floats:
        """Values of the best joint point."""
        return self.found.pool.best(1).values[0]

    @property
    def feasible(self) -> bool:
        """Whether it keeps every joint limit."""
        return bool(self.found.pool.best(1).violation[0] <= FEASIBLE)

    def each(self, values: Floats) -> list[Floats]:
        """The values of every case at a joint point."""
        return list(self.joint.split(values))

    def evidence(self, values: Floats) -> Evidence:
        """Multipliers and elasticities of a joint point."""
        return gather_evidence(self.engine, self.theta, values=values, mask=self.mask)

    def relax(self, lead: Climber) -> Relaxation:
        """The smallest change of the limits of all cases that lets a design exist."""
        lead.progress("[smallest relaxation]")
        relaxer = Relaxer(self.engine, self.theta, mask=self.mask, rng=lead.rng)
        known = self.found.pool.best(KNOWN).values
        return relaxer.run(known, progress=lead.progress)

    def lost(self, relaxation: Relaxation | None) -> Lost:
        """What the joint search, and a relaxation after it, have left out."""
        searches = [each for each in (self.found, relaxation) if each is not None]
        return all_lost(searches, paths=self.engine.space.paths)


def solve_joint(
    climbers: Sequence[Climber],
    cases: Cases,
    *,
    known: Sequence[Sequence[Floats]],
    levels: Sequence[float],
) -> Solved:
    """The joint search of cases whose climbers know their tuned baselines."""
    lead = climbers[0]
    weights = np.array(cases.weights) / sum(cases.weights)
    mix = -np.log(levels) if cases.judge == WORST else np.log(weights)
    spaces = [climber.space for climber in climbers]
    space, columns = join_spaces(spaces, cases.names, shared=cases.shared)
    joint = Joint(names=cases.names, columns=columns, judge=cases.judge)
    return search_joint(
        lead,
        joint,
        space=space,
        thetas=[climber.theta for climber in climbers],
        mix=mix,
        known=known,
    )


def search_joint(
    lead: Climber,
    joint: Joint,
    *,
    space: Space,
    thetas: Sequence[Theta],
    mix: Floats,
    known: Sequence[Sequence[Floats]],
) -> Solved:
    """One search of a joint problem from joint points given case by case."""
    bare = [theta.replace(bounds=None, low=None, high=None) for theta in thetas]
    stacked, varied = stack(bare)
    theta: Any = stacked.replace(
        bounds=jnp.concatenate([jnp.asarray(theta.bounds) for theta in thetas]),
        low=jnp.asarray(space.low),
        high=jnp.asarray(space.high),
        mix=jnp.asarray(mix, jnp.float64),
    )
    joint = replace(joint, varied=varied)
    problem = replace(lead.problem, joint=joint)
    engine = Engine(problem, space, schedule=lead.engine.schedule)
    width = len(space.paths)
    points = np.stack([gather(joint, each, width=width) for each in known])
    lead.progress("[for all]")
    engine.compile(points[0], theta)
    mask = space.select(EVERYTHING)
    kept = lead.checkpoint and lead.checkpoint.about_more(
        {"problem": problem.shape, "space": space.variables},
        arrays=[points, *jax.tree.leaves(theta)],
    )
    search = Search(engine, theta, mask, lead.rng, checkpoint=kept, name="for all")
    found = search.run(points, starts=lead.study.search.starts, progress=lead.progress)
    return Solved(engine, theta=theta, joint=joint, mask=mask, found=found)
