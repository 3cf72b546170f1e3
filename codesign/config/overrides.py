"""What does ``--set path=value`` change, in a design or in a study file?

Assignments such as ``chip.dram.bandwidth=8 TB/s`` -> the design, or the data
of a study file, with those values replaced.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from codesign.config.units import parse_quantity
from codesign.core.errors import CodesignError, InputError, UnitError, UnknownKeyError
from codesign.core.paths import get_path, nearest, path_units, set_path
from codesign.serving.design import Design

BOUND_KEYS = ("min", "max", "choices", "multiple_of", "integer")
MAX_SHOWN = 8


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
    for path, value in parse_overrides(assignments, design=design).items():
        design = set_path(design, path, jnp.asarray(value, jnp.float64))
    return design


def parse_overrides(assignments: Sequence[str], *, design: Design) -> dict[str, float]:
    """SI value of each assignment, by dotted path; all problems at once."""
    values: dict[str, float] = {}
    errors: list[CodesignError] = []
    for assignment in assignments:
        try:
            path, text = split_assignment(assignment)
            values[path] = read_override(path, text, design=design)
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


def read_override(path: str, text: Any, *, design: Design) -> float:
    """SI value of a text for the parameter at a path of the design."""
    units = path_units(Design)
    if path not in units:
        raise UnknownKeyError(f"{path}: {unknown_parameter(path)}")
    if not isinstance(text, (str, int, float)):
        raise UnitError(f"{path}: expected a quantity, found {text!r}.")
    size = jnp.size(get_path(design, path))
    if size > 1:
        raise InputError(
            f"{path}: is a table of {size} values; one number cannot replace it."
        )
    value = parse_quantity(text, units[path], name=path)
    if value < 0 and not path.startswith("chip.anchor."):
        raise InputError(f"{path}: {text} is negative; allowed is 0 or more.")
    return value


def unknown_parameter(path: str) -> str:
    """What to say of a path that a ``Design`` does not have."""
    known = list(path_units(Design))
    inside = [name for name in known if name.startswith(f"{path}.")]
    if inside:
        more = ", ..." if len(inside) > MAX_SHOWN else "."
        return f"is a group of parameters: {', '.join(inside[:MAX_SHOWN])}{more}"
    close = nearest_paths(path, known) or ["chip.", "system.", "model.", "deployment."]
    return f"unknown parameter. Close: {', '.join(close)}"


def nearest_paths(path: str, known: Sequence[str]) -> list[str]:
    """Known paths with the same last word, else those that look most alike."""
    last = path.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]
    likely = nearest(path, list(known))
    ends = {name.rpartition(".")[2]: name for name in reversed(known)}
    alike = [ends[end] for end in nearest(last, list(ends))]
    return list(dict.fromkeys([*nearest(path, same), *same, *likely, *alike]))[:3]


def override_study(
    data: Mapping[str, Any], assignments: Sequence[str], *, sections: Sequence[str]
) -> dict[str, Any]:
    """Data of a study file with assignments in place.

    A path that starts with a section of the file changes that entry
    (``search.seed=1``, ``free.chip.tdp.max=900 W``); any other is a parameter
    of the baseline (``chip.tdp=500 W``).
    """
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    for assignment in assignments:
        path, text = split_assignment(assignment)
        section, _, rest = path.partition(".")
        if section not in sections:
            keys, value = ["baseline", "set", path], text
        else:
            keys, value = [section, *_split_below(section, rest)], _typed(text)
        _insert(changed, keys, value=value)
    return changed


def _split_below(section: str, rest: str) -> list[str]:
    parameter, _, key = rest.rpartition(".")
    if section == "free" and key in BOUND_KEYS and parameter:
        return [parameter, key]
    return [rest] if rest else []


def _insert(data: dict[str, Any], keys: Sequence[str], *, value: Any) -> None:
    for key in keys[:-1]:
        below = data.setdefault(key, {})
        if not isinstance(below, dict):
            raise InputError(f"{'.'.join(keys)}: {key} is not a mapping.")
        data = below
    data[keys[-1]] = value


def _typed(text: str) -> Any:
    """Number, truth value, list or text, as YAML reads it."""
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise InputError(f'"{text}" cannot be read as a YAML value.') from error
