"""What does ``--set path=value`` change, and is the design still a legal one?

Assignments such as ``chip.dram.bandwidth=8 TB/s`` -> the design, or the data
of a study file, with those values replaced; a design -> its faults.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from codesign.config.units import format_quantity, parse_quantity
from codesign.core.errors import CodesignError, InputError, UnitError, UnknownKeyError
from codesign.core.paths import get_path, nearest, path_units, set_path
from codesign.core.quantities import Unit
from codesign.serving.design import Design

BOUND_KEYS = ("min", "max", "choices", "multiple_of", "integer")
MAX_SHOWN = 8

_WHOLE = (
    "system.num_chips",
    "deployment.tensor_parallel",
    "deployment.pipeline_parallel",
    "deployment.expert_parallel",
)
_POSITIVE = (
    *_WHOLE,
    "deployment.batch",
    "deployment.power_limit",
    "deployment.prefill_voltage",
    "deployment.decode_voltage",
    "request.prompt_length",
    "request.output_length",
    "system.domain_size",
)
_SIGNED = "chip.anchor."
_ROUNDING = 1e-9


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
    if value < 0 and not path.startswith(_SIGNED):
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


def design_faults(design: Design) -> dict[str, str]:
    """What is impossible or illegal about a design, by dotted path.

    Values must be finite, and not negative outside the anchor; shares lie in
    [0, 1]; degrees of parallelism are whole and divide what they split. Whether
    the model fits into memory is a limit of the cost, not a fault.
    """
    faults = _value_faults(design)
    if not set(_POSITIVE) & faults.keys():
        faults |= _placement_faults(design)
    return faults


def _value_faults(design: Design) -> dict[str, str]:
    faults: dict[str, str] = {}
    for path, unit in path_units(Design).items():
        values = np.asarray(get_path(design, path), np.float64)
        fault = _value_fault(path, values, unit=unit)
        if fault:
            faults[path] = fault
    if float(design.request.prefix_hit_fraction) >= 1:
        message = "1 leaves no token to prefill; allowed is 0 to below 1."
        faults.setdefault("request.prefix_hit_fraction", message)
    sram = design.chip.sram
    shares = float(sram.tile_fraction + sram.weight_fraction + sram.kv_fraction)
    if shares > 1 + _ROUNDING:
        message = f"shares of tiles, weights and KV add up to {shares:g}; at most 1."
        faults.setdefault("chip.sram.tile_fraction", message)
    return faults


def _value_fault(path: str, values: np.ndarray, *, unit: Unit) -> str:
    lowest, highest = float(np.min(values)), float(np.max(values))
    if not np.all(np.isfinite(values)):
        return f"{values} is not a finite number."
    if path in _POSITIVE and lowest <= 0:
        return f"{format_quantity(lowest, unit)} is not positive."
    if lowest < 0 and not path.startswith(_SIGNED):
        return f"{format_quantity(lowest, unit)} is negative; allowed is 0 or more."
    if path in _WHOLE and not lowest.is_integer():
        return f"{lowest:g} is not a whole number."
    if path.endswith(("_fraction", "_efficiency")) and highest > 1:
        return f"{highest:g} is above 1; a fraction lies in [0, 1]."
    return ""


def _placement_faults(design: Design) -> dict[str, str]:
    faults: dict[str, str] = {}
    system, deployment, model = design.system, design.deployment, design.model
    chips, layers = int(system.num_chips), int(model.num_layers)
    tensor, stages = int(deployment.tensor_parallel), int(deployment.pipeline_parallel)
    expert, experts = int(deployment.expert_parallel), int(model.num_experts)
    heads = int(model.num_heads)
    if chips % (tensor * stages):
        faults["deployment.tensor_parallel"] = (
            f"tensor_parallel {tensor} x pipeline_parallel {stages} does not divide "
            f"num_chips {chips}. Divisors: {_divisors(chips)}."
        )
    elif heads % tensor:
        faults["deployment.tensor_parallel"] = (
            f"{tensor} does not divide num_heads {heads}. Divisors: {_divisors(heads)}."
        )
    if stages > layers:
        faults["deployment.pipeline_parallel"] = (
            f"{stages} stages are more than num_layers {layers}."
        )
    if expert > max(1, experts):
        faults["deployment.expert_parallel"] = (
            f"{expert} ranks are more than num_experts {experts}."
        )
    elif (chips // stages) % expert or max(tensor, expert) % min(tensor, expert):
        faults["deployment.expert_parallel"] = (
            f"{expert} ranks do not divide the {chips // stages} chips of a stage "
            f"into whole groups beside tensor_parallel {tensor}."
        )
    return faults


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)
