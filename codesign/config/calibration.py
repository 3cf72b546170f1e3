"""Which constants does a calibration fit, and what is known of them before?

``configs/calibration/<name>.yaml`` -> a ``Constant`` per entry, in order.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from codesign.config.catalogue import read_preset
from codesign.config.units import parse_quantity
from codesign.config.yaml import Problems, problems_of
from codesign.core.errors import InputError
from codesign.core.paths import nearest, path_units
from codesign.core.quantities import Unit
from codesign.serving.design import Design

SECTIONS = ("time", "power")
KEYS = ("prior", "spread", "low", "tasks", "common", "source")


@dataclass(frozen=True)
class Constant:
    """A leaf of a design that is fitted, with its prior.

    ln(value) has a normal prior around ``prior``, or around the preset's value
    where it is None, with standard deviation ``spread``, and is cut off below
    ``low``. ``tasks`` limits it to some runs. ``common`` is the correlation of that
    prior between stacks that are fitted together.
    """

    path: str
    prior: float | None
    spread: float
    low: float
    tasks: tuple[str, ...]
    section: str
    source: str
    common: float = 0.0

    @property
    def label(self) -> str:
        """The path, and the tasks that it is limited to."""
        return f"{self.path} ({', '.join(self.tasks)})" if self.tasks else self.path


def load_constants(name_or_path: str | Path = "serving") -> tuple[Constant, ...]:
    """Constants of a preset or file.

    Raises:
        InputError: with every problem of the file, one per line.
    """
    document = read_preset("calibration", name_or_path)
    problems = problems_of(document)
    found: list[Constant] = []
    for section in SECTIONS:
        entries = document.data.get(section) or {}
        if not isinstance(entries, dict):
            problems.add(section, "expected a mapping of paths to priors.")
            continue
        for path, entry in entries.items():
            found += _constant(path, entry, section=section, problems=problems)
    for key in document.data:
        if key not in ("name", "title", "aliases", *SECTIONS):
            problems.unknown_key(key, list(SECTIONS))
    problems.raise_if_any()
    return tuple(found)


def _constant(
    path: str, entry: Any, *, section: str, problems: Problems
) -> list[Constant]:
    place = f"{section}.{path}"
    units = path_units(Design)
    if path not in units:
        close = ", ".join(nearest(path, list(units)))
        problems.add(place, f"no such parameter of a design. Close: {close}.")
        return []
    if not isinstance(entry, dict):
        problems.add(place, "expected prior, spread, tasks and source.")
        return []
    for key in entry:
        if key not in KEYS:
            problems.unknown_key(f"{place}.{key}", list(KEYS))
    spread = entry.get("spread")
    if not isinstance(spread, int | float) or not spread > 0:
        problems.add(f"{place}.spread", "expected a number above zero.")
        return []
    common = entry.get("common", 0.0)
    if not isinstance(common, int | float) or not 0 <= common < 1:
        problems.add(f"{place}.common", "expected a correlation from 0 to below 1.")
        return []
    read = partial(_value, unit=units[path], place=place, problems=problems)
    return [
        Constant(
            path=path,
            prior=read(entry, "prior"),
            spread=float(spread),
            low=read(entry, "low") or 0.0,
            tasks=tuple(str(task) for task in entry.get("tasks") or ()),
            section=section,
            source=str(entry.get("source", "")),
            common=float(common),
        )
    ]


def _value(
    entry: dict[str, Any], key: str, *, unit: Unit, place: str, problems: Problems
) -> float | None:
    if key not in entry:
        return None
    try:
        value = parse_quantity(entry[key], unit, name=f"{place}.{key}")
    except InputError as error:
        problems.add(f"{place}.{key}", str(error))
        return None
    if not value > 0:
        problems.add(f"{place}.{key}", "must be above zero.")
        return None
    return value
