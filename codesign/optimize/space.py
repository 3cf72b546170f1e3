"""Which designs may the search visit? Variables, their box and legal values.

Free variables of a study -> unit-box coordinates, designs, legal values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from jax import Array
from numpy.typing import NDArray

from codesign.config.bounds import legal_values
from codesign.config.couplings import Presolved, presolve
from codesign.config.question import Study
from codesign.config.units import format_quantity
from codesign.config.variables import Variable
from codesign.core.errors import BoundsError
from codesign.core.paths import get_path
from codesign.core.quantities import Unit
from codesign.optimize.repair import Ties
from codesign.serving.design import Design, set_parameter

Floats = NDArray[np.float64]
FEW = 16  # values of an integer that is searched like a list of choices
ROUNDING = 1e-9  # a bound this close below a whole step is that step
PINNED_WIDTH = 1.0  # of the box around a single value, in ln
GOVERNOR = ("deployment.decode_voltage", "deployment.prefill_voltage")


@dataclass(frozen=True)
class Space:
    """Variables in a fixed order with their box in log coordinates.

    ``coarse`` marks listed choices and integers with few values, whose
    combinations are searched; ``fine`` integers and multiples, which are
    rounded; the rest is continuous. ``ties`` are the rules that bind counts to
    each other. A ``pinned`` variable has one legal value, in the middle of a box
    that lets designs with another value be written down. Where a variable that
    bounds it is held below its own range, a continuous one follows it all the same.
    """

    variables: tuple[Variable, ...]
    low: Floats
    high: Floats
    ties: Ties | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Dotted paths of the variables."""
        return tuple(v.path for v in self.variables)

    @property
    def coarse(self) -> NDArray[np.bool_]:
        """Which variables take values from a list."""
        return np.array([bool(v.choices) for v in self.variables])

    @property
    def pinned(self) -> NDArray[np.bool_]:
        """Which variables have one legal value."""
        return np.array([v.low == v.high for v in self.variables])

    @property
    def fine(self) -> NDArray[np.bool_]:
        """Which variables are integers or multiples."""
        return np.array(
            [(v.integer or v.multiple > 0) and not v.choices for v in self.variables]
        )

    def select(self, prefixes: Sequence[str]) -> NDArray[np.bool_]:
        """Mask of the variables under any prefix, governor always included."""
        wanted = (*prefixes, *GOVERNOR)
        return np.array([v.path.startswith(wanted) for v in self.variables])

    def num_combinations(self, mask: NDArray[np.bool_]) -> int:
        """Of the choices of the masked variables, legal or not; 1 without any."""
        return prod(
            len(self.variables[place].choices) for place in np.flatnonzero(mask)
        )

    def encode(self, values: Floats) -> Floats:
        """Unit-box coordinates of values, u = (ln v - ln lo) / (ln hi - ln lo)."""
        return (np.log(values) - self.low) / (self.high - self.low)

    def decode(self, points: Floats) -> Floats:
        """Values of unit-box coordinates."""
        return np.exp(self.low + points * (self.high - self.low))

    def values_of(self, design: Design) -> Floats:
        """Values of the variables in a design."""
        return np.array([float(get_path(design, path)) for path in self.paths])

    def round(self, values: Floats, *, mask: NDArray[np.bool_]) -> Floats:
        """Nearest legal values of the masked variables, bounds and ties kept."""
        legal = np.array(values, float)
        for index, variable in enumerate(self.variables):
            if mask[index]:
                legal[..., index] = _nearest(variable, legal[..., index])
        bounded = self._couple(legal, mask)
        mended = self.mend(bounded, mask=mask)
        return mended if mended is bounded else self._couple(mended, mask)

    def mend(self, values: Floats, *, mask: NDArray[np.bool_]) -> Floats:
        """Legal combinations of the masked counts; see ``Ties``."""
        return values if self.ties is None else self.ties.mend(values, mask=mask)

    def legal(self, values: Floats, *, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows keep every tie between counts."""
        if self.ties is None:
            return np.ones(values.shape[:-1], bool)
        return ~self.ties.broken(values, mask=mask)

    def _couple(self, values: Floats, mask: NDArray[np.bool_]) -> Floats:
        position = {path: i for i, path in enumerate(self.paths)}
        tied = [
            (i, position[v.high_path or ""], v)
            for i, v in enumerate(self.variables)
            if mask[i] and (v.high_path or "") in position
        ]
        for _ in tied:
            for index, other, variable in tied:
                bound = _below(variable, variable.high_factor * values[..., other])
                values[..., index] = np.minimum(values[..., index], bound)
        return values


def build_space(study: Study) -> Space:
    """Space of a study: its free variables and the two governor voltages.

    Values that no legal combination holds are left out beforehand.

    Raises:
        BoundsError: no combination of the counts is legal.
    """
    style = study.baseline.chip.style
    ceiling = max(
        [float(style.max_voltage)]
        + [v.high for v in study.free if v.path == "chip.voltage"]
    )
    governed = tuple(
        Variable(
            path=path,
            unit="V",
            low=0.1 * float(style.min_voltage),
            high=ceiling,
        )
        for path in GOVERNOR
    )
    found = presolve(study.free, study.baseline, off=study.off)
    if found.conflict is not None:
        raise BoundsError(": ".join(found.conflict))
    free = [_listed(_narrowed(variable, found)) for variable in found.free]
    variables = (*free, *governed)
    space = Space(
        variables=variables,
        low=np.log([v.low for v in variables]),
        high=np.log([v.high for v in variables]),
        ties=Ties(found, [v.path for v in variables]),
    )
    half = np.where(space.pinned, PINNED_WIDTH / 2, 0.0)
    return replace(space, low=space.low - half, high=space.high + half)


def presolved_lines(study: Study, space: Space) -> list[str]:
    """What was settled before the search: fixed variables, values left out."""
    lines: list[str] = []
    for given, kept in zip(study.free, space.variables, strict=False):
        before, after = legal_values(given), legal_values(kept)
        value = format_quantity(kept.low, Unit(kept.unit))
        if kept.low == kept.high:
            lines.append(f"{kept.path} is fixed at {value}")
        elif before is None and kept.low > given.low:
            lines.append(f"{kept.path} is at least {value}")
        elif before is not None and after is not None and len(after) < len(before):
            lines.append(f"{kept.path} has {len(after)} legal values of {len(before)}")
    return lines


def place(design: Design, paths: Sequence[str], *, values: Array | Floats) -> Design:
    """The design with the variables at the given values (traceable)."""
    for index, path in enumerate(paths):
        design = set_parameter(design, path, value=values[index])
    return design


def _narrowed(variable: Variable, found: Presolved) -> Variable:
    """The variable without values that no combination holds; one value is a choice."""
    values = found.domains.get(variable.path, legal_values(variable))
    if values is None:
        fixed = variable.low == variable.high
        follows = variable.high_path in {other.path for other in found.free}
        return _only(variable, [variable.low]) if fixed and not follows else variable
    if variable.choices or len(values) == 1:
        return _only(variable, values)
    before = legal_values(variable)
    if before is None or len(before) == len(values):
        return variable
    steps = np.diff(values)
    even = np.allclose(steps, steps[0], rtol=ROUNDING)
    whole = abs(values[0] / steps[0] - round(values[0] / steps[0])) < ROUNDING
    if even and whole and not variable.high_path:
        low, high = float(values[0]), float(values[-1])
        return replace(variable, low=low, high=high, multiple=float(steps[0]))
    return variable if len(values) > FEW else _only(variable, values)


def _only(variable: Variable, values: Sequence[float] | Floats) -> Variable:
    """The variable with listed values."""
    options = tuple(float(value) for value in values)
    return replace(
        variable,
        low=options[0],
        high=options[-1],
        choices=options,
        high_path=None if len(options) == 1 else variable.high_path,
    )


def _listed(variable: Variable) -> Variable:
    """The variable, as a list of choices if it is an integer with few values."""
    if not variable.integer or variable.multiple or variable.high_path:
        return variable
    if variable.choices:
        return variable
    values = np.arange(np.ceil(variable.low), np.floor(variable.high) + 1)
    if len(values) > FEW:
        return variable
    return replace(variable, choices=tuple(float(value) for value in values))


def _step(variable: Variable) -> float:
    return variable.multiple or (1.0 if variable.integer else 0.0)


def _below(variable: Variable, bound: Floats) -> Floats:
    """The largest legal values up to a bound; of a count the least where none is."""
    if variable.choices:
        options = np.array(variable.choices, float)
        place = np.searchsorted(options, bound * (1 + ROUNDING), side="right") - 1
        return options[np.maximum(place, 0)]
    step = _step(variable)
    return step * np.maximum(np.floor(bound / step + ROUNDING), 1.0) if step else bound


def _nearest(variable: Variable, values: Floats) -> Floats:
    if variable.choices:
        options = np.array(variable.choices, float)
        distance = np.abs(np.log(values[..., None]) - np.log(options))
        return options[np.argmin(distance, axis=-1)]
    step = _step(variable)
    if not step:
        return np.clip(values, variable.low, variable.high)
    first, last = np.ceil(variable.low / step), np.floor(variable.high / step)
    return step * np.clip(np.round(values / step), first, last)
