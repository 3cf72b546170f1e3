"""How do max, min and ceil become differentiable without changing their limit?

Values and a sharpness -> the smooth value. ``sharpness=None`` is the hard
function of every reported number; a number (256 in the search) is the smooth
one, which tends to the hard one as the sharpness grows.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Scalar

Sharpness = float | None


def smooth_max(*values: Scalar, sharpness: Sharpness) -> Array:
    """Largest of non-negative values.

    max_p(v) = (v_1^p + ... + v_n^p)^(1/p), computed relative to the largest.

    Assumes: v >= 0. Lies above the hard maximum by at most n^(1/p).
    Source: the p-norm; bias measured in docs/theory/smooth.md.

    Example:
        >>> round(float(smooth_max(3.0, 2.0, sharpness=None)), 6)
        3.0
    """
    stacked = jnp.stack(jnp.broadcast_arrays(*map(jnp.asarray, values)))
    largest = jnp.max(stacked, axis=0)
    if sharpness is None:
        return largest
    positive = largest > 0
    scale = jnp.where(positive, largest, 1.0)
    total = jnp.sum((stacked / scale) ** sharpness, axis=0)
    return jnp.where(positive, scale * jnp.where(positive, total, 1.0) ** (1 / sharpness), 0.0)


def smooth_min(*values: Scalar, sharpness: Sharpness) -> Array:
    """Smallest of positive values, 1 / max_p(1 / v).

    Assumes: v > 0. Lies below the hard minimum by at most n^(-1/p).

    Example:
        >>> round(float(smooth_min(3.0, 2.0, sharpness=None)), 6)
        2.0
    """
    return 1.0 / smooth_max(*(1.0 / jnp.asarray(v) for v in values), sharpness=sharpness)


def smooth_ceil(value: Scalar, *, sharpness: Sharpness) -> Array:
    """Smallest integer not below a non-negative value, and at least one.

    c(x) = max_p(1, y + 1/2 + atan(r sin 2 pi y / (1 - r cos 2 pi y)) / pi),
    y = x - sqrt(1 - r) / 2, r = 1 - p^(-1/8): the Fourier series of the
    staircase with its k-th harmonic damped by r^k. The slope stays between
    (1 - r) / (1 + r) and its inverse, so a gradient sees through the steps.

    Example:
        >>> int(smooth_ceil(2.2, sharpness=None))
        3
    """
    value = jnp.asarray(value)
    if sharpness is None:
        return jnp.maximum(1.0, jnp.ceil(value - 1e-9))
    damping = 1.0 - sharpness ** (-1.0 / 8.0)
    shifted = value - jnp.sqrt(1.0 - damping) / 2.0
    angle = 2.0 * jnp.pi * shifted
    stairs = jnp.arctan2(damping * jnp.sin(angle), 1.0 - damping * jnp.cos(angle))
    return smooth_max(1.0, shifted + 0.5 + stairs / jnp.pi, sharpness=sharpness)


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
