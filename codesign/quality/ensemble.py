"""How sure is a quality gap? The same law under many plausible constants.

Constants and their spread -> a fixed set of draws; model and reference under
the same draws -> gaps, their quantiles, and the chance to be no worse.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # stats loads at first use: it takes longer than the rest
from jax import Array
from numpy.typing import NDArray
from scipy.special import ndtri

from codesign.core.compiler import jitted
from codesign.core.paths import get_path, set_path
from codesign.core.quantities import Fraction, Ratio, Scalar
from codesign.core.record import Record
from codesign.core.solve import rising_root
from codesign.model.transformer import Transformer
from codesign.quality.constants import (
    Anchor,
    Laws,
    LawSpread,
    Nats,
    QualityConstants,
)
from codesign.quality.downstream import head_score
from codesign.quality.evaluate import State, law_state, reducible_loss
from codesign.quality.laws import compute_gap, dense_gap

NUM_DRAWS = 256
SEARCH_DRAWS = 16
SEED = 7  # of 60, see benchmarks/quality_draws.py
SEARCH_SEED = 889  # of 1200, see benchmarks/quality_draws.py
LAW_VALUES = 6  # which law, and the five values of the first
WIDENING = 2.0  # of deviations from the mean outside the evidence
BAND = (0.05, 0.95)
BISECTIONS = 45  # to 1e-13 of the range
BANDWIDTH = 0.25  # of the slope of a quantile, in standard deviations
FAR = 12.0  # bandwidths beyond which a weight is zero
SPREADING = 0.5  # of each draw in a smooth quantile, in sd n^(-1/3)
FREEDOM = 3.0  # degrees of freedom of a Student's t
TURNS = 6  # towards its most likely deviation
SMALLEST_VARIANCE = 1e-18  # where all draws agree
PLACE_ROUNDING = 1e-9  # of level * count, which is whole where it should be

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """One standard deviation of each uncertain constant, by its path.

    Of the logarithm where ``lognormal``, else of the value. ``law`` is the
    joint spread of the first base law, ``anchor`` the step in model size that
    carries surcharges from it to another law.
    """

    paths: tuple[str, ...]
    deviations: tuple[float, ...]
    lognormal: tuple[bool, ...]
    law: LawSpread
    anchor: Anchor


class Draws(Record):
    """Constants with a leading axis of draws, where they are uncertain at all.

    Each draw holds one base law, as often as its weight says, so the axis of
    laws has length one.
    """

    constants: QualityConstants


class Paired(Record):
    """Gaps of one model to a reference, one entry per draw; positive is worse.

    The score's own laws and curve are not drawn, its error is 8 points.
    """

    gap: Ratio
    gap_nats: Nats
    loss: Nats
    mmlu: Fraction


class Reference(Record):
    """A set of draws and what the reference reaches under each of them."""

    draws: Draws
    excess: Nats


class Interval(Record):
    """Mean and 5th to 95th percentile over the draws."""

    mean: Scalar
    low: Scalar
    high: Scalar


class Band(Record):
    """How sure a gap is: its spread and the share of draws with no loss.

    Outside of the evidence deviations from the mean are doubled.
    """

    gap: Interval
    gap_nats: Interval
    loss: Interval
    no_worse: Fraction


def uniform_points(count: int, width: int) -> Floats:
    """Points of the unit cube that fill each axis evenly, the same every time."""
    seed = SEARCH_SEED if count == SEARCH_DRAWS else SEED
    return scrambled_points(count, width, seed=seed)


def scrambled_points(count: int, width: int, *, seed: int) -> Floats:
    """Scrambled Sobol points moved to the middle of their cells.

    Every axis holds (i + 1/2) / count exactly once. Each is scrambled from a seed
    of its own, so that a further constant leaves the draws of the others as they
    are.

    Assumes: count is a power of two.
    Source: Owen, J. Complexity 14(4), 1998.
    """
    sobol = scipy.stats.qmc.Sobol
    seeds = [np.random.default_rng([seed, axis]) for axis in range(width)]
    axes = [
        sobol(axis + 1, scramble=True, rng=rng).random(count).T[axis]
        for axis, rng in enumerate(seeds)
    ]
    return np.asarray((np.floor(np.stack(axes, axis=1) * count) + 0.5) / count)


def build_draws(
    constants: QualityConstants, spread: Spread, *, count: int = NUM_DRAWS
) -> Draws:
    """A fixed set of correlated draws of all constants.

    Independent normals or lognormals, but for the first law, whose five values
    come from their joint normal distribution: coefficient and exponent of a law
    correlate by 0.999. The other laws are published without a spread, and
    drawn as points.

    Assumes: weights of the laws as in ``constants``; a normal constant that
    would fall below zero is zero.
    """
    points = uniform_points(count, LAW_VALUES + len(spread.paths))
    laws = _draw_laws(constants.laws, spread, points=points[:, :LAW_VALUES])
    drawn = constants.replace(laws=laws)
    deviates = ndtri(points[:, LAW_VALUES:])
    for column, path in enumerate(spread.paths):
        middle = float(get_path(constants, path))
        step = spread.deviations[column] * deviates[:, column]
        moved = middle * np.exp(step) if spread.lognormal[column] else middle + step
        drawn = set_path(drawn, path, value=jnp.asarray(np.maximum(moved, 0.0)))
    return Draws(constants=drawn)


def _draw_laws(laws: Laws, spread: Spread, *, points: Floats) -> Laws:
    """One law per draw, its axis of length one, with its scale of surcharges."""
    edges = np.cumsum(np.asarray(laws.weight))
    which = np.minimum(np.searchsorted(edges, points[:, 0]), len(edges) - 1)
    root = np.linalg.cholesky(np.asarray(spread.law.correlation))
    steps = (ndtri(points[:, 1:]) @ root.T).T
    return _chosen_laws(
        laws,
        spread.law,
        anchor=spread.anchor,
        which=jnp.asarray(which),
        steps=jnp.asarray(steps),
    )


@jitted(level=0)
def _chosen_laws(
    laws: Laws, law: LawSpread, *, anchor: Anchor, which: Array, steps: Array
) -> Laws:
    own = _vary_first_law(laws, law, steps=steps)
    fixed: Laws = jax.tree.map(lambda leaf: leaf[which], laws)
    first = which == 0
    chosen: Laws = jax.tree.map(lambda a, b: jnp.where(first, a, b), own, fixed)
    sizes = {"small": anchor.small, "large": anchor.large, "tokens": anchor.tokens}
    scale = dense_gap(chosen, **sizes) / dense_gap(laws, **sizes)[0]
    chosen = chosen.replace(delta_scale=scale, weight=jnp.ones(len(which)))
    return jax.tree.map(lambda leaf: leaf[:, None], chosen)


def _vary_first_law(laws: Laws, spread: LawSpread, *, steps: Array) -> Laws:
    """The first law with correlated deviations of its five values, per draw.

    A N0^-alpha and B D0^-beta at the pivots vary nearly independently of the
    exponents, A and B do not.
    """
    first: Laws = jax.tree.map(lambda leaf: leaf[0], laws)
    size = first.size_exponent + spread.size_exponent * steps[2]
    data = first.data_exponent + spread.data_exponent * steps[4]
    size_shift = (size - first.size_exponent) * jnp.log(spread.size_pivot)
    data_shift = (data - first.data_exponent) * jnp.log(spread.data_pivot)
    size_step = spread.log_size_term * steps[1] + size_shift
    data_step = spread.log_data_term * steps[3] + data_shift
    level = first.irreducible_loss + spread.irreducible_loss * steps[0]
    return first.replace(
        irreducible_loss=level,
        size_coefficient=first.size_coefficient * jnp.exp(size_step),
        size_exponent=size,
        data_coefficient=first.data_coefficient * jnp.exp(data_step),
        data_exponent=data,
        weight=jnp.ones(len(steps[0])),
        delta_scale=jnp.ones(len(steps[0])),
    )


def draw_axes(draws: Draws) -> Any:
    """Axes for ``jax.vmap`` over the draws: 0 where a constant varies."""
    axes = jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, draws)
    constants = axes.constants.replace(mmlu=None)
    return axes.replace(constants=constants)


def reference_under(
    draws: Draws, reference: Transformer, *, own: Draws | None = None
) -> Reference:
    """The draws with the reducible loss that the reference has under each.

    ``own`` are the same draws under the reference's recipe where that is another.
    """
    theirs = draws if own is None else own
    return Reference(draws=draws, excess=_under(theirs, reference).excess)


def paired(model: Transformer, reference: Reference) -> Paired:
    """Gaps of a model to the reference under the same draws.

    gap_k = (1/alpha_k + 1/beta_k) ln(l_k / l_ref,k), l = L - E, in draw k

    Pure: ``jit``, ``vmap`` over models and ``grad`` work.

    Assumes: constants of the law are wrong in the same way for both models, so
    that most of the spread of their levels cancels.
    """
    found = _under(reference.draws, model)
    laws = reference.draws.constants.laws
    flat: Laws = jax.tree.map(lambda leaf: leaf[:, 0], laws)
    return Paired(
        gap=compute_gap(flat, found.excess, reference_excess=reference.excess),
        gap_nats=found.excess - reference.excess,
        loss=flat.irreducible_loss + found.excess,
        mmlu=found.score,
    )


class _Under(Record):
    """Reducible loss and score of a model, one entry per draw."""

    excess: Nats
    score: Fraction


def _under(draws: Draws, model: Transformer) -> _Under:
    def one(draw: Draws) -> _Under:
        constants = draw.constants
        state: State = law_state(model, constants)
        excess = reducible_loss(state, constants.laws)[0]
        score = head_score(
            constants.mmlu,
            log_parameters=state.log_parameters,
            tokens=state.tokens,
            surcharge=state.surcharge,
        )
        return _Under(excess=excess, score=score)

    found: _Under = jax.vmap(one, in_axes=(draw_axes(draws),))(draws)
    return found


def quantile(values: Array, level: float) -> Array:
    """Smallest value that at least this share of the draws does not exceed.

    Q_p <= 0 holds exactly where p of the draws are <= 0. Bisection on the count,
    ten times faster than sorting. Its slope is the mean over the draws near by,

    dQ_p = E[dx | x = Q_p],  weighted by exp(-((x - Q_p) / h)^2 / 2), h = sd / 4,

    so that it does not hang on a single draw.

    Source: Hong, Operations Research 57(1), 2009 (slope of a quantile).
    """
    place = np.ceil(level * len(values) - PLACE_ROUNDING)
    fixed = jax.lax.stop_gradient(values)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        enough = jnp.sum(fixed <= middle) >= place
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    least, most = jnp.min(fixed), jnp.max(fixed)
    start = (least - (most - least) - 1.0, most)
    low, _ = jax.lax.fori_loop(0, BISECTIONS, halve, start)
    exact = jnp.min(jnp.where(fixed > low, fixed, most))
    width = BANDWIDTH * jnp.std(fixed) + jnp.finfo(fixed.dtype).tiny
    near = jnp.exp(-0.5 * jnp.clip((fixed - exact) / width, -FAR, FAR) ** 2)
    mean = jnp.sum(near * values) / jnp.sum(near)
    return mean + jax.lax.stop_gradient(exact - mean)


def smooth_quantile(values: Array, level: float) -> Array:
    """Quantile of the draws, each of them spread over a little of their deviation.

    mean_i s((Q_p - x_i) / h) = p,  h = sd / (2 n^(1/3)),  s logistic;
    sd of a Student's t

    Slopes dQ/dx_i are the weights s'((Q - x_i) / h), and a little of what moves h.
    They have no jump where two draws tie, unlike those of sorted values: optima lie
    on such ties. One far draw neither moves sd much nor, on the harmless side, Q.

    Source: Azzalini, Biometrika 68(1), 1981 (quantiles of a smoothed distribution).
    """
    spread = SPREADING * len(values) ** (-1 / 3) * robust_deviation(values)
    reach = spread * np.log(level / (1.0 - level))

    def above(point: Array) -> Array:
        return jnp.mean(jax.nn.sigmoid((point - values) / spread)) - level

    low, high = jnp.min(values) + reach, jnp.max(values) + reach
    return rising_root(above, low=low - spread, high=high + spread)


def robust_deviation(values: Array) -> Array:
    """Standard deviation that a few far values do not widen: of a Student's t.

    v = mean_i w_i (x_i - m)^2,  m = sum_i w_i x_i / sum_i w_i,
    w_i = (nu + 1) / (nu + (x_i - m)^2 / v),  nu = 3

    A fixed number of turns from mean and variance, so that it is smooth.

    Source: Lange, Little, Taylor, J. Am. Stat. Assoc. 84(408), 1989.
    """

    def turn(_: int, found: tuple[Array, Array]) -> tuple[Array, Array]:
        middle, variance = found
        weights = (FREEDOM + 1.0) / (FREEDOM + (values - middle) ** 2 / variance)
        middle = weights @ values / jnp.sum(weights)
        variance = jnp.mean(weights * (values - middle) ** 2) + SMALLEST_VARIANCE
        return middle, variance

    start = jnp.mean(values), jnp.var(values) + SMALLEST_VARIANCE
    return jnp.sqrt(jax.lax.fori_loop(0, TURNS, turn, start)[1])


def band(found: Paired, *, extrapolated: Scalar) -> Band:
    """Mean, 5th to 95th percentile, and the share of draws with gap <= 0."""
    factor = jnp.where(jnp.asarray(extrapolated), WIDENING, 1.0)

    def widened(values: Array) -> Array:
        middle = jnp.mean(values)
        return middle + factor * (values - middle)

    def interval(values: Array) -> Interval:
        wide = widened(values)
        low, high = jnp.quantile(wide, jnp.asarray(BAND))
        return Interval(mean=jnp.mean(values), low=low, high=high)

    return Band(
        gap=interval(jnp.asarray(found.gap)),
        gap_nats=interval(jnp.asarray(found.gap_nats)),
        loss=interval(jnp.asarray(found.loss)),
        no_worse=jnp.mean(widened(jnp.asarray(found.gap)) <= 0.0),
    )
