"""Which points does a study visit? The ``sweep`` section of a study file.

A mapping of texts with units -> ``Plan``; problems of every entry are noted.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.config.overrides import unknown_parameter
from codesign.config.units import parse_quantity
from codesign.config.yaml import Problems
from codesign.core.errors import UnitError
from codesign.core.paths import path_units
from codesign.core.quantities import Unit
from codesign.cost.record import Cost
from codesign.quality.constants import QualityConstants
from codesign.serving.design import Design

METHODS = ("grid", "list", "sobol", "latin-hypercube")
DRAWN = ("sobol", "latin-hypercube")
EXECUTORS = ("inprocess", "processes", "ray")
SWEEP_KEYS = ("method", "over", "points", "seed", "search", "executor")
RANGE_KEYS = ("min", "max", "points", "log")
LIMITS = "subject_to."
QUALITY = "quality."
MOST_POINTS = 100_000_000
MOST_HYPERCUBE = 4_000_000  # its strata are shuffled as a whole
MOST_VALUES = 1_000_000
_TABLES = ("technology.nodes.", "technology.hbm.", "quality.laws.", "quality.mmlu.")


@dataclass(frozen=True)
class Axis:
    """One swept parameter: listed values, a range, or a spread around a value.

    ``scale`` says how a number u in [0, 1] becomes a value: ``linear`` and
    ``log`` between low and high; ``normal`` and ``lognormal`` draw with low and
    high one standard deviation away from the middle, of the value or its
    logarithm. Values above ``most`` are cut to it, where it is not 0.
    """

    path: str
    unit: str
    values: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    middle: float = 0.0
    scale: str = "linear"
    most: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Points of a sweep: how they are chosen, how many, and what is done at each.

    ``search`` optimises the study at every point instead of evaluating its
    baseline. ``executor`` computes the shards unless a call names another; no number
    depends on it.
    """

    method: str
    axes: tuple[Axis, ...]
    points: int
    seed: int = 0
    search: bool = False
    executor: str = EXECUTORS[0]


def build_plan(
    over: Mapping[str, Any],
    *,
    method: str = "grid",
    points: int | None = None,
    seed: int = 0,
    search: bool = False,
) -> Plan:
    """The plan of axes given as texts with units; numbers are SI.

    An axis is a list of values, or a range ``{min: ..., max: ..., points: ...,
    log: true}``. ``grid`` takes every combination, ``list`` the values of all
    axes side by side, ``sobol`` and ``latin-hypercube`` draw ``points`` from the
    ranges.

    Raises:
        InputError: with every problem, one per line.

    Example:
        >>> plan = build_plan({"chip.tdp": ["500 W", "700 W"]})
        >>> plan.points, plan.axes[0].values
        (2, (500.0, 700.0))
    """
    problems = Problems(file="sweep")
    section = {"over": over, "method": method, "seed": seed, "search": search}
    given = section if points is None else {**section, "points": points}
    plan = read_plan(given, problems=problems, place="", allow_bare=True)
    problems.raise_if_any()
    if plan is None:
        raise UnitError(problems.text())
    return plan


def read_plan(
    section: Mapping[str, Any],
    *,
    problems: Problems,
    place: str = "sweep.",
    allow_bare: bool = False,
) -> Plan | None:
    """The plan of a ``sweep`` section; None with problems noted."""
    before = len(problems.found)
    for key in [key for key in section if key not in SWEEP_KEYS]:
        problems.unknown_key(f"{place}{key}", list(SWEEP_KEYS))
    method = str(section.get("method", "grid"))
    if method not in METHODS:
        message = f'no method is called "{method}". Allowed: {", ".join(METHODS)}.'
        problems.add(f"{place}method", message)
    search = section.get("search", False)
    if not isinstance(search, bool):
        problems.add(f"{place}search", f"expected true or false; found {search!r}.")
    seed = _whole(section, "seed", lowest=0, problems=problems, place=place)
    axes = _axes(
        section.get("over"),
        method=method,
        problems=problems,
        place=f"{place}over",
        allow_bare=allow_bare,
    )
    _check_paths(axes, search=search is True, problems=problems, place=place)
    count = _count(section, method, axes=axes, problems=problems, place=place)
    executor = str(section.get("executor", EXECUTORS[0]))
    if executor not in EXECUTORS:
        allowed = f"Allowed: {', '.join(EXECUTORS)}."
        problems.add(
            f"{place}executor", f'no executor is called "{executor}". {allowed}'
        )
    if len(problems.found) > before:
        return None
    return Plan(method, axes, points=count, seed=seed, search=search, executor=executor)


def _whole(
    section: Mapping[str, Any],
    key: str,
    *,
    lowest: int,
    problems: Problems,
    place: str,
) -> int:
    value = section.get(key, lowest)
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        message = f"expected a whole number from {lowest} up, found {value!r}."
        problems.add(f"{place}{key}", message)
        return lowest
    return value


def _axes(
    over: Any, *, method: str, problems: Problems, place: str, allow_bare: bool
) -> tuple[Axis, ...]:
    if not isinstance(over, Mapping) or not over:
        example = "{chip.dram.bandwidth: {min: 2 TB/s, max: 8 TB/s, points: 4}}"
        problems.add(place, f"expected parameters to sweep, such as {example}.")
        return ()
    found: list[Axis] = []
    for path, entry in over.items():
        below = f"{place}.{path}"
        unit = swept_unit(str(path))
        if unit is None:
            problems.add(below, _unknown(str(path)))
            continue
        reader = _AxisReader(str(path), unit, problems, below, allow_bare)
        axis = reader.read(entry, method=method)
        if axis is not None:
            found.append(axis)
    return tuple(found)


def swept_unit(path: str) -> Unit | None:
    """Unit of a parameter, of ``quality.<constant>``, or of ``subject_to.<metric>``."""
    if path.startswith(LIMITS):
        return path_units(Cost).get(path.removeprefix(LIMITS))
    if path.startswith(_TABLES):
        return None
    if path.startswith(QUALITY):
        return path_units(QualityConstants).get(path.removeprefix(QUALITY))
    return path_units(Design).get(path)


def _unknown(path: str) -> str:
    if path.startswith(LIMITS):
        return f"no metric of Cost is called {path.removeprefix(LIMITS)}."
    if path.startswith(_TABLES):
        return "is a table; a sweep changes a single number."
    if path.startswith(QUALITY):
        return f"no constant of quality is called {path.removeprefix(QUALITY)}."
    return unknown_parameter(path)


@dataclass
class _AxisReader:
    path: str
    unit: Unit
    problems: Problems
    place: str
    allow_bare: bool

    def read(self, entry: Any, *, method: str) -> Axis | None:
        """The axis of a list or a range; None with problems noted."""
        if isinstance(entry, (list, tuple)):
            values = tuple(self.number(text) for text in entry)
            return self.listed(values, method=method)
        if isinstance(entry, Mapping):
            return self.range(entry, method=method)
        forms = "a list of values, or {min: ..., max: ..., points: ...}"
        self.problems.add(self.place, f"expected {forms}; found {entry!r}.")
        return None

    def listed(self, values: tuple[float, ...], *, method: str) -> Axis | None:
        if method in DRAWN:
            self.problems.add(self.place, f"{method} needs a range, not a list.")
        elif not 0 < len(values) <= MOST_VALUES:
            message = f"{len(values)} values; allowed is 1 to {MOST_VALUES}."
            self.problems.add(self.place, message)
        else:
            return Axis(self.path, self.unit.text, values=values)
        return None

    def range(self, entry: Mapping[str, Any], *, method: str) -> Axis | None:
        for key in [key for key in entry if key not in RANGE_KEYS]:
            self.problems.unknown_key(f"{self.place}.{key}", list(RANGE_KEYS))
        needed = ("min", "max") if method in DRAWN else ("min", "max", "points")
        missing = [key for key in needed if key not in entry]
        self.problems.missing_keys(self.place, missing)
        if missing:
            return None
        low, high = self.number(entry["min"]), self.number(entry["max"])
        logarithmic = entry.get("log", False) is True
        if not low < high:
            text = f"min {entry['min']} is not below max {entry['max']}. Swapped?"
            self.problems.add(self.place, text)
            return None
        if logarithmic and low <= 0:
            text = f"min {entry['min']} is not positive, as logarithmic steps need."
            self.problems.add(self.place, text)
            return None
        scale = "log" if logarithmic else "linear"
        axis = Axis(self.path, self.unit.text, low=low, high=high, scale=scale)
        return axis if method in DRAWN else self.spaced(axis, entry["points"])

    def spaced(self, axis: Axis, points: Any) -> Axis | None:
        whole = isinstance(points, int) and not isinstance(points, bool)
        if not whole or not 1 < points <= MOST_VALUES:
            message = f"expected a whole number from 2 to {MOST_VALUES}"
            self.problems.add(f"{self.place}.points", f"{message}, found {points!r}.")
            return None
        spacing = np.geomspace if axis.scale == "log" else np.linspace
        values = spacing(axis.low, axis.high, points)
        return Axis(self.path, self.unit.text, values=tuple(map(float, values)))

    def number(self, text: Any) -> float:
        if not isinstance(text, (str, int, float)):
            self.problems.add(self.place, f"expected a quantity, found {text!r}.")
            return 0.0
        bare = self.allow_bare and not isinstance(text, str)
        if self.unit.text == "s/token" and isinstance(text, str):
            with suppress(UnitError):  # a time per token may be written as a time
                return parse_quantity(text, Unit("s"), name=self.path)
        try:
            return parse_quantity(text, self.unit, name=self.path, allow_bare=bare)
        except UnitError as error:
            message = str(error).removeprefix(f"{self.path}: ")
            self.problems.add(self.place, message)
            return 0.0


def _check_paths(
    axes: tuple[Axis, ...], *, search: bool, problems: Problems, place: str
) -> None:
    for axis in axes:
        if axis.path.startswith(LIMITS) and not search:
            message = "only a search feels this limit; set search: true."
            problems.add(f"{place}over.{axis.path}", message)


def _count(
    section: Mapping[str, Any],
    method: str,
    *,
    axes: tuple[Axis, ...],
    problems: Problems,
    place: str,
) -> int:
    """Number of points, which only drawn plans state themselves."""
    if method in DRAWN:
        problems.missing_keys(
            place.removesuffix("."), [] if "points" in section else ["points"]
        )
        count = _whole(section, "points", lowest=1, problems=problems, place=place)
    elif "points" in section:
        message = f"follows from the axes of a {method}; leave it out."
        problems.add(f"{place}points", message)
        return 0
    elif method == "list":
        lengths = {axis.path: len(axis.values) for axis in axes}
        if len(set(lengths.values())) > 1:
            message = f"a list needs axes of equal length; found {lengths}."
            problems.add(f"{place}over", message)
        count = min(lengths.values(), default=0)
    else:
        count = 1
        for axis in axes:
            count *= len(axis.values)
    most = MOST_HYPERCUBE if method == "latin-hypercube" else MOST_POINTS
    if count > most:
        message = f"{count} points; a {method} has at most {most}."
        problems.add(f"{place}points", message)
    return count
