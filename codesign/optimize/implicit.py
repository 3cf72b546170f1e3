"""How does the best design move when a constant of the world does?

Optimum with its multipliers -> d ln variable / d ln constant, for every constant of
technology, stack and quality and every limit that binds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.core.show import html_table, text_table
from codesign.optimize.climber import EVERYTHING, Climber
from codesign.optimize.discrete import Mask
from codesign.optimize.engine import Engine
from codesign.optimize.evidence import SOLVED, leaf_slopes, solve_around
from codesign.optimize.interior import Optima
from codesign.optimize.problem import Theta
from codesign.optimize.result import Result
from codesign.optimize.space import Floats
from codesign.optimize.trace import silent

STEP = 3e-6  # of the unit box, of central differences of exact gradients
FLAT = 1e-7  # curvature over the largest one, below which a direction is free
LOOSE = 1e-3  # share of a variable in free directions that leaves it undetermined
SMALL = 1e-6  # slopes that are not listed
SHOWN = 12  # rows of the table


@dataclass(frozen=True)
class DesignSensitivity:
    """d ln variable / d ln constant of the relaxed optimum, by constant.

    ``limits`` are the same for the limits that bind, by their texts; where quality
    is limited, per unit of it. Variables at a bound do not move; the ceilings of
    the governor's voltages are variables too.
    ``undetermined`` ones may take any value nearby at no loss, so that their
    slopes mean nothing and are left out. ``is_minimum`` tells whether the
    curvature along all that the limits leave free is positive.
    """

    variables: tuple[str, ...]
    slopes: dict[str, dict[str, float]]
    limits: dict[str, dict[str, float]]
    undetermined: tuple[str, ...]
    is_minimum: bool
    residual: float

    def strongest(self, count: int = SHOWN) -> list[tuple[str, str, float]]:
        """Constant, variable and slope, the largest first."""
        every = [
            (constant, variable, slope)
            for constant, moved in {**self.limits, **self.slopes}.items()
            for variable, slope in moved.items()
        ]
        return sorted(every, key=lambda entry: -abs(entry[2]))[:count]

    def __str__(self) -> str:
        return text_table(self._table())

    def _repr_html_(self) -> str:
        """The strongest slopes: what a notebook shows."""
        head, *rows = self._table()
        return html_table(head, rows, note=self.note())

    def _table(self) -> list[tuple[str, ...]]:
        rows = [(a, b, f"{slope:+.3g} %") for a, b, slope in self.strongest()]
        return [("1 % more of", "moves", "by"), *rows]

    def note(self) -> str:
        """What is left out, and how well the optimum is solved."""
        free = ", ".join(self.undetermined) or "none"
        return f"At no loss elsewhere: {free}. KKT residual {self.residual:.2g}."


def design_sensitivity(
    result: Result, *, wrt: Sequence[str] | None = None
) -> DesignSensitivity:
    """How the relaxed optimum of a result moves with constants and limits.

    ``wrt`` names constants or groups of them, such as ``technology.arithmetic``;
    without it all count that move something. The listed choices of the result's
    design are held; whole numbers move as if they were continuous.

    Raises:
        Float64DisabledError: 64-bit floats are off.

    Example:
        ``design_sensitivity(result, wrt=["chip.style.min_voltage"]).slopes``
    """
    climber = Climber(result.study, silent)
    climber.refer_to(result.baseline)
    return implicit_slopes(
        climber.engine,
        climber.theta,
        values=result.best.values,
        mask=climber.space.select(EVERYTHING),
        wrt=wrt,
    )


def implicit_slopes(
    engine: Engine,
    theta: Theta,
    *,
    values: Floats,
    mask: Mask,
    wrt: Sequence[str] | None = None,
) -> DesignSensitivity:
    """Implicit function theorem at the optimum around a design.

    With the variables F inside their bounds and the limits A that bind,

    [ H_FF  J_AF' ] [ dx ]     [ d2L / dx_F dp ]
    [ J_AF  0     ] [ dl ] = - [ dg_A / dp     ]

    for every constant p at once. H and the mixed derivatives are central
    differences of exact gradients along each variable; one reverse pass gives
    the gradient in all variables and all constants.

    Assumes: strict complementarity; to first order, until the active set changes.
    Source: Fiacco, Introduction to Sensitivity and Stability Analysis in Nonlinear
    Programming, 1983, theorem 2.4.4.
    """
    lane = solve_around(engine, theta, values=values, mask=mask)
    space, names = engine.space, engine.problem.constraint_names
    if not float(lane.residual) < SOLVED:
        return DesignSensitivity((), {}, {}, (), False, float(lane.residual))
    system = _System(engine, theta, lane=lane, free=mask & ~space.coarse)
    constants, mixed, limits = system.derivatives()
    asked = len(engine.problem.limits)
    held = [i for i in map(int, system.active) if i < asked and not _follows(engine, i)]
    own = np.zeros((len(system.active), len(held)))
    for column, index in enumerate(held):
        sign = 1.0 if engine.problem.limits[index].sense == "<=" else -1.0
        own[list(map(int, system.active)).index(index), column] = -sign
    moves = system.solve(
        np.concatenate([mixed, np.zeros((len(system.inner), len(held)))], axis=1),
        np.concatenate([limits, own], axis=1),
    )
    widths = (space.high - space.low)[system.inner]
    moves = moves * widths[:, None]
    loose = system.undetermined()
    paths = [space.paths[i] for i in system.inner]

    def named(column: Floats) -> dict[str, float]:
        return {
            path: float(slope)
            for path, slope, free in zip(paths, column, loose, strict=True)
            if abs(slope) > SMALL and not free
        }

    by_constant = {
        name: found
        for name, column in zip(constants, moves.T, strict=False)
        if _wanted(name, wrt) and (found := named(column))
    }
    by_limit = {
        names[index]: named(moves[:, len(constants) + place])
        for place, index in enumerate(held)
    }
    return DesignSensitivity(
        variables=tuple(paths),
        slopes=by_constant,
        limits=by_limit,
        undetermined=tuple(p for p, free in zip(paths, loose, strict=True) if free),
        is_minimum=system.is_minimum,
        residual=float(lane.residual),
    )


def _follows(engine: Engine, index: int) -> bool:
    """Whether a limit's bound is a parameter of the design, not a number."""
    return engine.problem.limits[index].path is not None


def _wanted(name: str, wrt: Sequence[str] | None) -> bool:
    return wrt is None or any(name == w or name.startswith(f"{w}.") for w in wrt)


class _System:
    """The conditions of optimality around one solution, by the null-space method.

    Variables are ``inner`` where their distance to a bound exceeds the force of
    that bound, limits ``active`` where their price exceeds their slack.
    """

    def __init__(
        self, engine: Engine, theta: Theta, *, lane: Optima, free: Mask
    ) -> None:
        self.engine, self.theta = engine, theta
        self.point = np.asarray(lane.points)
        prices = np.asarray(lane.multipliers)
        self.weights = np.append(1.0, prices)
        force = self._pull(self.point, self.weights)[0]
        room = np.minimum(self.point, 1 - self.point)
        self.inner = np.flatnonzero(free & (room > np.abs(force)))
        slack = np.maximum(-np.asarray(lane.constraints), SMALL)
        self.active = np.flatnonzero(prices > slack)

    def _pull(self, point: Floats, weights: Floats) -> tuple[Floats, dict[str, float]]:
        """Gradient of a weighted sum in the variables and in ln of every constant."""
        values = self.engine.space.decode(point)
        slopes: dict[str, Any] = self.engine.pull_back(
            values, self.theta, weights=weights
        )
        free = self.engine.space.paths
        return np.asarray(slopes["point"]), leaf_slopes(slopes, self.theta, free=free)

    def derivatives(self) -> tuple[list[str], Floats, Floats]:
        """Names of constants, d2L / dx dp and dg / dp; the matrices are set up."""
        rows, changes = [], []
        for index in self.active:
            only = np.zeros_like(self.weights)
            only[index + 1] = 1.0
            slope, constant = self._pull(self.point, only)
            rows.append(slope[self.inner])
            changes.append(constant)
        curves, mixed = [], []
        for index in self.inner:
            ends = []
            for sign in (1.0, -1.0):
                beside = self.point.copy()
                beside[index] += sign * STEP
                ends.append(self._pull(beside, self.weights))
            curves.append((ends[0][0] - ends[1][0])[self.inner] / (2 * STEP))
            up, down = ends[0][1], ends[1][1]
            mixed.append({name: (up[name] - down[name]) / (2 * STEP) for name in up})
        names = list(mixed[0]) if mixed else []
        count = len(self.inner)
        hessian = np.array(curves).reshape(count, count)
        self._set(0.5 * (hessian + hessian.T), np.array(rows).reshape(-1, count))
        table = [
            np.array([[row[n] for n in names] for row in part])
            for part in (mixed, changes)
        ]
        return (
            names,
            table[0].reshape(count, len(names)),
            table[1].reshape(len(changes), len(names)),
        )

    def _set(self, hessian: Floats, rows: Floats) -> None:
        self.hessian, self.rows = hessian, rows
        _, sizes, right = np.linalg.svd(rows, full_matrices=True)
        rank = int(np.sum(sizes > FLAT * max(sizes, default=0.0)))
        self.along = right[rank:].T
        curvature, axes = np.linalg.eigh(self.along.T @ hessian @ self.along)
        top = float(np.max(np.abs(curvature), initial=0.0))
        self.is_minimum = bool(np.all(curvature > -FLAT * top))
        firm = np.abs(curvature) > FLAT * top
        self._inverse = (axes[:, firm] / curvature[firm]) @ axes[:, firm].T
        self._free = self.along @ axes[:, ~firm]

    def solve(self, mixed: Floats, limits: Floats) -> Floats:
        """dx for every column of right sides, along what curvature determines."""
        across = -np.linalg.pinv(self.rows) @ limits
        rest = self.along.T @ (mixed + self.hessian @ across)
        return across - self.along @ (self._inverse @ rest)

    def undetermined(self) -> NDArray[np.bool_]:
        """Which inner variables have a share in directions without curvature."""
        return np.sum(self._free**2, axis=1) > LOOSE
