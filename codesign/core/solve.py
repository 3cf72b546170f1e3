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


def bisect(
    residual: Callable[[Array], Array], low: Scalar, high: Scalar
) -> Array:
    """Largest point of [low, high] at which an increasing residual is <= 0.

    Bisection finds x*; one Newton step x* - f(x*) / f'(x*), taken with x* held
    constant, then carries dx*/dtheta = -(df/dtheta) / (df/dx). Where the
    residual stays below zero the answer is ``high`` and moves with it.

    Assumes: residual(low) <= 0, or the answer is ``low``.

    Example:
        >>> round(float(bisect(lambda x: x * x - 2.0, 0.0, 3.0)), 6)
        1.414214
    """
    low, high = jnp.asarray(low, jnp.float64), jnp.asarray(high, jnp.float64)

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        bottom, top = bracket
        middle = 0.5 * (bottom + top)
        above = residual(middle) > 0
        return jnp.where(above, bottom, middle), jnp.where(above, middle, top)

    frozen = jax.lax.stop_gradient
    bottom, top = jax.lax.fori_loop(0, ITERATIONS, halve, (frozen(low), frozen(high)))
    point = frozen(0.5 * (bottom + top))
    value, slope = jax.jvp(residual, (point,), (jnp.ones_like(point),))
    slope = frozen(jnp.where(slope > 0, slope, 1.0))
    interior = point - (value - frozen(value)) / slope
    at_high = frozen(residual(high)) <= 0
    at_low = frozen(residual(low)) > 0
    return jnp.where(at_high, high, jnp.where(at_low, low, interior))
