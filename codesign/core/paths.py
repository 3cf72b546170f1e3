"""Which value does a dotted path such as ``chip.dram.bandwidth`` name?

A record and a path -> the leaf, or the record with that leaf replaced.
"""

import difflib
from functools import cache
from typing import Any, TypeVar

from codesign.core.errors import UnknownKeyError
from codesign.core.quantities import Scalar, Unit
from codesign.core.record import Record, field_units

_R = TypeVar("_R", bound=Record)


def get_path(record: Any, path: str) -> Any:
    """The value at a dotted path of a record."""
    value = record
    for name in path.split("."):
        if not hasattr(value, name):
            raise unknown_path(type(record), path)
        value = getattr(value, name)
    return value


def set_path(record: _R, path: str, *, value: Scalar) -> _R:
    """The record with the leaf at a dotted path replaced."""
    name, _, rest = path.partition(".")
    old = get_path(record, path)
    if isinstance(old, Record):
        raise unknown_path(type(record), path)
    if rest:
        value = set_path(getattr(record, name), rest, value=value)
    return record.replace(**{name: value})


def path_units(record_type: type[Record]) -> dict[str, Unit]:
    """Unit of every leaf of a record type, by dotted path."""
    return dict(_units(record_type))


@cache
def _units(record_type: type[Record]) -> tuple[tuple[str, Unit], ...]:
    """Reading the annotations of a design takes milliseconds, so it is done once."""
    return tuple(field_units(record_type))


def nearest(name: str, known: list[str]) -> list[str]:
    """Up to three known names that look most like the given one."""
    return difflib.get_close_matches(name, known, n=3, cutoff=0.5)


def unknown_path(record_type: type[Record], path: str) -> UnknownKeyError:
    """The error for a path that the record type does not have."""
    known = list(path_units(record_type))
    close = nearest(path, known) or known[:3]
    return UnknownKeyError(f"{path}: unknown parameter. Close: {', '.join(close)}")
