"""Where does a monotone function cross zero, and how does that point move?

A function and a bracket -> its root, with the derivative of the implicit
function theorem, in a fixed number of iterations.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Scalar

ITERATIONS = 48


def bisect(residual: Callable[[Array], Array], *, low: Scalar, high: Scalar) -> Array:
    """Largest point of [low, high] at which an increasing residual is <= 0.

    Bisection finds x*; one Newton step x* - f(x*) / f'(x*), taken with x* held
    constant, then carries dx*/dtheta = -(df/dtheta) / (df/dx). Where the
    residual stays below zero the answer is ``high`` and moves with it. Works
    elementwise on arrays whose residuals do not depend on each other.

    Assumes: residual(low) <= 0, or the answer is ``low``.

    Example:
        >>> root = bisect(lambda x: x * x - 2.0, low=0.0, high=3.0)
        >>> round(float(root), 6)
        1.414214
    """
    low, high = jnp.broadcast_arrays(
        jnp.asarray(low, jnp.float64), jnp.asarray(high, jnp.float64)
    )
    frozen = jax.lax.stop_gradient

    def narrow(turn: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        bottom, top = bracket
        middle = 0.5 * (bottom + top)
        point = jnp.where(turn == 0, frozen(high), middle)
        above = residual(point) > 0
        return jnp.where(above, bottom, point), jnp.where(above, point, top)

    start = (frozen(low), frozen(high))
    bottom, _ = jax.lax.fori_loop(0, ITERATIONS, narrow, start)
    point = frozen(bottom)
    value, slope = jax.jvp(residual, (point,), (jnp.ones_like(point),))
    slope = frozen(jnp.where(slope > 0, slope, 1.0))
    interior = point - (value - frozen(value)) / slope
    at_end = jnp.where(point >= frozen(high), high, low)
    inside = (point > frozen(low)) & (point < frozen(high))
    return jnp.where(inside, interior, at_end)
