"""Which values may parameters take: set by hand, free in bounds, legal at all?

Assignments such as ``chip.dram.bandwidth=8 TB/s`` -> the design with those
values; the ``free`` section of a study -> variables with their bounds; a design
-> its faults.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from codesign.config.records import read_entry
from codesign.config.units import format_quantity, lacks_unit, parse_quantity
from codesign.config.yaml import Problems
from codesign.core.errors import CodesignError, InputError, UnitError, UnknownKeyError
from codesign.core.paths import get_path, nearest, path_units
from codesign.core.quantities import Unit
from codesign.serving.design import Design, set_parameter

BOUND_KEYS = ("min", "max", "choices", "multiple_of", "integer")
GOVERNED = ("deployment.decode_voltage", "deployment.prefill_voltage")
FACTOR_AND_PATH = re.compile(
    r"(?:(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*\*\s*)?([A-Za-z_][\w.]*)"
)
"""A dotted path, or a number times one: ``0.9 * chip.tdp``."""

_MAX_SHOWN = 8
_FEWEST_CHOICES = 2
_COUNTABLE = ("1", "bit", "token", "MAC")
_TABLES = "technology.nodes."
_LOG = "Variables move in log coordinates; allowed is more than 0."

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
    "technology.datacenter.utilization",
    "chip.program.volume",
    "chip.program.model_volume",
    "chip.store.rewrite_time",
    "chip.store.arrays.cells_per_byte",
    "chip.store.arrays.rows",
    "chip.store.arrays.cols_per_adc",
    "chip.store.arrays.input_bits",
    "chip.store.arrays.adc_bits",
    "chip.store.arrays.reference_node",
)
_STRUCTURE = (
    *_WHOLE,
    "model.num_layers",
    "model.num_heads",
    "model.num_experts",
    "request.prefix_hit_fraction",
    "chip.sram.tile_fraction",
    "chip.sram.weight_fraction",
    "chip.sram.kv_fraction",
)
"""Parameters that rules tie to each other."""
_SHARES = (".acceptance", "model.weight_density", "model.activation_density")
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
    if path.startswith(_TABLES):
        raise InputError(f"{path}: is a table; one number cannot replace it.")
    value = parse_quantity(text, units[path], name=path)
    if value < 0 and not path.startswith(_SIGNED):
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


@dataclass(frozen=True)
class Variable:
    """A free parameter and its legal values, SI; of choices low, high are the ends.

    ``high_path`` names the parameter that bounds it, times ``high_factor``;
    ``high`` is then the largest value which that bound can take. ``multiple``
    is 0 and ``choices`` empty where they do not apply.
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
    elif path.startswith(_TABLES):
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
    if not isinstance(texts, list) or len(texts) < _FEWEST_CHOICES:
        message = "expected a list of at least two values"
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
    integer = entry.get("integer", False)
    if not isinstance(integer, bool):
        problems.add(f"{place}.integer", f"expected true or false; found {integer!r}.")
    low = numbers.get("min")
    high = low if reference else numbers.get("max")
    if low is None or high is None:
        return None
    return Variable(
        path,
        unit.text,
        low,
        high,
        high_path=reference[2] if reference else None,
        high_factor=float(reference[1] or 1.0) if reference else 1.0,
        multiple=numbers.get("multiple_of") or 0.0,
        integer=integer is True,
    )


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
        if unit is None or variable.high_path.startswith(_TABLES):
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
        variable = replace(variable, high=high)
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
    if variable.low == variable.high:
        problems.add(place, f"{low} and {high} are equal; leave the variable out.")
        return
    if variable.integer:
        _check_integer(variable, problems)
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


def legal_points(
    design: Design, paths: Sequence[str], *, values: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which rows of values make a legal design when they stand at the paths.

    The same rules as ``design_faults`` for what changes; the rest of the design
    counts as legal.
    """
    units = path_units(Design)
    legal = np.all(np.isfinite(values), axis=1)
    for column, path in enumerate(paths):
        if not _value_fault(path, values[:, column], unit=units[path]):
            continue
        for row in np.nonzero(legal)[0]:
            one = values[row : row + 1, column]
            legal[row] = not _value_fault(path, one, unit=units[path])
    chosen = [i for i, path in enumerate(paths) if path in _STRUCTURE]
    if not chosen:
        return legal
    combinations, place = np.unique(values[:, chosen], axis=0, return_inverse=True)
    sound = [
        legal[place.ravel() == i].any()
        and _is_placed(design, [paths[c] for c in chosen], values=row)
        for i, row in enumerate(combinations)
    ]
    return legal & np.asarray(sound)[place.ravel()]


def _is_placed(design: Design, paths: Sequence[str], *, values: Any) -> bool:
    for path, value in zip(paths, values, strict=True):
        design = set_parameter(design, path, value=float(value))
    hits, sram = float(design.request.prefix_hit_fraction), design.chip.sram
    shares = float(sram.tile_fraction + sram.weight_fraction + sram.kv_fraction)
    return hits < 1 and shares <= 1 + _ROUNDING and not _placement_faults(design)


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
    if path.endswith(("_fraction", "_efficiency", *_SHARES)) and highest > 1:
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
