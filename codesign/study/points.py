"""Which values do the parameters take at the points of a plan?

Plan and a range of point numbers -> an array with one row per point and one
column per axis, the same whoever asks for whichever part of it.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from codesign.config.sweep import Axis, Plan

Floats = NDArray[np.float64]
SMALLEST = 2.0**-31  # half a step of the scrambled sequence


def point_values(plan: Plan, *, start: int, stop: int) -> Floats:
    """SI values of the points ``start`` to ``stop - 1`` of a plan.

    The last axis of a grid runs fastest. Sobol points are scrambled by the
    seed; a Latin hypercube shuffles the strata of all its points at once.

    Source: Owen, "Scrambled net variance for integrals of smooth functions",
    Annals of Statistics 25(4), 1997; McKay, Beckman, Conover, "A comparison of
    three methods for selecting values of input variables", Technometrics 21(2),
    1979.

    Example:
        >>> from codesign.config.sweep import build_plan
        >>> plan = build_plan({"chip.tdp": [500.0, 700.0], "chip.dies": [1.0, 2.0]})
        >>> point_values(plan, start=1, stop=3).tolist()
        [[500.0, 2.0], [700.0, 1.0]]
    """
    if plan.method == "grid":
        return _grid(plan, start=start, stop=stop)
    if plan.method == "list":
        return np.stack([axis.values[start:stop] for axis in plan.axes], axis=1)
    if plan.method == "sobol":
        unit = _sobol(plan, start=start, stop=stop)
    else:
        unit = _hypercube(len(plan.axes), plan.points, seed=plan.seed)[start:stop]
    columns = [axis_values(axis, unit[:, i]) for i, axis in enumerate(plan.axes)]
    return np.stack(columns, axis=1)


def axis_values(axis: Axis, unit: Floats) -> Floats:
    """Values of an axis at numbers in [0, 1].

    linear lo + u (hi - lo);  log lo (hi / lo)^u;  normal m + z(u) s and lognormal
    m exp(z(u) s), with s on either side of the middle m the distance to low and
    high.
    """
    if axis.scale == "linear":
        return axis.low + unit * (axis.high - axis.low)
    if axis.scale == "log":
        return axis.low * (axis.high / axis.low) ** unit
    drawn = _drawn(axis, ndtri(unit))
    return np.minimum(drawn, axis.most) if axis.most else drawn


def _drawn(axis: Axis, normal: Floats) -> Floats:
    if axis.scale == "normal":
        below, above = axis.middle - axis.low, axis.high - axis.middle
        return axis.middle + normal * np.where(normal < 0, below, above)
    below = np.log(axis.middle / axis.low)
    above = np.log(axis.high / axis.middle)
    return axis.middle * np.exp(normal * np.where(normal < 0, below, above))


def _grid(plan: Plan, *, start: int, stop: int) -> Floats:
    shape = tuple(len(axis.values) for axis in plan.axes)
    places = np.unravel_index(np.arange(start, stop), shape)
    columns = [
        np.asarray(axis.values)[place]
        for axis, place in zip(plan.axes, places, strict=True)
    ]
    return np.stack(columns, axis=1)


def _sobol(plan: Plan, *, start: int, stop: int) -> Floats:
    engine: Any = qmc.Sobol(len(plan.axes), scramble=True, rng=plan.seed)
    first = engine.random(1)  # SciPy warns of a first draw that is no power of two
    if start == 0:
        unit = np.concatenate([first, engine.random(stop - 1)])
    else:
        engine.fast_forward(start - 1)
        unit = np.asarray(engine.random(stop - start))
    return np.clip(unit, SMALLEST, 1.0 - SMALLEST)


@lru_cache(maxsize=1)
def _hypercube(axes: int, points: int, *, seed: int) -> Floats:
    engine: Any = qmc.LatinHypercube(axes, rng=seed)
    return np.clip(engine.random(points), SMALLEST, 1.0 - SMALLEST)
