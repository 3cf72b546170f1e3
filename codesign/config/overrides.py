"""Which values are set by hand?

Assignments such as ``chip.dram.bandwidth=8 TB/s`` -> the design with those values.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from codesign.config.units import parse_quantity
from codesign.core.errors import CodesignError, InputError, UnitError, UnknownKeyError
from codesign.core.paths import nearest, path_units
from codesign.serving.design import Design, set_parameter

_MAX_SHOWN = 8
TABLES = ("technology.nodes.", "technology.hbm.")
SIGNED = "chip.anchor."


def apply_overrides(design: Design, assignments: Sequence[str]) -> Design:
    """The design with the leaves of ``path=value`` texts replaced.

    Each text replaces one leaf and nothing else: shares and limits that
    followed from the old value stay. Counts take bare numbers, every other
    quantity needs its unit.

    Raises:
        UnknownKeyError: a path is no parameter, with the nearest that are.
        UnitError: a value has no unit, or one of another dimension.
        InputError: a text has no ``=``, or a value is negative.

    Example:
        ``apply_overrides(design, ["chip.dram.bandwidth=8 TB/s"])``
    """
    for path, value in parse_overrides(assignments).items():
        design = set_parameter(design, path, value=jnp.asarray(value, jnp.float64))
    return design


def parse_overrides(assignments: Sequence[str]) -> dict[str, float]:
    """SI value of each assignment, by dotted path; all problems at once."""
    values: dict[str, float] = {}
    errors: list[CodesignError] = []
    for assignment in assignments:
        try:
            path, text = split_assignment(assignment)
            values[path] = read_override(path, text)
        except CodesignError as error:
            errors.append(error)
    if errors:
        raise type(errors[0])("\n".join(map(str, errors)))
    return values


def split_assignment(assignment: str) -> tuple[str, str]:
    """Path and text of ``path=value``."""
    path, equals, text = assignment.partition("=")
    if not equals or not path.strip() or not text.strip():
        raise InputError(
            f'"{assignment}" is not of the form path=value, '
            'such as "chip.dram.bandwidth=8 TB/s".'
        )
    return path.strip(), text.strip()


def read_override(path: str, text: Any) -> float:
    """SI value of a text for the parameter at a path of a design."""
    units = path_units(Design)
    if path not in units:
        raise UnknownKeyError(f"{path}: {unknown_parameter(path)}")
    if not isinstance(text, (str, int, float)):
        raise UnitError(f"{path}: expected a quantity, found {text!r}.")
    if path.startswith(TABLES):
        raise InputError(f"{path}: is a table; one number cannot replace it.")
    value = parse_quantity(text, units[path], name=path)
    if value < 0 and not path.startswith(SIGNED):
        raise InputError(f"{path}: {text} is negative; allowed is 0 or more.")
    return value


def unknown_parameter(path: str) -> str:
    """What to say of a path that a ``Design`` does not have."""
    known = list(path_units(Design))
    inside = [name for name in known if name.startswith(f"{path}.")]
    if inside:
        more = ", ..." if len(inside) > _MAX_SHOWN else "."
        return f"is a group of parameters: {', '.join(inside[:_MAX_SHOWN])}{more}"
    close = nearest_paths(path, known) or ["chip.", "system.", "model.", "deployment."]
    return f"unknown parameter. Close: {', '.join(close)}."


def nearest_paths(path: str, known: Sequence[str]) -> list[str]:
    """Known paths with the same last word, else those that look most alike."""
    last = path.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]
    likely = nearest(path, list(known))
    ends = {name.rpartition(".")[2]: name for name in reversed(known)}
    alike = [ends[end] for end in nearest(last, list(ends))]
    return list(dict.fromkeys([*nearest(path, same), *same, *likely, *alike]))[:3]
