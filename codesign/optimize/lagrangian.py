"""How do many starts reach good feasible points at once?

Starts in the unit box -> relaxed optima, by an optax optimiser on the
augmented Lagrangian, all lanes in one compiled call.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from codesign.core.compiler import jitted
from codesign.core.record import Record
from codesign.core.smooth import Sharpness
from codesign.optimize.problem import Problem, Theta, values_and_constraints

TURN = 1e-3  # ln, over which a broken limit begins to count
Batch = Any  # arrays of NumPy on the way in, of JAX inside


@dataclass(frozen=True)
class Schedule:
    """Lengths and rates of the augmented Lagrangian.

    Source: reference measurements in docs/theory/search.md.
    """

    rounds: int = 10
    steps: int = 60
    learning_rate: float = 0.03
    penalty: float = 2.0
    penalty_growth: float = 1.6
    sharpness: float = 256.0

    def transform(self) -> optax.GradientTransformation:
        """Adam with a cosine schedule over all steps."""
        total = self.rounds * self.steps
        rate = optax.cosine_decay_schedule(self.learning_rate, total, alpha=0.02)
        return optax.adam(rate, b1=0.8, b2=0.95)


class Start(Record):
    """Starts of all lanes and what each of them solves.

    ``free`` marks the variables that move, ``margin`` tightens every limit and
    ``bounds`` are the right sides of the study's limits. A lane minimises the
    sum of ``weights`` times the objective and the constraints. Elastic lanes also
    pay ``stretch`` times what each constraint is broken by, and may break it by
    ``loose``.
    """

    points: Batch
    free: Batch
    margin: Batch
    bounds: Batch
    weights: Batch
    loose: Batch = None
    stretch: Batch = None


def lane_values(
    problem: Problem, point: Array, *, theta: Theta, lane: Start, sharpness: Sharpness
) -> tuple[Array, Array]:
    """What one lane minimises, and its constraints, at a point."""
    objective, constraints = values_and_constraints(
        problem, point, theta=theta, sharpness=sharpness, bounds=lane.bounds
    )
    goal = lane.weights[0] * objective + lane.weights[1:] @ constraints
    if lane.stretch is None:
        return goal, constraints
    return goal + lane.stretch @ positive_part(constraints), constraints


def positive_part(value: Array) -> Array:
    """Smooth max(0, v) = (v + sqrt(v^2 + d^2)) / 2, above it by at most d / 2."""
    return 0.5 * (value + jnp.sqrt(value**2 + TURN**2))


def tightened(constraints: Array, lane: Start) -> Array:
    """Constraints as a lane has to keep them: with its margin, without its slack."""
    held = constraints + jnp.asarray(lane.margin)[..., None]
    return held if lane.loose is None else held - lane.loose


class Lanes(Record):
    """State of all starts after a descent; the last axis of points is variables."""

    points: Array
    objective: Array
    constraints: Array
    multipliers: Array
    trace: Array


def descender(
    problem: Problem,
    schedule: Schedule = Schedule(),
    *,
    transform: optax.GradientTransformation | None = None,
) -> Any:
    """Jitted descent of a batch of starts under a mask of free variables.

    L(x, l) = f + sum (max(0, l + rho g)^2 - l^2) / (2 rho)
    l <- max(0, l + rho g),  rho <- 1.6 rho  after each round

    Fixed variables keep their coordinate exactly, even outside the box. The
    objective and constraints returned are those before the last, smallest step.

    Source: Nocedal and Wright, Numerical Optimization, chapter 17.
    """
    moves = transform or schedule.transform()

    def descend(start: Start, theta: Theta) -> Lanes:
        free = start.free

        def augmented(
            point: Array, dual: tuple[Array, Array, Start]
        ) -> tuple[Array, tuple[Array, Array]]:
            multiplier, rho, lane = dual
            objective, constraints = lane_values(
                problem, point, theta=theta, lane=lane, sharpness=schedule.sharpness
            )
            push = jnp.maximum(0.0, multiplier + rho * tightened(constraints, lane))
            penalty = jnp.sum(push**2 - multiplier**2) / (2 * rho)
            return objective + penalty, (objective, constraints)

        gradient = jax.vmap(
            jax.grad(augmented, has_aux=True), in_axes=(0, (0, None, 0))
        )

        def step(carry: Any, _: None) -> tuple[Any, None]:
            here, state, multiplier, rho, _, _ = carry
            slope, (objective, constraints) = gradient(here, (multiplier, rho, start))
            slope = jnp.where(free & jnp.isfinite(slope), slope, 0.0)
            update, state = moves.update(slope, state, here)
            moved = optax.projections.projection_box(here + update, 0.0, 1.0)
            moved = jnp.where(free, moved, here)
            return (moved, state, multiplier, rho, objective, constraints), None

        def outer(carry: Any, _: None) -> tuple[Any, Array]:
            carry, _ = jax.lax.scan(step, carry, None, length=schedule.steps)
            here, state, multiplier, rho, objective, constraints = carry
            multiplier = jnp.maximum(
                0.0, multiplier + rho * tightened(constraints, start)
            )
            rho = rho * schedule.penalty_growth
            after = (here, state, multiplier, rho, objective, constraints)
            return after, jnp.stack([objective, jnp.max(constraints, axis=1)], axis=1)

        count = len(start.points)
        blank = jnp.zeros((count, len(problem.constraint_names)))
        carry = (
            start.points,
            moves.init(start.points),
            blank,
            jnp.asarray(schedule.penalty),
            jnp.zeros(count),
            blank,
        )
        last, trace = jax.lax.scan(outer, carry, None, length=schedule.rounds)
        here, _, multiplier, _, objective, constraints = last
        return Lanes(
            points=here,
            objective=objective,
            constraints=constraints,
            multipliers=multiplier,
            trace=jnp.moveaxis(trace, 0, 1),
        )

    return jitted()(descend)
