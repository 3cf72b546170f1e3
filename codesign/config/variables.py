"""Which parameters are free, and within which bounds?

The ``free`` section of a study -> variables with their legal values.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codesign.config.overrides import TABLES, unknown_parameter
from codesign.config.records import read_entry
from codesign.config.units import format_quantity, lacks_unit
from codesign.config.yaml import Problems
from codesign.core.paths import get_path, path_units
from codesign.core.quantities import Unit
from codesign.serving.design import Design

BOUND_KEYS = ("min", "max", "choices", "multiple_of", "integer", "power_of_two")
GOVERNED = ("deployment.decode_voltage", "deployment.prefill_voltage")
FACTOR_AND_PATH = re.compile(
    r"(?:(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*\*\s*)?([A-Za-z_][\w.]*)"
)
"""A dotted path, or a number times one: ``0.9 * chip.tdp``."""
ROUNDING = 1e-9
LARGEST_POWER = 2.0**64
_COUNTABLE = ("1", "bit", "token", "MAC")
_LOG = "Variables move in log coordinates; allowed is more than 0."


@dataclass(frozen=True)
class Variable:
    """A free parameter and its legal values, SI; of choices low, high are the ends.

    ``high_path`` names the parameter that bounds it, times ``high_factor``;
    ``high`` is then the largest value which that bound can take. ``multiple``
    is 0 and ``choices`` empty where they do not apply. The ``choices`` of a
    ``power_of_two`` are those between its bounds.
    """

    path: str
    unit: str
    low: float
    high: float
    high_path: str | None = None
    high_factor: float = 1.0
    choices: tuple[float, ...] = ()
    multiple: float = 0.0
    integer: bool = False
    power_of_two: bool = False


def read_variables(
    free: Mapping[str, Any], *, baseline: Design | None, problems: Problems
) -> tuple[Variable, ...]:
    """Variables of a ``free`` section; problems of every entry are noted.

    A bound on a path is the largest value of that variable, or the baseline's
    where it is not free.
    """
    found = {
        path: _variable(path, entry, problems=problems) for path, entry in free.items()
    }
    _tell_units(free, baseline=baseline, problems=problems)
    drafts = {path: variable for path, variable in found.items() if variable}
    return tuple(
        _bounded(variable, drafts, free=free, baseline=baseline, problems=problems)
        for variable in drafts.values()
    )


def _tell_units(
    free: Mapping[str, Any], *, baseline: Design | None, problems: Problems
) -> None:
    """Add the baseline's value to the problems of bounds without a unit."""
    units = path_units(Design)
    for path in [p for p in free if p in units and isinstance(free[p], dict)]:
        bare = [k for k, v in free[path].items() if lacks_unit(v, units[path])]
        if baseline is None or not set(bare) & {"min", "max", "multiple_of"}:
            continue
        value = np.asarray(get_path(baseline, path))
        if value.ndim == 0:
            known = format_quantity(float(value), units[path])
            problems.add(f"free.{path}", f"the baseline's value is {known}.")


def _variable(path: str, entry: Any, *, problems: Problems) -> Variable | None:
    place, units = f"free.{path}", path_units(Design)
    if path not in units:
        problems.add(place, unknown_parameter(path))
    elif path in GOVERNED:
        problems.add(place, "is always free, the governor sets it. Leave it out.")
    elif path.startswith(TABLES):
        problems.add(place, "is a table; a variable is a single number.")
    elif not isinstance(entry, dict):
        forms = "{min: ..., max: ...} or {choices: [...]}"
        fixed = "A fixed value stands in the set: of the baseline."
        problems.add(place, f"expected {forms}; found {entry!r}. {fixed}")
    else:
        for key in [key for key in entry if key not in BOUND_KEYS]:
            problems.unknown_key(f"{place}.{key}", list(BOUND_KEYS))
        read = _choices if "choices" in entry else _range
        return read(path, entry, problems=problems)
    return None


def _choices(
    path: str, entry: Mapping[str, Any], *, problems: Problems
) -> Variable | None:
    place, unit = f"free.{path}.choices", path_units(Design)[path]
    others = [key for key in BOUND_KEYS if key in entry and key != "choices"]
    if others:
        problems.add(place, f"choices stand alone; drop {', '.join(others)}.")
    texts = entry["choices"]
    if not isinstance(texts, list) or not texts:
        message = "expected a list of values"
        problems.add(place, f"{message}; found {texts!r}.")
        return None
    info = read_entry(texts, unit, problems=problems, path=place)
    if info is None:
        return None
    values = tuple(sorted(set(info.value)))
    if len(values) < len(texts):
        problems.add(place, f"{texts} repeats a value.")
    if values[0] <= 0:
        problems.add(place, f"{values[0]:g} is not positive. {_LOG}")
    return Variable(path, unit.text, values[0], values[-1], choices=values)


def _range(
    path: str, entry: Mapping[str, Any], *, problems: Problems
) -> Variable | None:
    place, unit = f"free.{path}", path_units(Design)[path]
    problems.missing_keys(place, [k for k in ("min", "max") if k not in entry])
    reference = FACTOR_AND_PATH.fullmatch(str(entry.get("max", "")).strip())
    numbers = {
        key: _positive(entry[key], unit, place=f"{place}.{key}", problems=problems)
        for key in ("min", "max", "multiple_of")
        if key in entry and not (key == "max" and reference)
    }
    integer, power = (
        _flag(entry, key, place=place, problems=problems)
        for key in ("integer", "power_of_two")
    )
    others = [key for key in ("multiple_of", "integer") if power and entry.get(key)]
    if others:
        message = f"stands with min and max alone; drop {', '.join(others)}."
        problems.add(f"{place}.power_of_two", message)
    low = numbers.get("min")
    high = low if reference else numbers.get("max")
    if low is None or high is None:
        return None
    variable = Variable(
        path,
        unit.text,
        low,
        high,
        high_path=reference[2] if reference else None,
        high_factor=float(reference[1] or 1.0) if reference else 1.0,
        multiple=numbers.get("multiple_of") or 0.0,
        integer=integer,
        power_of_two=power,
    )
    return variable if reference else _listed(variable)


def _flag(
    entry: Mapping[str, Any], key: str, *, place: str, problems: Problems
) -> bool:
    found = entry.get(key, False)
    if not isinstance(found, bool):
        problems.add(f"{place}.{key}", f"expected true or false; found {found!r}.")
    return found is True


def _listed(variable: Variable) -> Variable:
    """The variable with the powers of two between its bounds as choices, if any."""
    if not (variable.power_of_two and 0.0 < variable.high <= LARGEST_POWER):
        return variable
    first = max(math.ceil(math.log2(variable.low) - ROUNDING), 0)
    last = math.floor(math.log2(variable.high) + ROUNDING)
    if last < first:
        return variable
    powers = tuple(2.0**exponent for exponent in range(first, last + 1))
    return replace(variable, low=powers[0], high=powers[-1], choices=powers)


def _positive(text: Any, unit: Unit, *, place: str, problems: Problems) -> float | None:
    if isinstance(text, (list, dict)):
        problems.add(place, f"expected a quantity, found {text!r}.")
        return None
    info = read_entry(text, unit, problems=problems, path=place)
    if info is not None and info.value <= 0:
        problems.add(place, f"{text} is not positive. {_LOG}")
        return None
    return info.value if info else None


def _bounded(
    variable: Variable,
    drafts: Mapping[str, Variable],
    *,
    free: Mapping[str, Any],
    baseline: Design | None,
    problems: Problems,
) -> Variable:
    """The variable with its bound on another one resolved, and checked."""
    if variable.high_path is not None:
        place, units = f"free.{variable.path}.max", path_units(Design)
        unit = units.get(variable.high_path)
        if unit is None or variable.high_path.startswith(TABLES):
            problems.add(place, unknown_parameter(variable.high_path))
            return variable
        if unit.dimensions != units[variable.path].dimensions:
            found = f"{variable.high_path} is in {unit.text}"
            problems.add(place, f"{found}; the variable is in {variable.unit}.")
            return variable
        high = _largest(variable, drafts, baseline=baseline)
        if high is None:
            if baseline is not None:
                problems.add(place, "leads to no number: bounds refer to each other.")
            return variable
        variable = _listed(replace(variable, high=high))
    _check_bounds(variable, free[variable.path], problems=problems)
    return variable


def _largest(
    variable: Variable, drafts: Mapping[str, Variable], *, baseline: Design | None
) -> float | None:
    """Upper bound along the chain of references; None where it has no end."""
    factor = 1.0
    for _ in drafts:
        if variable.high_path is None:
            return factor * variable.high
        factor *= variable.high_factor
        if variable.high_path not in drafts:
            known = baseline is not None and variable.high_path in path_units(Design)
            end = get_path(baseline, variable.high_path) if known else np.nan
            return factor * float(end) if known else None
        variable = drafts[variable.high_path]
    return factor * variable.high if variable.high_path is None else None


def _check_bounds(
    variable: Variable, entry: Mapping[str, Any], *, problems: Problems
) -> None:
    place, unit = f"free.{variable.path}", Unit(variable.unit)
    low, high = f"min {entry.get('min')}", f"max {entry.get('max')}"
    if variable.high_path:
        high = f"{high} = {format_quantity(variable.high, unit)}"
    if variable.low > variable.high:
        problems.add(place, f"{low} is above {high}. Swapped?")
        return
    if variable.integer:
        _check_integer(variable, problems)
    if variable.power_of_two:
        _check_power(variable, between=f"{low} and {high}", problems=problems)
    step = variable.multiple or float(variable.integer)
    if step and np.ceil(variable.low / step) > np.floor(variable.high / step):
        text = format_quantity(step, unit)
        problems.add(place, f"no multiple of {text} lies between {low} and {high}.")


def _check_integer(variable: Variable, problems: Problems) -> None:
    place = f"free.{variable.path}.integer"
    if variable.unit not in _COUNTABLE:
        message = f"only counts are whole numbers; this is in {variable.unit}."
        problems.add(place, f"{message} Use multiple_of.")
        return
    bounds = {"min": variable.low}
    if variable.high_path is None:
        bounds["max"] = variable.high
    for key, value in bounds.items():
        if not value.is_integer():
            problems.add(place, f"{key} {value:g} is not a whole number.")


def _check_power(variable: Variable, *, between: str, problems: Problems) -> None:
    place, unit = f"free.{variable.path}", Unit(variable.unit)
    if variable.unit not in _COUNTABLE:
        message = f"only counts are powers of two; this is in {variable.unit}."
        problems.add(f"{place}.power_of_two", f"{message} Use choices.")
    elif variable.high > LARGEST_POWER:
        problems.add(f"{place}.max", f"is above {LARGEST_POWER:g}.")
    elif not variable.choices:
        above = 2.0 ** max(math.ceil(math.log2(variable.high)), 0)
        near = [format_quantity(p, unit) for p in (above / 2, above) if p >= 1]
        verb = "nearest is" if len(near) == 1 else "nearest are"
        message = f"no power of two lies between {between}"
        problems.add(place, f"{message}; the {verb} {' and '.join(near)}.")
