"""Where does a monotone function cross zero, and how does that point move?

A function and a bracket -> its root to the last bits, with the derivative of the
implicit function theorem.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.core.quantities import Scalar

MOST_TURNS = 120  # halving alone needs 53
RESOLUTION = 4 * float(np.finfo(np.float64).eps)  # of the root
HALF = 0.5


class Bracket(NamedTuple):
    """Newest point, the end across the root, the point before, and their values.

    ``share`` of the way from the newest point to the far one stands the next.
    """

    new: Array
    far: Array
    old: Array
    at_new: Array
    at_far: Array
    at_old: Array
    share: Array


def rising_root(
    residual: Callable[[Array], Array], *, low: Scalar, high: Scalar
) -> Array:
    """Largest point of [low, high] at which an increasing residual is <= 0.

    Inverse quadratic interpolation where three points allow it, else halves: about
    ten values of the residual. One Newton step x* - f(x*) / f'(x*), taken with x*
    held constant, then carries dx*/dtheta = -(df/dtheta) / (df/dx). Where the
    residual stays below zero the answer is ``high`` and moves with it. Works
    elementwise on arrays whose residuals do not depend on each other.

    Assumes: residual(low) <= 0, or the answer is ``low``.
    Source: Chandrupatla, Advances in Engineering Software 28(3), 1997.

    Example:
        >>> root = rising_root(lambda x: x * x - 2.0, low=0.0, high=3.0)
        >>> round(float(root), 6)
        1.414214
    """
    low, high = jnp.broadcast_arrays(
        jnp.asarray(low, jnp.float64), jnp.asarray(high, jnp.float64)
    )
    frozen = jax.lax.stop_gradient
    closed, moved = jax.closure_convert(residual, low)
    held = [frozen(each) for each in moved]
    point = _crossing(lambda x: closed(x, *held), low=frozen(low), high=frozen(high))
    value, slope = jax.jvp(residual, (point,), (jnp.ones_like(point),))
    slope = frozen(jnp.where(slope > 0, slope, 1.0))
    interior = point - (value - frozen(value)) / slope
    at_end = jnp.where(point >= frozen(high), high, low)
    inside = (point > frozen(low)) & (point < frozen(high))
    return jnp.where(inside, interior, at_end)


def _crossing(residual: Callable[[Array], Array], *, low: Array, high: Array) -> Array:
    """The last point below the crossing; an end where there is none inside."""
    at_low, at_high = jax.vmap(residual)(jnp.stack([low, high]))
    inside = (at_low <= 0) & (at_high > 0)

    def is_open(bracket: Bracket) -> Array:
        return inside & (_margin(bracket) < HALF)

    def goes_on(state: tuple[Array, Bracket]) -> Array:
        turn, bracket = state
        return (turn < MOST_TURNS) & jnp.any(is_open(bracket))

    def narrow(state: tuple[Array, Bracket]) -> tuple[Array, Bracket]:
        turn, bracket = state
        point = bracket.new + bracket.share * (bracket.far - bracket.new)
        closer = _closer(bracket, point=point, value=residual(point))
        going = is_open(bracket)
        return turn + 1, jax.tree.map(
            lambda ours, theirs: jnp.where(going, ours, theirs), closer, bracket
        )

    start = Bracket(
        new=high,
        far=low,
        old=low,
        at_new=at_high,
        at_far=at_low,
        at_old=at_low,
        share=jnp.full_like(high, HALF),
    )
    _, last = jax.lax.while_loop(goes_on, narrow, (jnp.zeros((), jnp.int32), start))
    root = jnp.where(last.at_new > 0, last.far, last.new)
    return jnp.where(inside, root, jnp.where(at_high > 0, low, high))


def _margin(bracket: Bracket) -> Array:
    """Smallest step that tells two points apart, as a share of the bracket."""
    width = jnp.abs(bracket.far - bracket.new)
    nearest = jnp.minimum(jnp.abs(bracket.far), jnp.abs(bracket.new))
    return jnp.where(
        width > 0, RESOLUTION * nearest / jnp.where(width > 0, width, 1.0), 1.0
    )


def _closer(bracket: Bracket, *, point: Array, value: Array) -> Bracket:
    """The bracket with a point inside it, and where the next one stands.

    Source: Chandrupatla 1997; interpolates where the inverse is monotone between
    the three points.
    """
    same = (value > 0) == (bracket.at_new > 0)

    def either(yes: Array, no: Array) -> Array:
        return jnp.where(same, yes, no)

    a, fa = point, value
    b, fb = either(bracket.far, bracket.new), either(bracket.at_far, bracket.at_new)
    c, fc = either(bracket.new, bracket.far), either(bracket.at_new, bracket.at_far)
    xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
    inverse = fa / (fb - fa) * fc / (fb - fc)
    inverse = inverse + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
    is_monotone = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
    closer = Bracket(
        new=a, far=b, old=c, at_new=fa, at_far=fb, at_old=fc, share=bracket.share
    )
    margin = jnp.minimum(_margin(closer), HALF)
    share = jnp.where(is_monotone, inverse, HALF)
    return closer._replace(share=jnp.clip(share, margin, 1 - margin))
