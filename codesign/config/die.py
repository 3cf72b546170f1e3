"""Is there a chip in the box of a study whose die can be printed?

Free variables and the baseline -> the smallest die of the box, against the reticle.
"""

from collections.abc import Iterable, Sequence

import jax.numpy as jnp

from codesign.config.units import format_quantity
from codesign.config.variables import Variable
from codesign.config.yaml import Problems
from codesign.core.paths import get_path
from codesign.core.quantities import Unit
from codesign.hardware.silicon import area_parts
from codesign.serving.design import Design, set_parameter

RETICLE = "reticle"
AREA = Unit("m^2")


def check_reticle(
    free: Sequence[Variable],
    *,
    baseline: Design,
    off: Iterable[str],
    problems: Problems,
) -> None:
    """Note a problem where even the smallest die of the box exceeds the reticle.

    Assumes: the area moves one way in each parameter of the chip, whatever the
    others are.
    """
    parts = [v for v in free if v.path.startswith("chip.")]
    if not parts or RETICLE in off:
        return
    design, limit = baseline, float(baseline.technology.fab.reticle_area)
    for variable in parts:
        design = set_parameter(design, variable.path, value=variable.low)
    if _die(design) <= limit:
        return
    shares: dict[str, float] = {}
    for variable in parts:
        other = set_parameter(design, variable.path, value=variable.high)
        shares[variable.path] = _die(design) - _die(other)
        design = other if shares[variable.path] > 0 else design
    least = _die(design)
    if least <= limit:
        return
    heaviest = min(shares, key=lambda path: shares[path])
    value = float(get_path(design, heaviest))
    (unit,) = [Unit(v.unit) for v in parts if v.path == heaviest]
    problems.add(
        f"free.{heaviest}",
        f"the smallest die of this box, {format_quantity(least, AREA)}, is larger than "
        f"the reticle, {format_quantity(limit, AREA)}; {heaviest} is "
        f"{format_quantity(value, unit)} there. Lower its min, or off: [{RETICLE}].",
    )


def _die(design: Design) -> float:
    """Area of a die, A = exp(r) sum(parts) / dies with the residual r of the chip."""
    chip = design.chip
    area = jnp.exp(chip.anchor.area) * sum(area_parts(chip, design.technology))
    return float(area / chip.dies)
