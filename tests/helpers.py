"""How do two trees compare, and does a function follow the units it declares?"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from codesign.core.quantities import BASE_UNITS, Unit, unit_of
from codesign.core.record import Record

_R = TypeVar("_R", bound=Record)


def assert_trees_close(
    a: Any, b: Any, *, rtol: float = 1e-9, atol: float = 0.0
) -> None:
    """Same structure, and every pair of leaves close; NaN equals NaN."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    pairs = zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True)
    for (path, left), right in pairs:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        np.testing.assert_allclose(left, right, rtol=rtol, atol=atol, err_msg=name)


def tree_finite(tree: Any) -> bool:
    """Whether every number of every leaf is finite."""
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))


def central_difference(
    function: Callable[[Any], Any], point: Any, *, step: float = 1e-5
) -> np.ndarray:
    """Slope of a scalar function in each entry of an array.

    df/dx_i = (f(x + h e_i) - f(x - h e_i)) / 2h
    """
    point = np.asarray(point, np.float64)
    slopes = np.empty_like(point)
    for index in np.ndindex(point.shape):
        shift = np.zeros_like(point)
        shift[index] = step
        rise = float(function(point + shift)) - float(function(point - shift))
        slopes[index] = rise / (2.0 * step)
    return slopes


def random_factors(
    seed: int, *, bases: tuple[str, ...] = BASE_UNITS
) -> dict[str, float]:
    """One factor between 1/4 and 4 for each base unit."""
    draws = np.random.default_rng(seed).uniform(-2.0, 2.0, len(bases))
    return {base: float(2.0**draw) for base, draw in zip(bases, draws, strict=True)}


def unit_factor(unit: Unit, factors: Mapping[str, float]) -> float:
    """By how much a value in this unit grows when the base units are rescaled."""
    powers = (factors.get(b, 1.0) ** power for b, power in unit.dimensions.items())
    return float(np.prod(list(powers)))


def rescale(value: Any, annotation: Any, *, factors: Mapping[str, float]) -> Any:
    """A value of an annotation in rescaled units; plain types stay as they are."""
    unit = unit_of(annotation)
    if unit is not None:
        return value * unit_factor(unit, factors)
    if isinstance(value, Record):
        return rescale_record(value, factors)
    return value


def rescale_record(record: _R, factors: Mapping[str, float]) -> _R:
    """The record with each leaf multiplied by prod(factor ^ exponent) of its unit."""
    hints = get_type_hints(type(record), include_extras=True)
    return record.replace(
        **{
            n: rescale(getattr(record, n), hint, factors=factors)
            for n, hint in hints.items()
        }
    )


def random_record(record_type: type[_R], *, seed: int = 0) -> _R:
    """A record whose leaves are distinct values between 0.5 and 1.5."""
    hints = get_type_hints(record_type, include_extras=True)
    values: dict[str, Any] = {}
    for name, hint in hints.items():
        if unit_of(hint) is None:
            values[name] = random_record(hint, seed=seed)
        else:
            key = zlib.crc32(f"{record_type.__name__}.{name}".encode())
            draw = np.random.default_rng([seed, key]).uniform(0.5, 1.5)
            values[name] = jnp.asarray(draw, jnp.float64)
    return record_type(**values)


def assert_follows_units(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    factors: Mapping[str, float],
    rtol: float = 1e-9,
) -> None:
    """Rescaled arguments give the result rescaled by the annotation of the return."""
    hints = get_type_hints(function, include_extras=True)
    scaled = {
        n: rescale(v, hints.get(n), factors=factors) for n, v in arguments.items()
    }
    expected = rescale(function(**arguments), hints["return"], factors=factors)
    assert_trees_close(function(**scaled), expected, rtol=rtol)
