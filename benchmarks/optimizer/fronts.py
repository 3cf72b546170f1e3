"""What does a front take? Ours against NSGA-II on the same legal designs."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.optimizer.arena import PROBLEMS, Ledger, OutOfTimeError
from benchmarks.optimizer.methods import POPULATION, drive
from codesign.config.study import load_study
from codesign.optimize.front import hypervolume
from codesign.optimize.pareto import _Tracer
from codesign.optimize.space import Floats

LEVELS = 48
MULTIPLES = (1.0, 5.0)  # of our time that NSGA-II is given
FRONTS = {"chat": "time_per_output_token", "cost": "time_per_output_token"}
"""Problems that have a front, and what is traded for their objective."""


class Traced:
    """A problem with a traded metric, compiled."""

    def __init__(self, name: str) -> None:
        study = load_study(PROBLEMS / f"{name}.yaml")
        metrics = (study.minimize, FRONTS[name])
        self.tracer = _Tracer(study, metrics, progress=lambda _: None)

    def ours(self, seed: int) -> dict[str, Any]:
        """Our front in ln of both metrics, and what it took."""
        self.tracer.climber.rng = np.random.default_rng(seed)
        ledger = Ledger(np.inf)
        front = self.tracer.front(LEVELS)
        return _moment(ledger, np.log(front.values))

    def theirs(self, seed: int, *, equal: float) -> list[dict[str, Any]]:
        """What NSGA-II has found after each multiple of equal processor seconds."""
        from pymoo.algorithms.moo.nsga2 import NSGA2

        space, mask = self.tracer.climber.space, self.tracer.mask
        first = np.random.default_rng(seed).uniform(size=(POPULATION, len(mask)))
        first[0] = np.clip(space.encode(self.tracer.tuned.values), 0.0, 1.0)
        ledger = Ledger(equal * MULTIPLES[-1])
        moments: list[dict[str, Any]] = []
        legal: list[Floats] = []

        def price(points: Floats) -> tuple[Floats, Floats]:
            if ledger.spent > equal * MULTIPLES[len(moments)]:
                moments.append(_moment(ledger, np.concatenate(legal)))
            if len(moments) == len(MULTIPLES):
                raise OutOfTimeError
            inside = space.decode(np.clip(points, 0.0, 1.0))
            found = self.tracer.priced(space.round(inside, mask=mask))
            legal.append(found.metrics[found.excess <= 0])
            return found.metrics, found.excess

        search = NSGA2(pop_size=POPULATION, sampling=first)
        try:
            drive(search, _problem(price, width=len(mask)), seed=seed)
        except OutOfTimeError:
            return moments
        raise AssertionError("the budget ends every run")


def _moment(ledger: Ledger, points: Floats) -> dict[str, Any]:
    passed = time.perf_counter() - ledger.wall
    return {"cpu": ledger.spent, "wall": passed, "points": _line(points).tolist()}


def _line(points: Floats) -> Floats:
    """The points that no other beats, by the first metric."""
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    least = np.minimum.accumulate(np.append(np.inf, points[:, 1]))[:-1]
    return points[points[:, 1] < least]


def _problem(price: Callable[[Floats], tuple[Floats, Floats]], *, width: int) -> Any:
    from pymoo.core.problem import Problem

    class Traded(Problem):
        def __init__(self) -> None:
            super().__init__(n_var=width, n_obj=2, n_ieq_constr=1, xl=0.0, xu=1.0)

        def _evaluate(self, x: Floats, out: Any, *_: Any, **__: Any) -> None:
            metrics, excess = price(x)
            out["F"] = np.nan_to_num(metrics, nan=1e6, posinf=1e6)
            out["G"] = np.nan_to_num(excess[:, None], nan=1e6, posinf=1e6)

    return Traded()


def volumes(fronts: list[list[list[float]]], *, ours: list[bool]) -> list[float]:
    """Hypervolume of each front within the worst ends of all of ours.

    A front of ours is a design at each of some levels of the second metric; of the
    thousands of a rival the best at each of these levels counts.
    """
    points = [np.reshape(front, (-1, 2)) for front in fronts]
    own = [front for front, mine in zip(points, ours, strict=True) if mine]
    reference = np.max([np.max(front, axis=0) for front in own], axis=0)
    levels = own[0][:, 1]
    even = [
        front if mine else at_levels(front, levels)
        for front, mine in zip(points, ours, strict=True)
    ]
    return [hypervolume(front, reference) for front in even]


def at_levels(front: Floats, levels: Floats) -> Floats:
    """The least first metric at levels of the second, which no design may exceed."""
    within = [front[front[:, 1] <= level] for level in levels]
    least = [each[np.argmin(each[:, 0])] for each in within if len(each)]
    return np.reshape(least, (-1, 2))
