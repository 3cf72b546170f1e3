"""What does a metric do when one parameter runs through a list of values?

Design, dotted path and values -> the cost at each, hard and with its load
settled, and a table of self-describing rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from codesign.config.design import check_design
from codesign.config.units import format_quantity, parse_quantity
from codesign.core.errors import BoundsError, InputError
from codesign.core.paths import get_path, path_units, unknown_path
from codesign.core.quantities import Unit
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.outcome.service import Service
from codesign.serving.design import Design, set_parameter
from codesign.study.plain import field_label, flatten
from codesign.study.service import service

FEWEST_POINTS = 2
KEPT = 1e-6  # largest ln(use / limit) of a limit that counts as kept


@dataclass(frozen=True)
class Line:
    """Costs along one parameter; ``designs`` are those that were evaluated.

    ``services`` are their costs per byte, answer and life.
    """

    path: str
    unit: Unit
    values: tuple[float, ...]
    designs: tuple[Design, ...]
    costs: tuple[Cost, ...]
    services: tuple[Service, ...]


def sweep_line(design: Design, path: str, *, values: Sequence[float]) -> Line:
    """Evaluate a design at each SI value of one parameter.

    All other parameters stay, except that the shares of layer kinds follow
    ``model.num_layers``.

    Raises:
        UnknownKeyError: the path is no parameter.
        InputError: a value makes the design impossible; says which and why.

    Example:
        ``sweep_line(design, "chip.dram.bandwidth", values=[2e12, 4e12, 8e12])``
    """
    unit = _scalar_unit(design, path)
    designs = tuple(_placed(design, path, value=value, unit=unit) for value in values)
    costs = tuple(jax.device_get(evaluate(each)) for each in designs)
    services = tuple(map(service, designs, costs))
    return Line(
        path=path,
        unit=unit,
        values=tuple(values),
        designs=designs,
        costs=costs,
        services=jax.device_get(services),
    )


def read_values(texts: Sequence[str], *, path: str) -> list[float]:
    """SI values of texts with units for the parameter at a path.

    Raises:
        UnitError: a text has no unit, or one of another dimension.
    """
    return [parse_quantity(text, _unit(path), name=path) for text in texts]


def spaced_values(
    low: str, high: str, *, points: int, path: str, logarithmic: bool = False
) -> list[float]:
    """Evenly spaced SI values between two texts with units, both included.

    Example:
        >>> spaced_values("1 TB/s", "4 TB/s", points=3, path="chip.dram.bandwidth",
        ...               logarithmic=True)
        [1000000000000.0, 2000000000000.0, 4000000000000.0]
    """
    first, last = read_values([low, high], path=path)
    if points < FEWEST_POINTS:
        raise BoundsError(f"{path}: {points} points; a sweep has at least 2.")
    if first >= last:
        raise BoundsError(f"{path}: from {low} is not below to {high}. Swapped?")
    if not logarithmic:
        return [float(value) for value in np.linspace(first, last, points)]
    if first <= 0:
        raise BoundsError(f"{path}: {low} is not positive, as logarithmic steps need.")
    return [float(f"{value:.12g}") for value in np.geomspace(first, last, points)]


def line_rows(found: Line) -> list[dict[str, float | str | None]]:
    """One row per value: the parameter, every metric with its unit, kept limits.

    The last columns are the other numbers of system, deployment and request, so
    that a table explains itself.
    """
    inputs = path_units(Design)
    described = [p for p in inputs if p.startswith(DESCRIBED) and p != found.path]
    rows: list[dict[str, float | str | None]] = []
    units = {**path_units(Cost), **path_units(Service)}
    for value, design, cost, served in zip(
        found.values, found.designs, found.costs, found.services, strict=True
    ):
        metrics = {**flatten(cost), **flatten(served)}
        row: dict[str, float | str | None] = {
            field_label(found.path, found.unit): value
        }
        row |= {field_label(p, units[p]): metrics[p] for p in metrics}
        row["violated"] = " ".join(violated_limits(cost))
        row |= {
            field_label(p, inputs[p]): float(get_path(design, p)) for p in described
        }
        rows.append(row)
    return rows


def line_metric(found: Line, name: str, *, index: int) -> float:
    """A metric of cost or service at one of the values."""
    root = found.services if name in Service.__dataclass_fields__ else found.costs
    return float(get_path(root[index], name))


DESCRIBED = ("system.", "deployment.", "request.")


def violated_limits(cost: Cost) -> dict[str, float]:
    """Use over limit of every limit that a design breaks, worst first."""
    excess = {
        path: value
        for path, value in flatten(cost.limits).items()
        if value is None or value > KEPT
    }
    ratios = {
        path: math.inf if value is None else math.exp(value)
        for path, value in excess.items()
    }
    return dict(sorted(ratios.items(), key=lambda item: -item[1]))


def _placed(design: Design, path: str, *, value: float, unit: Unit) -> Design:
    changed = set_parameter(design, path, value=jnp.asarray(value, jnp.float64))
    try:
        check_design(changed)
    except InputError as error:
        text = format_quantity(value, unit)
        raise InputError(f"At {path} = {text}:\n{error}") from error
    return changed


def _scalar_unit(design: Design, path: str) -> Unit:
    unit = _unit(path)
    if np.ndim(get_path(design, path)):
        raise InputError(f"{path}: is a table; a sweep changes a single number.")
    return unit


def _unit(path: str) -> Unit:
    units = path_units(Design)
    if path not in units:
        raise unknown_path(Design, path)
    return units[path]
