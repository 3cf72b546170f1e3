"""How do max, min and ceil become differentiable without changing their limit?

Values and a sharpness -> the smooth value. ``sharpness=None`` is the hard
function of every reported number; a number (256 in the search) is the smooth
one, which tends to the hard one as the sharpness grows.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Scalar

Sharpness = float | None
STAIRLESS = 256.0  # sharpness up to which a ceil is a ramp
ROUNDING = 1e-9  # a size this close above a whole tile is that tile


def smooth_max(*values: Scalar, sharpness: Sharpness) -> Array:
    """Largest of non-negative values.

    max_p(v) = (v_1^p + ... + v_n^p)^(1/p), computed relative to the largest,
    which scales out of the derivative.

    Assumes: v >= 0. Lies above the hard maximum by at most n^(1/p).
    Source: the p-norm; bias measured in docs/theory/smooth.md.

    Example:
        >>> round(float(smooth_max(3.0, 2.0, sharpness=None)), 6)
        3.0
    """
    largest = functools.reduce(jnp.maximum, map(jnp.asarray, values))
    if sharpness is None:
        return largest
    positive = largest > 0
    scale = jax.lax.stop_gradient(jnp.where(positive, largest, 1.0))
    total = sum(_power(jnp.asarray(value) / scale, sharpness) for value in values)
    root = jnp.exp(jnp.log(jnp.where(positive, total, 1.0)) / sharpness)
    return jnp.where(positive, scale * root, 0.0)


def _power(ratio: Array, sharpness: float) -> Array:
    whole = int(sharpness)
    if whole == sharpness:
        return jax.lax.integer_pow(ratio, whole)
    return ratio**sharpness


def smooth_min(*values: Scalar, sharpness: Sharpness) -> Array:
    """Smallest of positive values, 1 / max_p(1 / v).

    Assumes: v > 0. Lies below the hard minimum by at most n^(-1/p).

    Example:
        >>> round(float(smooth_min(3.0, 2.0, sharpness=None)), 6)
        2.0
    """
    return 1.0 / smooth_max(
        *(1.0 / jnp.asarray(v) for v in values), sharpness=sharpness
    )


def smooth_ceil(value: Scalar, *, sharpness: Sharpness) -> Array:
    """Smallest integer not below a non-negative value, and at least one.

    c(x) = max_p(1, floor(x) + min(k f, 1 - (1 - f) / k)),  f = x - floor(x),
    k = max(1, (p / 256)^(1/8)): each step rises with slope k, then with slope 1 / k.

    At the search's p = 256 that is the ramp through the steps' corners, exact at
    whole numbers above one: on steps a descent and its certificate get stuck. The
    steps rise with p and are the hard ones in the limit.

    Source: docs/decisions/03_ramps_for_stairs.md.

    Example:
        >>> int(smooth_ceil(2.2, sharpness=None))
        3
        >>> float(smooth_ceil(2.2, sharpness=256.0))
        2.2
    """
    value = jnp.asarray(value)
    if sharpness is None:
        return jnp.maximum(1.0, jnp.ceil(value - ROUNDING))
    slope = max(1.0, (sharpness / STAIRLESS) ** 0.125)
    whole = jnp.floor(value)
    part = value - whole
    steps = whole + jnp.minimum(slope * part, 1.0 - (1.0 - part) / slope)
    return smooth_max(1.0, steps, sharpness=sharpness)


def round_up(value: Scalar, *, multiple: Scalar, sharpness: Sharpness) -> Array:
    """Value rounded up to a multiple: padding to a tile."""
    return multiple * smooth_ceil(value / jnp.asarray(multiple), sharpness=sharpness)


def saturate(value: Scalar) -> Array:
    """Value clipped to [0, 1]; exact at both ends and in between."""
    return jnp.clip(value, 0.0, 1.0)


def safe_ratio(numerator: Scalar, denominator: Scalar, *, empty: float = 0.0) -> Array:
    """numerator / denominator, or ``empty`` where the denominator is zero."""
    positive = jnp.asarray(denominator) > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1.0), empty)
