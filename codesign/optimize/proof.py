"""Is the design found the best there is? Every combination of listed values.

Engine, parameters, free variables and the best known objective -> an objective that no
legal design is below, and any better design met on the way.
"""

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from codesign.config.bounds import legal_values
from codesign.config.limits import Limit
from codesign.core.compiler import cpu_options
from codesign.cost.least import LEAST, MOVED, least_cost
from codesign.optimize.discrete import FEASIBLE, Mask
from codesign.optimize.engine import CHUNK, Engine
from codesign.optimize.problem import Problem, Theta, judge, on_terms
from codesign.optimize.programs import Program, prepare
from codesign.optimize.result import TOLERANCE
from codesign.optimize.space import GOVERNOR, Floats, Space, place
from codesign.outcome.answer import complete
from codesign.outcome.service import Service
from codesign.quality.evaluate import quality

MOST = 20_000  # combinations
BUDGET = 400_000  # boxes
AT_ONCE = 8192  # boxes that are cut before the best design is looked at again
CLOSE = 1e-4  # ln, of a bound under the best design


@dataclass(frozen=True)
class Proof:
    """What is known of all designs at once.

    ``bound`` is a logarithmic objective that no legal design is below, infinite where
    none is legal; ``better`` the values of a legal design better than the known one.
    """

    bound: float
    combinations: int
    better: Floats | None = None


class _Boxes(NamedTuple):
    """Combinations, each with a range of both voltages, and what bounds its designs.

    ``low`` are the values of all variables at the lower voltages, ``high`` the higher
    voltages, ``least`` the bounds.
    """

    low: Floats
    high: Floats
    least: Floats

    def take(self, index: NDArray[np.intp]) -> "_Boxes":
        return _Boxes(self.low[index], self.high[index], self.least[index])

    def join(self, other: "_Boxes") -> "_Boxes":
        return _Boxes(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


def prove(engine: Engine, theta: Theta, *, mask: Mask, known: float) -> Proof | None:
    """A bound on the logarithmic objective of all legal designs, None without one.

    Every combination of values is a box of both voltages, which are always free. The
    least objective of a box is that of ``least_cost``. A box goes if it breaks a limit
    at its best; one that is not below the best design by more than ``CLOSE`` is
    bounded well enough; any other is cut in two (branch and bound). What is left when
    the budget is spent is bounded as it stands.

    There is one where all free variables but the voltages take values from lists, of
    at most ``MOST`` combinations, and ``least_cost`` bounds the objective. There is
    none where a variable is continuous: with choices held, the smooth problem of a
    study is no geometric program, since quality, residency, yield and the governor
    are not posynomials, and a relaxed optimum on which many starts agree is evidence
    alone. Designs whose objective is not a number count as none.

    Source: Land and Doig, "An automatic method of solving discrete programming
    problems", Econometrica 28(3), 1960.
    """
    rows = combinations(engine.space, mask)
    if (
        rows is None
        or not len(rows)
        or not is_bounded(engine.problem.minimize)
        or _settles(theta)
    ):
        return None
    return _Search(engine, theta, known=known).run(rows)


def combinations(space: Space, mask: Mask) -> Floats | None:
    """All legal combinations, voltages at their lowest; None if they are too many."""
    lists = [
        np.exp([low]) if variable.path in GOVERNOR else legal_values(variable)
        for variable, low in zip(space.variables, space.low, strict=True)
    ]
    listed = [values for values in lists if values is not None]
    if len(listed) < len(lists) or prod(map(len, listed)) > MOST or not mask.all():
        return None
    rows = np.array(list(product(*listed)), float)
    rows = rows[space.legal(rows, mask=mask)]
    return rows[np.isclose(space.round(rows, mask=mask), rows).all(axis=1)]


def is_bounded(metric: str, sense: str = "<=") -> bool:
    """Whether ``least_cost`` bounds a metric from its legal side, or has its value.

    Example:
        >>> [is_bounded("usd_per_token", sense) for sense in ("<=", ">=")]
        [True, False]
        >>> is_bounded("power"), is_bounded("chip.area", ">=")
        (False, True)
    """
    if metric in LEAST or metric in Service.__dataclass_fields__:
        return sense == "<="
    if metric == "throughput":
        return sense == ">="
    return not metric.startswith(MOVED)


def _settles(theta: Theta) -> bool:
    """Whether ``least_cost`` does not hold: an arrival rate or a draft model."""
    return bool(theta.design.request.rate > 0) or theta.design.draft is not None


class _Search:
    """Branch and bound over boxes of voltages, the lowest bounds first.

    ``reached`` is the lowest bound of boxes that are close enough.
    """

    def __init__(self, engine: Engine, theta: Theta, *, known: float) -> None:
        self.engine, self.theta = engine, theta
        self.best, self.better = known, None
        self.reached, self.spent = np.inf, 0
        self.columns = np.array([engine.space.paths.index(path) for path in GOVERNOR])
        self.least = self._compiled()

    def run(self, rows: Floats) -> Proof:
        """The bound over all rows at any voltages of the space."""
        top = np.exp(self.engine.space.high[self.columns])
        boxes = self._open(self._bounded(rows, np.tile(top, (len(rows), 1))))
        while len(boxes.least) and self.spent < BUDGET:
            order = np.argsort(boxes.least, kind="stable")
            first, rest = order[:AT_ONCE], order[AT_ONCE:]
            halves = self._bounded(*_halves(boxes.take(first), self.columns))
            boxes = self._open(boxes.take(rest).join(halves))
        left = float(np.min(boxes.least, initial=np.inf))
        bound = min(self.best, self.reached, left)
        return Proof(bound, len(rows), self.better)

    def _bounded(self, low: Floats, high: Floats) -> _Boxes:
        """Boxes with their bounds, of those that may hold a legal design."""
        if len(low):
            self._try(low, high)
        self.spent += len(low)
        pairs = (self.engine.space.encode(low), high)
        least, worst = self.engine.batched(
            lambda part: self.least(part, self.theta), pairs
        )
        possible = (worst <= TOLERANCE) & ~np.isnan(least)
        return _Boxes(low, high, least).take(np.flatnonzero(possible))

    def _open(self, boxes: _Boxes) -> _Boxes:
        """Boxes that may hold a better design; the bound of the others is noted."""
        close = boxes.least >= self.best - CLOSE
        least = float(np.min(boxes.least[close], initial=np.inf))
        self.reached = min(self.reached, least)
        return boxes.take(np.flatnonzero(~close))

    def _try(self, low: Floats, high: Floats) -> None:
        """Look at the middle of every box on the hard model."""
        values = low.copy()
        values[:, self.columns] = np.sqrt(low[:, self.columns] * high)
        objective, constraints = self.engine.constraints(values, self.theta)
        legal = (np.max(constraints, axis=1) <= FEASIBLE) & ~np.isnan(objective)
        objective = np.where(legal, objective, np.inf)
        index = int(np.argmin(objective))
        if objective[index] < self.best:
            self.best, self.better = float(objective[index]), values[index]

    def _compiled(self) -> Program:
        """Least objective and least violation of ``CHUNK`` boxes."""
        problem, number = self.engine.problem, len(self.engine.space.paths)
        points = (np.zeros((CHUNK, number)), np.ones((CHUNK, len(self.columns))))
        return prepare(
            jax.vmap(_least(problem), in_axes=(0, None)),
            given=((points, self.theta), {}),
            about=("least", problem.shape),
            options=cpu_options(level=0),
        )()


def _halves(boxes: _Boxes, columns: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Lower and higher values of boxes cut in two along their wider voltage."""
    start = boxes.low[:, columns]
    wider = np.argmax(boxes.high / start, axis=1)
    cut = np.arange(len(columns)) == wider[:, None]
    middle = np.sqrt(start * boxes.high)
    above = boxes.low.copy()
    above[:, columns] = np.where(cut, middle, start)
    low = np.concatenate([boxes.low, above])
    high = np.concatenate([np.where(cut, middle, boxes.high), boxes.high])
    return low, high


def _least(problem: Problem) -> Any:
    """Least objective and least violation of a box; limits without bound are kept."""
    asked = map(_is_bounded_limit, problem.limits)
    always = len(problem.constraint_names) - len(problem.limits)
    known = np.array([*asked, *[True] * always])

    def least(box: tuple[Array, Array], theta: Theta) -> tuple[Array, Array]:
        point, high = box
        values = jnp.exp(theta.low + point * (theta.high - theta.low))
        design = place(theta.design, problem.paths, values=values)
        design = on_terms(problem, design, theta=theta)
        scored = quality(
            design.model,
            reference=theta.reference,
            constants=theta.constants,
            reference_constants=theta.reference_constants,
        )
        cost = least_cost(design, decode_voltage=high[0], prefill_voltage=high[1])
        objective, constraints = judge(
            problem,
            complete(design, cost, scored=scored, constants=theta.constants),
            design=design,
            theta=theta,
            sharpness=None,
            bounds=jnp.asarray(theta.bounds),
        )
        return objective, jnp.max(jnp.where(known, constraints, -jnp.inf))

    return least


def _is_bounded_limit(limit: Limit) -> bool:
    return is_bounded(limit.metric, limit.sense) and limit.path not in GOVERNOR
