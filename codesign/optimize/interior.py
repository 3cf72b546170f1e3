"""How does a good point become an optimum to eight digits?

Points in the unit box -> Karush-Kuhn-Tucker points, by a primal-dual interior
point method, all lanes in one compiled call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_factor, cho_solve

from codesign.core.compiler import jitted
from codesign.core.quantities import Scalar
from codesign.core.record import Record
from codesign.optimize.lagrangian import Start, lane_values, tightened
from codesign.optimize.problem import Problem, Theta

NO_MOVE = 1e-24  # curvature along a step that is no step


@dataclass(frozen=True)
class Barrier:
    """Length and constants of the interior point method.

    Source: Waechter and Biegler, "On the implementation of an interior-point
    filter line-search algorithm", Math. Program. 106, 2006, for the barrier and
    step rules; measurements in docs/theory/search.md.
    """

    first: float = 1e-2
    last: float = 1e-10
    shrink: float = 0.2
    power: float = 1.5
    to_boundary: float = 0.995
    inside: float = 1e-2
    decrease: float = 1e-4
    back: float = 0.5
    patience: float = 1e-5
    sharpness: float = 256.0
    done: float = 1e-9


class Optima(Record):
    """Ends of all lanes: ``residual`` is the largest violation of the conditions.

    ``multipliers`` are those of the constraints: d objective / d limit, both
    logarithmic.
    """

    points: Array
    objective: Array
    constraints: Array
    multipliers: Array
    residual: Array


class _Values(NamedTuple):
    """Objective, constraints and their first derivatives at a point.

    Constraints that no free variable moves count as kept; ``given`` has all as
    they are.
    """

    objective: Array
    constraints: Array
    given: Array
    slope: Array
    rows: Array


class _Axes(NamedTuple):
    """Variables, those that move first, how many do, and the number of limits."""

    order: Array
    moving: Array
    limits: int


class _Point(NamedTuple):
    """Variables, slacks, and multipliers of constraints and of both bounds."""

    x: Array
    slack: Array
    price: Array
    low: Array
    high: Array


class _State(NamedTuple):
    point: _Point
    trial: _Point
    values: _Values
    hessian: Array
    barrier: Array
    penalty: Array
    damping: Array
    promised: Array


def interior_solver(problem: Problem, barrier: Barrier = Barrier()) -> Any:
    """A jitted function of starts, parameters and most iterations, to optima.

    min f(x)  s.t.  g(x) + s = 0,  s >= 0,  0 <= x <= 1

    Newton steps on the conditions of optimality of
    f - mu (sum ln s + sum ln x + sum ln (1 - x)), with a damped BFGS
    approximation of the Lagrangian's Hessian and mu -> 0. A step that does not
    lower the merit function f - mu (...) + nu |g + s|_1 is taken again, shorter,
    in the next iteration, so each iteration evaluates one Jacobian.

    Assumes: the smooth model; listed choices and integers are held.
    Source: Nocedal and Wright, Numerical Optimization, chapters 18 and 19.
    """

    def solve(start: Start, theta: Theta, *, iterations: Array) -> Optima:
        def one(lane: Start) -> Optima:
            outputs = partial(
                lane_values,
                problem,
                theta=theta,
                lane=lane,
                sharpness=barrier.sharpness,
            )
            return _solve(
                outputs, lane, axes=axes, barrier=barrier, iterations=iterations
            )

        axes = _moving(start.free, limits=len(problem.constraint_names))
        return jax.vmap(one)(start)

    return jitted()(solve)


def _moving(free: Array, *, limits: int) -> _Axes:
    """The variables that any lane moves; at least one, to have values at all."""
    moving = jnp.any(free, axis=0)
    return _Axes(jnp.argsort(~moving), jnp.maximum(jnp.sum(moving), 1), limits)


def _solve(
    outputs: Callable[[Array], tuple[Array, Array]],
    start: Start,
    *,
    axes: _Axes,
    barrier: Barrier,
    iterations: Array,
) -> Optima:
    """One lane, from its start to its end."""
    free = start.free

    def values(x: Array) -> _Values:
        def along(k: Array, known: tuple[Any, Any]) -> tuple[Any, Any]:
            _, columns = known
            axis = axes.order[k]
            direction = jnp.zeros_like(x).at[axis].set(1.0)
            both, change = jax.jvp(outputs, (x,), (direction,))
            return both, jax.tree.map(lambda a, b: a.at[axis].set(b), columns, change)

        blank = (jnp.zeros(()), jnp.zeros(axes.limits))
        columns = (jnp.zeros(len(x)), jnp.zeros((len(x), axes.limits)))
        both, columns = jax.lax.fori_loop(0, axes.moving, along, (blank, columns))
        rows = jnp.where(free, columns[1].T, 0.0)
        moved = jnp.any(rows != 0.0, axis=1)
        return _Values(
            objective=both[0],
            constraints=jnp.where(moved, tightened(both[1], start), -1.0),
            given=both[1],
            slope=jnp.where(free, columns[0], 0.0),
            rows=rows,
        )

    inner = jnp.clip(start.points, barrier.inside, 1 - barrier.inside)
    x = jnp.where(free, inner, start.points)
    begin = _begin(x, limits=axes.limits, free=free, barrier=barrier)

    def unfinished(carry: tuple[Array, _State]) -> Array:
        count, state = carry
        left = _residual(state.point, state.values, mu=0.0, free=free)
        return (count < iterations) & ~(left < barrier.done)

    def advance(carry: tuple[Array, _State]) -> tuple[Array, _State]:
        count, state = carry
        seen = values(state.trial.x)
        state = _judge(state, seen, free=free, barrier=barrier)
        return count + 1, _aim(state, free=free, barrier=barrier)

    _, last = jax.lax.while_loop(unfinished, advance, (jnp.asarray(0), begin))
    return Optima(
        points=last.point.x,
        objective=last.values.objective,
        constraints=last.values.given,
        multipliers=last.point.price,
        residual=_residual(last.point, last.values, mu=0.0, free=free),
    )


def _ratio(top: Scalar, bottom: Array, *, free: Array) -> Array:
    """top / bottom of the free variables, 0 of the others."""
    return jnp.where(free, top / jnp.where(free, bottom, 1.0), 0.0)


def _begin(x: Array, *, limits: int, free: Array, barrier: Barrier) -> _State:
    """A state whose first trial point is the start; nothing is known of it yet."""
    none, one = jnp.zeros(limits), jnp.asarray(1.0)
    unknown = _Values(
        objective=jnp.asarray(jnp.inf),
        constraints=none,
        given=none,
        slope=jnp.zeros_like(x),
        rows=jnp.zeros((limits, len(x))),
    )
    mu, slack = jnp.asarray(barrier.first), jnp.full(limits, barrier.inside)
    point = _Point(
        x, slack, mu / slack, _ratio(mu, x, free=free), _ratio(mu, 1 - x, free=free)
    )
    return _State(
        point=point,
        trial=point,
        values=unknown,
        hessian=jnp.eye(len(x)),
        barrier=mu,
        penalty=one,
        damping=one,
        promised=jnp.zeros_like(one),
    )


def _judge(state: _State, seen: _Values, *, free: Array, barrier: Barrier) -> _State:
    """Take the trial point, or shorten the next step; learn from it either way."""
    slack = jnp.maximum(state.trial.slack, -seen.constraints)
    fresh = jnp.isinf(state.values.objective)
    price = jnp.where(fresh, state.barrier / slack, state.trial.price)
    trial = state.trial._replace(slack=slack, price=price)
    merit = _merit(state.point, state.values, mu=state.barrier, penalty=state.penalty)
    after = _merit(trial, seen, mu=state.barrier, penalty=state.penalty)
    finite = jnp.isfinite(after) & jnp.all(jnp.isfinite(seen.rows))
    noise = 1e-12 * (1 + jnp.abs(merit))
    tired = state.damping < barrier.patience
    taken = finite & ((after <= merit + state.promised + noise) | tired | fresh)
    close = _residual(trial, seen, mu=state.barrier, free=free) < 10 * state.barrier
    smaller = jnp.minimum(barrier.shrink * state.barrier, state.barrier**barrier.power)
    learned = _bfgs(state, trial, seen=seen)
    plain = jnp.eye(len(trial.x))
    accepted = state._replace(
        point=trial,
        values=seen,
        hessian=jnp.where(tired | fresh, plain, learned),
        barrier=jnp.where(
            close & ~fresh, jnp.maximum(smaller, barrier.last), state.barrier
        ),
        damping=jnp.ones_like(state.damping),
    )
    refused = state._replace(
        hessian=jnp.where(finite, learned, state.hessian),
        damping=state.damping * barrier.back,
    )
    return jax.tree.map(lambda a, b: jnp.where(taken, a, b), accepted, refused)


def _aim(state: _State, *, free: Array, barrier: Barrier) -> _State:
    """The next trial point along Newton's step."""
    step = _direction(state, free=free)
    primal, dual = _reach(state.point, step, share=barrier.to_boundary, free=free)
    penalty = jnp.maximum(state.penalty, 2 * jnp.max(state.point.price + step.price))
    length = state.damping * primal
    promised = _promise(state, step, penalty=penalty, free=free)
    return state._replace(
        trial=_moved(state.point, step, primal=length, dual=dual),
        penalty=penalty,
        promised=barrier.decrease * length * promised,
    )


def _direction(state: _State, *, free: Array) -> _Point:
    """Newton's step on the conditions of optimality, slacks and bounds eliminated."""
    (x, slack, price, low, high), mu = state.point, state.barrier
    found = state.values
    short = found.constraints + slack
    rows = found.rows
    diagonal = _ratio(low, x, free=free) + _ratio(high, 1 - x, free=free)
    matrix = (
        state.hessian
        + rows.T @ ((price / slack)[:, None] * rows)
        + jnp.diag(jnp.where(free, diagonal + 1e-12, 1.0))
    )
    pull = found.slope + rows.T @ ((price * short + mu) / slack)
    pull = pull - _ratio(mu, x, free=free) + _ratio(mu, 1 - x, free=free)
    dx = jnp.where(free, -cho_solve(cho_factor(matrix), pull), 0.0)
    ds = -short - rows @ dx
    return _Point(
        x=dx,
        slack=ds,
        price=(mu - price * ds) / slack - price,
        low=_ratio(mu - low * dx, x, free=free) - low,
        high=_ratio(mu + high * dx, 1 - x, free=free) - high,
    )


def _reach(
    point: _Point, step: _Point, *, share: float, free: Array
) -> tuple[Array, Array]:
    """Longest primal and dual step that keep slacks and multipliers positive."""

    def limit(value: Array, change: Array) -> Array:
        falls = change < 0
        room = jnp.where(falls, -share * value / jnp.where(falls, change, 1.0), 1.0)
        return jnp.min(room)

    x = jnp.where(free, point.x, 1.0)
    rest = jnp.where(free, 1 - point.x, 1.0)
    primal = [limit(point.slack, step.slack), limit(x, step.x), limit(rest, -step.x)]
    dual = [limit(*pair) for pair in zip(point[2:], step[2:], strict=True)]
    one = jnp.asarray(1.0)
    return (
        jnp.minimum(one, jnp.min(jnp.stack(primal))),
        jnp.minimum(one, jnp.min(jnp.stack(dual))),
    )


def _moved(point: _Point, step: _Point, *, primal: Array, dual: Array) -> _Point:
    lengths = (primal, primal, dual, dual, dual)
    return _Point(*(a + n * b for a, b, n in zip(point, step, lengths, strict=True)))


def _merit(point: _Point, found: _Values, *, mu: Array, penalty: Array) -> Array:
    """Barrier function plus the weighted sum of what the slacks miss."""
    inside = jnp.where((point.x > 0) & (point.x < 1), point.x * (1 - point.x), 1.0)
    walls = jnp.sum(jnp.log(point.slack)) + jnp.sum(jnp.log(inside))
    missed = jnp.sum(jnp.abs(found.constraints + point.slack))
    return found.objective - mu * walls + penalty * missed


def _promise(state: _State, step: _Point, *, penalty: Array, free: Array) -> Array:
    """Slope of the merit function along the step."""
    point, found = state.point, state.values
    walls = _ratio(1.0, point.x, free=free) - _ratio(1.0, 1 - point.x, free=free)
    barrier = jnp.sum(step.slack / point.slack) + walls @ step.x
    missed = jnp.sum(jnp.abs(found.constraints + point.slack))
    return found.slope @ step.x - state.barrier * barrier - penalty * missed


def _bfgs(state: _State, trial: _Point, *, seen: _Values) -> Array:
    """Powell's damped update with the new multipliers.

    B+ = B - B d d'B / d'B d + r r' / d'r,  r = theta y + (1 - theta) B d
    """
    move = trial.x - state.point.x
    old = state.values.slope + state.values.rows.T @ trial.price
    change = seen.slope + seen.rows.T @ trial.price - old
    image = state.hessian @ move
    curve = move @ image
    bent = move @ change
    mixed = jnp.where(
        bent >= 0.2 * curve, 1.0, 0.8 * curve / jnp.where(curve > bent, curve - bent, 1)
    )
    blend = mixed * change + (1 - mixed) * image
    along = move @ blend
    fine = (curve > NO_MOVE) & (along > NO_MOVE)
    curve, along = jnp.where(fine, curve, 1.0), jnp.where(fine, along, 1.0)
    update = jnp.outer(blend, blend) / along - jnp.outer(image, image) / curve
    return state.hessian + jnp.where(fine, update, 0.0)


def _residual(point: _Point, found: _Values, *, mu: Scalar, free: Array) -> Array:
    """Largest violation of the conditions of optimality at a barrier."""
    balance = found.slope + found.rows.T @ point.price - point.low + point.high
    gaps: list[Any] = [
        balance,
        found.constraints + point.slack,
        point.slack * point.price - mu,
        jnp.where(free, point.low * point.x - mu, 0.0),
        jnp.where(free, point.high * (1 - point.x) - mu, 0.0),
    ]
    scale = jnp.maximum(1.0, jnp.max(point.price))
    gaps[0] = gaps[0] / scale
    return jnp.max(jnp.abs(jnp.concatenate(gaps)))
