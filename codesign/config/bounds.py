"""Which values do the bounds of free variables leave to each of them?

Variables of a study -> legal values of one; low ends that bounds on others need.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from codesign.config.units import format_quantity
from codesign.config.variables import ROUNDING, Variable
from codesign.core.quantities import Unit

Floats = NDArray[np.float64]
Conflict = tuple[str, str]


def legal_values(variable: Variable) -> Floats | None:
    """Values that a count may take by itself, rising; None if it is continuous."""
    if variable.choices:
        return np.array(sorted(variable.choices), float)
    step = variable.multiple or float(variable.integer)
    if not step:
        return None
    first = np.ceil(variable.low / step - ROUNDING)
    last = np.floor(variable.high / step + ROUNDING)
    return step * np.arange(first, last + 1)


def raise_lows(
    free: Sequence[Variable],
) -> tuple[tuple[Variable, ...], Conflict | None]:
    """The variables, each that bounds another no lower than that one needs.

    low(bound) >= low(bounded) / factor, along chains of bounds and up to the next
    legal value. Else a limit such as ``{min: 500 W, max: chip.tdp}`` has no value
    where the TDP is 200 W. The conflict is a path and the reason why no value is left.
    """
    found = {variable.path: variable for variable in free}
    for _ in free:
        for bounded in tuple(found.values()):
            bound = found.get(bounded.high_path or "")
            if bound is None:
                continue
            need = _least(bounded) / bounded.high_factor
            raised = _from(bound, need)
            if raised is None:
                reason = _too_low(bound, bounded, need=need)
                return tuple(free), (bounded.path, reason)
            found[bound.path] = raised
    return tuple(found.values()), None


def _least(variable: Variable) -> float:
    values = legal_values(variable)
    return variable.low if values is None else float(values[0])


def _from(variable: Variable, least: float) -> Variable | None:
    """The variable without values below the least one; None if none is left."""
    values = legal_values(variable)
    if values is None:
        if least > variable.high * (1 + ROUNDING):
            return None
        return replace(variable, low=max(variable.low, min(least, variable.high)))
    stay = values[values >= least * (1 - ROUNDING)]
    if len(stay) in (0, len(values)):
        return variable if len(stay) else None
    choices = tuple(map(float, stay)) if variable.choices else ()
    return replace(variable, low=float(stay[0]), choices=choices)


def _too_low(bound: Variable, bounded: Variable, *, need: float) -> str:
    unit, values = Unit(bound.unit), legal_values(bound)
    last = bound.high if values is None else float(values[-1])
    low, high = format_quantity(need, unit), format_quantity(last, unit)
    least = format_quantity(_least(bounded), Unit(bounded.unit))
    return (
        f"its least value {least} needs {bound.path} of at least {low}; its largest "
        f"is {high}. Lower the min, or raise the max of {bound.path}."
    )
