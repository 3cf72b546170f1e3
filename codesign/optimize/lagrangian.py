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

from codesign.core.record import Record
from codesign.optimize.problem import (
    Problem,
    Theta,
    cpu_options,
    values_and_constraints,
)


GROUP = 64  # lanes that fit in the cache together; groups run one after another


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

    Fixed variables keep their coordinate exactly, even outside the box.

    Source: Nocedal and Wright, Numerical Optimization, chapter 17.
    """
    moves = transform or schedule.transform()

    def augmented(
        point: Array, multiplier: Array, rho: Array, margin: Array, theta: Theta
    ) -> tuple[Array, tuple[Array, Array]]:
        objective, constraints = values_and_constraints(
            problem, point, theta, sharpness=schedule.sharpness
        )
        push = jnp.maximum(0.0, multiplier + rho * (constraints + margin))
        penalty = jnp.sum(push**2 - multiplier**2) / (2 * rho)
        return objective + penalty, (objective, constraints)

    gradient = jax.grad(augmented, has_aux=True)

    def descend(point: Array, free: Array, margin: Array, theta: Theta) -> Lanes:
        def step(carry: Any, _: None) -> tuple[Any, None]:
            here, state, multiplier, rho = carry
            slope, _ = gradient(here, multiplier, rho, margin, theta)
            slope = jnp.where(free & jnp.isfinite(slope), slope, 0.0)
            update, state = moves.update(slope, state, here)
            moved = optax.projections.projection_box(here + update, 0.0, 1.0)
            return (jnp.where(free, moved, here), state, multiplier, rho), None

        def outer(carry: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
            (here, state, multiplier, rho), _ = jax.lax.scan(
                step, carry, None, length=schedule.steps
            )
            objective, constraints = values_and_constraints(
                problem, here, theta, sharpness=schedule.sharpness
            )
            multiplier = jnp.maximum(0.0, multiplier + rho * (constraints + margin))
            after = (here, state, multiplier, rho * schedule.penalty_growth)
            return after, (objective, jnp.max(constraints))

        count = len(problem.constraint_names)
        start = (
            point,
            moves.init(point),
            jnp.zeros(count),
            jnp.asarray(schedule.penalty),
        )
        (here, _, multiplier, _), trace = jax.lax.scan(
            outer, start, None, length=schedule.rounds
        )
        objective, constraints = values_and_constraints(
            problem, here, theta, sharpness=schedule.sharpness
        )
        return Lanes(
            points=here,
            objective=objective,
            constraints=constraints,
            multipliers=multiplier,
            trace=jnp.stack(trace),
        )

    def lanes(points: Array, free: Array, margin: Array, theta: Theta) -> Lanes:
        def group(pair: tuple[Array, Array]) -> Lanes:
            return jax.vmap(lambda x, m: descend(x, m, margin, theta))(*pair)

        pieces = jax.tree.map(
            lambda leaf: leaf.reshape(-1, GROUP, leaf.shape[-1]), (points, free)
        )
        found = jax.lax.map(group, pieces)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)

    return jax.jit(lanes, compiler_options=cpu_options())
