"""How do texts with units become a record, and what is known of each value?

A record type and a nested mapping -> the record with float64 leaves; all
problems at once. A value is a text (``3.35 TB/s``), a list of texts, or an
entry that adds what is known of it: ``{value: 3.35 TB/s, source: ...}``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

import jax.numpy as jnp

from codesign.config.units import parse_quantity
from codesign.config.yaml import Problems
from codesign.core.checks import check_x64
from codesign.core.errors import UnitError
from codesign.core.quantities import Unit, unit_of
from codesign.core.record import Record, part_of

_R = TypeVar("_R", bound=Record)

ENTRY_KEYS = (
    "value",
    "low",
    "high",
    "source",
    "year",
    "status",
    "confidence",
    "note",
)
STATUSES = (
    "verified",
    "measured",
    "derived",
    "calibrated",
    "announced",
    "recalled",
    "assumed",
)
UNSURE = ("announced", "recalled", "assumed")  # no source that measured or sold it


@dataclass(frozen=True)
class ValueInfo:
    """What is known of one value: SI, spread, where it comes from, how sure.

    ``value``, ``low`` and ``high`` are floats, or lists for a column of a table.
    """

    value: Any
    unit: Unit
    low: Any = None
    high: Any = None
    source: str = ""
    year: int | None = None
    status: str = ""
    confidence: str = ""
    note: str = ""


def unsure(values: Mapping[str, ValueInfo]) -> dict[str, ValueInfo]:
    """Values that were announced, recalled or assumed, by path."""
    return {path: info for path, info in values.items() if info.status in UNSURE}


def unsure_facts(values: Mapping[str, ValueInfo]) -> dict[str, dict[str, Any]]:
    """What ``unsure`` finds as plain data: value in SI, unit, status, source."""
    return {
        path: {
            "value": info.value,
            "unit": info.unit.text,
            "status": info.status,
            "source": info.source,
        }
        for path, info in unsure(values).items()
    }


def build_record(
    record_type: type[_R],
    data: Any,
    *,
    problems: Problems,
    prefix: str = "",
    defaults: dict[str, float] | None = None,
) -> _R | None:
    """The record that a nested mapping of texts describes; None with problems.

    ``defaults`` fills leaves that may be absent, by dotted path below
    ``prefix``.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> from codesign.hardware.chip import Link
        >>> texts = {"bandwidth": "450 GB/s", "energy": "5 pJ/bit"}
        >>> problems = Problems(file="chip.yaml")
        >>> build_record(Link, texts, problems=problems)
        >>> problems.text()
        'chip.yaml  link: missing key: hop_latency.'
    """
    before = len(problems.found)
    name = prefix or record_type.__name__.lower()
    infos = read_values(
        record_type, data, problems=problems, prefix=name, optional=set(defaults or {})
    )
    if len(problems.found) > before:
        return None
    values = {path: info.value for path, info in infos.items()}
    return record_from_values(record_type, {**(defaults or {}), **values})


def read_values(
    record_type: type[Record],
    data: Any,
    *,
    problems: Problems,
    prefix: str,
    optional: set[str] | None = None,
) -> dict[str, ValueInfo]:
    """What is known of every leaf of a record, by dotted path below the prefix."""
    reader = _Reader(problems, prefix, optional or set(), {})
    reader.collect(record_type, data, path="")
    return reader.found


def record_from_values(record_type: type[_R], values: dict[str, Any]) -> _R:
    """A record with float64 leaves from SI values by dotted path."""
    check_x64()
    return _assemble(record_type, values, path="")


def _assemble(record_type: type[_R], values: dict[str, Any], *, path: str) -> _R:
    fields: dict[str, Any] = {}
    for name, annotation in record_fields(record_type).items():
        below = f"{path}{name}"
        if unit_of(annotation) is None:
            fields[name] = _assemble(annotation, values, path=f"{below}.")
        else:
            fields[name] = jnp.asarray(values[below], jnp.float64)
    return record_type(**fields)


@dataclass
class _Reader:
    problems: Problems
    prefix: str
    optional: set[str]
    found: dict[str, ValueInfo]

    def collect(self, record_type: type[Record], data: Any, *, path: str) -> None:
        fields = record_fields(record_type)
        where = self.place(path)
        if not isinstance(data, dict):
            expected = ", ".join(fields)
            self.problems.add(where, f"expected keys {expected}; found {data!r}.")
            return
        self.check_keys(fields, data, path=path)
        for name in [name for name in fields if name in data]:
            unit, below = unit_of(fields[name]), _join(path, name)
            if unit is None:
                self.collect(fields[name], data[name], path=below)
                continue
            place = self.place(below)
            info = read_entry(data[name], unit, problems=self.problems, path=place)
            if info is not None:
                self.found[below] = info

    def check_keys(
        self, fields: dict[str, Any], data: dict[str, Any], *, path: str
    ) -> None:
        where = self.place(path)
        for key in data:
            if key not in fields:
                self.problems.unknown_key(_join(where, key), list(fields))
        missing = [n for n in fields if n not in data]
        needed = [n for n in missing if not self.is_optional(_join(path, n))]
        self.problems.missing_keys(where, needed)

    def is_optional(self, path: str) -> bool:
        """Whether a leaf, or a whole section (named with a final dot), may lack."""
        return path in self.optional or f"{path}." in self.optional

    def place(self, path: str) -> str:
        return _join(self.prefix, path)


def read_entry(
    entry: Any, unit: Unit, *, problems: Problems, path: str
) -> ValueInfo | None:
    """One value with what is known of it; None where it cannot be read."""
    if not isinstance(entry, dict):
        entry = {"value": entry}
    before = len(problems.found)
    for key in entry:
        if key not in ENTRY_KEYS:
            problems.unknown_key(f"{path}.{key}", list(ENTRY_KEYS))
    if "value" not in entry:
        problems.missing_keys(path, ["value"])
    status = str(entry.get("status", ""))
    if status and status not in STATUSES:
        allowed = ", ".join(STATUSES)
        problems.add(f"{path}.status", f'"{status}" is not one of {allowed}.')
    numbers = {
        key: _number(entry[key], unit, problems=problems, path=path)
        for key in ("value", "low", "high")
        if key in entry
    }
    if len(problems.found) > before:
        return None
    notes = {
        key: str(entry[key]) for key in ("source", "confidence", "note") if key in entry
    }
    year = entry.get("year")
    return ValueInfo(
        unit=unit, status=status, year=int(year) if year else None, **numbers, **notes
    )


def _number(text: Any, unit: Unit, *, problems: Problems, path: str) -> Any:
    if isinstance(text, list):
        return [_number(item, unit, problems=problems, path=path) for item in text]
    if not isinstance(text, (str, int, float)):
        problems.add(path, f"expected a quantity, found {text!r}.")
        return None
    try:
        return parse_quantity(text, unit, name=path)
    except UnitError as error:
        problems.add(path, str(error).removeprefix(f"{path}: "))
        return None


@cache
def record_fields(record_type: type[Record]) -> dict[str, Any]:
    """Annotations of what a file must hold: not of records that may be None."""
    hints = get_type_hints(record_type, include_extras=True)
    return {name: hint for name, hint in hints.items() if part_of(hint) is None}


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name
