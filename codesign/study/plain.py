"""How does a record become plain data for JSON, and a record again?

Record of arrays <-> nested mapping of SI floats; what is not finite is null.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

import jax.numpy as jnp
import numpy as np

from codesign.core.quantities import Unit, unit_of
from codesign.core.record import Record, part_of

_R = TypeVar("_R", bound=Record)


def to_plain(record: Record) -> dict[str, Any]:
    """Nested mapping of the SI values of a record, without parts that are None.

    Example:
        >>> from codesign.hardware.chip import Link
        >>> to_plain(Link(bandwidth=450e9, energy=2e-11, hop_latency=jnp.inf))
        {'bandwidth': 450000000000.0, 'energy': 2e-11, 'hop_latency': None}
    """
    fields = get_type_hints(type(record), include_extras=True)
    values = {name: getattr(record, name) for name in fields}
    return {k: _plain_value(value) for k, value in values.items() if value is not None}


def from_plain(record_type: type[_R], data: Mapping[str, Any]) -> _R:
    """The record of a nested mapping; null becomes NaN."""
    fields: dict[str, Any] = {}
    for name, hint in get_type_hints(record_type, include_extras=True).items():
        part = part_of(hint)
        if part is not None:
            fields[name] = from_plain(part, data[name]) if name in data else None
        elif unit_of(hint) is None:
            fields[name] = from_plain(hint, data[name])
        else:
            fields[name] = jnp.asarray(_with_nan(data[name]), jnp.float64)
    return record_type(**fields)


def flatten(record: Record) -> dict[str, Any]:
    """SI value of every leaf by dotted path."""
    return flat_values(to_plain(record))


def flat_values(data: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a nested mapping by dotted path.

    Example:
        >>> flat_values({"a": {"b": 1.0}, "c": 2.0})
        {'a.b': 1.0, 'c': 2.0}
    """
    return dict(_leaves(data, ""))


def field_label(path: str, unit: Unit) -> str:
    """Heading of a column: path and unit, such as ``power [W]``."""
    return path if unit.text == "1" else f"{path} [{unit.text}]"


def finite_or_none(value: Any) -> Any:
    """Floats that JSON cannot hold as None, at any depth of lists and mappings."""
    if isinstance(value, dict):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _plain_value(value: Any) -> Any:
    if isinstance(value, Record):
        return to_plain(value)
    return finite_or_none(np.asarray(value, np.float64).tolist())


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return math.nan if value is None else value


def _leaves(data: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in data.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            found += _leaves(value, f"{path}.")
        else:
            found.append((path, value))
    return found
