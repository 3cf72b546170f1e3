"""What does a search from the page run? One compiled engine per question.

A design, unlocked sliders and limits -> the best legal design, or a front of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event, Lock
from typing import Any

import numpy as np

from codesign.config.limits import Limit, is_difference, read_metric
from codesign.config.question import Search
from codesign.config.study import Study
from codesign.config.variables import GOVERNED
from codesign.core.errors import InputError, InterruptedRunError
from codesign.core.record import as_float64
from codesign.explore.frame import Frame
from codesign.explore.limits import fixed_limit
from codesign.explore.sliders import Slider, searched_variables
from codesign.model.transformer import Transformer
from codesign.optimize.climber import Climber
from codesign.optimize.pareto import Front, pareto
from codesign.optimize.problem import build_theta
from codesign.optimize.result import Rung
from codesign.optimize.space import build_space
from codesign.optimize.yardstick import build_yardstick
from codesign.quality.evaluate import check_training_tokens
from codesign.report.limits import limit_title
from codesign.report.tables import BETTER, metric_title, metric_unit
from codesign.report.texts import quantity

STARTS = 64  # of a search from the page; "codesign optimize" takes more
MOST_STARTS = 1024
PATIENCE = 60.0  # seconds for a search that was stopped to notice it
BUSY = "A search is running already; stop it first."
STOPPED = "Stopped; the design is as it was."

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Question:
    """What is searched: the study around a design, and which variables move."""

    study: Study
    unlocked: tuple[str, ...]


def ask(
    base: Study,
    frame: Frame,
    *,
    sliders: tuple[Slider, ...],
    unlocked: Sequence[str],
    limits: Sequence[Limit],
    pinned: Frame,
    reference: Transformer,
    values: Mapping[str, float],
    starts: int = STARTS,
) -> Question:
    """The question of a page: every searched slider is a variable, the unlocked move.

    Raises:
        InputError: nothing is unlocked, or the metric cannot be minimised.
    """
    if BETTER.get(frame.of, -1) > 0:
        raise InputError(
            f"{metric_title(frame.of)}: more is better, and a search minimises. "
            "Choose a metric of which less is better, or set a limit on this one."
        )
    variables = searched_variables(sliders, values=values)
    moving = [v.path for v in variables if v.path in unlocked]
    if not moving:
        raise InputError("Every variable is locked; unlock what may change.")
    if not 0 < starts <= MOST_STARTS:
        raise InputError(f"{starts} starts; allowed is 1 to {MOST_STARTS}.")
    check_training_tokens(frame.design.model)
    study = replace(
        base,
        name=f"{base.name}, explored",
        baseline=as_float64(frame.design),
        free=variables,
        minimize=read_metric(frame.of),
        limits=tuple(fixed_limit(limit, pinned) for limit in limits),
        search=Search(starts=starts, seed=base.search.seed),
        compared=reference,
    )
    return Question(study, tuple(moving))


class Searcher:
    """Runs one search at a time and keeps the engines that it compiled.

    An engine depends on the variables, the metric and the kinds of limits, not on
    the design or the numbers, so that a second search starts at once.
    """

    def __init__(self) -> None:
        self._climbers: dict[tuple[Any, ...], Climber] = {}
        self._busy = Lock()

    def optimise(self, asked: Question, *, progress: Progress, stop: Event) -> Rung:
        """The best legal design over the unlocked variables.

        Raises:
            InputError: another search runs.
            InterruptedRunError: it was stopped.
        """
        with _One(self._busy):
            tell = _stoppable(progress, stop)
            climber = self._climber(asked.study, tell)
            mask = np.array(
                [p in (*asked.unlocked, *GOVERNED) for p in climber.space.paths]
            )
            known = climber.space.values_of(asked.study.baseline)[None]
            tell("searching")
            return climber.climb("explored", mask=mask, known=known)

    def front(
        self, asked: Question, *, x: str, points: int, progress: Progress, stop: Event
    ) -> Front:
        """Designs that no other beats in the metric and in ``x``.

        Raises:
            InputError: another search runs, or ``x`` cannot be traded.
            InterruptedRunError: it was stopped.
        """
        with _One(self._busy):
            tell = _stoppable(progress, stop)
            tell("compiling the search")
            free = tuple(v for v in asked.study.free if v.path in asked.unlocked)
            tune = tuple(v.path for v in free)
            study = replace(asked.study, free=free, tune=tune)
            return pareto(study, x=x, points=points, progress=tell)

    def _climber(self, study: Study, progress: Progress) -> Climber:
        """A climber for the study, compiled at most once per kind of question."""
        key = _kind(study)
        climber = self._climbers.get(key)
        if climber is None:
            progress("compiling the search, once per metric and set of limits")
            climber = Climber(study, progress)
            self._climbers[key] = climber
            return climber
        space = build_space(study)
        yardstick = build_yardstick(study)
        drawn = {"few": climber.theta.few, "many": climber.theta.many}
        climber.study, climber.space, climber.engine.space = study, space, space
        climber.rng = np.random.default_rng(study.search.seed)
        climber.theta = build_theta(
            study,
            space,
            constants=yardstick.constants,
            bounds=np.array([_bound(limit) for limit in study.limits]),
            reference_constants=yardstick.reference_constants,
            **drawn,
        )
        return climber


class _One:
    """Holds the lock of a search, or says that another one keeps holding it."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock

    def __enter__(self) -> None:
        if not self.lock.acquire(timeout=PATIENCE):
            raise InputError(BUSY)

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def _kind(study: Study) -> tuple[Any, ...]:
    """What a compiled engine depends on."""
    limits = tuple((m.metric, m.sense, m.path, m.quantile) for m in study.limits)
    paths = tuple(variable.path for variable in study.free)
    drafted = study.baseline.draft is None
    return paths, study.minimize, limits, study.off, study.terms, drafted


def _bound(limit: Limit) -> float:
    return limit.factor if limit.value is None else limit.value


def _stoppable(progress: Progress, stop: Event) -> Progress:
    def tell(line: str) -> None:
        if stop.is_set():
            raise InterruptedRunError(STOPPED)
        progress(line)

    return tell


def outcome_text(rung: Rung, *, of: str) -> str:
    """What a search found, in a sentence; where limits cannot be kept, which."""
    if rung.feasible:
        value = quantity(rung.objective, metric_unit(of))
        return f"{metric_title(of)} {value}; every limit is kept."
    name = limit_title(rung.worst)
    over = rung.violation
    most = f"{over:.3g}" if is_difference(rung.worst) else f"{np.expm1(over):.1%}"
    return (
        f"No design keeps every limit: {name} is broken by {most} at best. "
        "Unlock more, or relax it."
    )


def front_points(front: Front, *, x: str) -> list[dict[str, Any]]:
    """Both metrics of every design of a front."""
    columns = [front.metrics.index(x), 0]
    return [
        {"x": float(row[columns[0]]), "y": float(row[columns[1]])}
        for row in front.values
    ]
