"""Are the exact slopes of a study those of small steps?

Study -> slopes of the logarithms of its objective and limits in every free
variable, exact and by central differences, at its baseline and at random points.
"""

from dataclasses import dataclass

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from codesign.config.quality import load_quality_draws
from codesign.config.study import Study
from codesign.core.compiler import cpu_options
from codesign.core.record import as_float64
from codesign.optimize.lagrangian import Schedule
from codesign.optimize.problem import (
    Problem,
    Theta,
    build_problem,
    build_theta,
    values_and_constraints,
)
from codesign.optimize.space import Floats, Space, build_space
from codesign.optimize.yardstick import build_yardstick
from codesign.quality.ensemble import SEARCH_DRAWS, Reference, reference_under

STEP = 1e-5  # in the logarithm of a variable
TOLERANCE = 1e-5  # of a slope
FLOOR = 1e-8  # slopes that differ by less are equal
CORNER = 1e-3, 1e-6  # one-sided slopes that differ by more mark a corner
OBJECTIVE = "objective"
ANY_BOUND = 1.0  # of limits that refer to a baseline not yet tuned; shifts them only


@dataclass(frozen=True)
class GradCheck:
    """Slopes d ln f / d ln p by point, function f and variable p.

    ``left`` and ``right`` are one-sided differences. Where they differ there is a
    corner, such as the end of a tile, a legal value of an integer or the dense end
    of experts, and no slope to compare with; elsewhere it is their mean.
    """

    functions: tuple[str, ...]
    paths: tuple[str, ...]
    exact: Floats
    left: Floats
    right: Floats

    @property
    def measured(self) -> Floats:
        """Central differences."""
        return (self.left + self.right) / 2

    @property
    def corner(self) -> NDArray[np.bool_]:
        """Where the slopes to both sides differ."""
        share, least = CORNER
        largest = np.maximum(np.abs(self.left), np.abs(self.right))
        return np.abs(self.right - self.left) > least + share * largest

    @property
    def error(self) -> Floats:
        """|exact - measured| over what rounding allows; above 1 they disagree."""
        allowed = FLOOR + TOLERANCE * np.abs(self.measured)
        error = np.abs(self.exact - self.measured) / allowed
        return np.where(self.corner & np.isfinite(self.exact), 0.0, error)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Where the exact slope is not the measured one, or not a number."""
        return ~(self.error <= 1.0)


def check_gradients(study: Study, *, points: int = 4, seed: int = 0) -> GradCheck:
    """Exact slopes of a study against central differences.

    s = (f(x + h) - f(x - h)) / 2h  with x = ln p, h = 1e-5, f the logarithm of the
    objective or of use over limit (a difference for limits on quality), in the
    smooth form that the search differentiates. The first point is the baseline,
    the others are drawn from the box.

    Assumes: limits that refer to the tuned baseline get a fixed right side, which
    shifts them and changes no slope.
    """
    space = build_space(study)
    problem = build_problem(study, space)
    theta = _theta(study, space)
    rng = np.random.default_rng(seed)
    start = space.encode(space.values_of(study.baseline))
    drawn = rng.uniform(size=(points, len(start)))
    at = np.concatenate([start[None], drawn])
    width = space.high - space.low
    shifts = STEP * np.diag(1.0 / width)
    values, slopes = _functions(problem)
    moved = [at[:, None], at[:, None] + shifts, at[:, None] - shifts]
    size = len(start)
    found = np.asarray(values(np.concatenate(moved, 1).reshape(-1, size), theta))
    found = found.reshape(len(at), 2 * size + 1, -1).swapaxes(1, 2)
    middle, above, below = np.split(found, [1, size + 1], axis=2)
    return GradCheck(
        functions=(OBJECTIVE, *problem.constraint_names),
        paths=space.paths,
        exact=np.asarray(slopes(at, theta)) / width,
        left=(middle - below) / STEP,
        right=(above - middle) / STEP,
    )


def _theta(study: Study, space: Space) -> Theta:
    yardstick = build_yardstick(study)
    fixed = [
        ANY_BOUND if limit.baseline else limit.value or limit.factor
        for limit in study.limits
    ]
    return build_theta(
        study,
        space,
        constants=yardstick.constants,
        bounds=np.array(fixed),
        reference_constants=yardstick.reference_constants,
        **_drawn(study),
    )


def _drawn(study: Study) -> dict[str, Reference]:
    """The reference under the draws that limits at a quantile are taken over."""
    if all(limit.quantile is None for limit in study.limits):
        return {}
    ours, theirs = (
        load_quality_draws(count=SEARCH_DRAWS, recipe=recipe)
        for recipe in (study.recipe, study.reference_recipe)
    )
    under = jax.jit(reference_under, compiler_options=cpu_options(level=0))
    return {"few": under(ours, as_float64(study.reference), own=theirs)}


def _functions(problem: Problem) -> tuple[jax.stages.Wrapped, jax.stages.Wrapped]:
    """Jitted values of a batch of points, and their Jacobians."""
    sharpness = Schedule().sharpness

    def every(point: Array, theta: Theta) -> Array:
        objective, constraints = values_and_constraints(
            problem, point, theta=theta, sharpness=sharpness
        )
        return jax.numpy.concatenate([objective[None], constraints])

    batch = jax.vmap(every, in_axes=(0, None))
    jacobian = jax.vmap(jax.jacfwd(every), in_axes=(0, None))
    options = cpu_options(level=0)
    return (
        jax.jit(batch, compiler_options=options),
        jax.jit(jacobian, compiler_options=options),
    )
