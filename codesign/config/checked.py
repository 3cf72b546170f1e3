"""How far is a chip from those that measured runs were compared with?

Design -> parameters beyond the chips of the scorecard, by how much.
"""

from dataclasses import dataclass
from functools import cache

from codesign.config.chips import load_chip
from codesign.config.units import format_quantity
from codesign.core.paths import get_path, path_units
from codesign.core.quantities import Unit
from codesign.hardware.chip import Chip
from codesign.serving.design import Design

CHECKED = {"a100-sxm-40gb": "A100", "h100-sxm": "H100", "b200-sxm": "B200"}
"""Chips whose measured serving runs the scorecard holds the model against."""
PARAMETERS = (
    "chip.node",
    "chip.tdp",
    "chip.compute.macs",
    "chip.sram.capacity",
    "chip.sram.bandwidth",
    "chip.dram.bandwidth",
    "chip.link.bandwidth",
)
FAR = 2.0  # times the largest, or a share of the smallest


@dataclass(frozen=True)
class Beyond:
    """A parameter outside of the checked range, and the nearer end of that."""

    path: str
    value: float
    end: float
    unit: Unit

    @property
    def factor(self) -> float:
        """Value over the largest, or the smallest over the value."""
        ratio = self.value / self.end
        return ratio if ratio > 1 else 1 / ratio

    def text(self) -> str:
        """The parameter, its value, and how far that is."""
        value, end = (format_quantity(x, self.unit) for x in (self.value, self.end))
        side = (
            "times the largest" if self.value > self.end else "times below the smallest"
        )
        return f"{self.path} {value} is {self.factor:.2g} {side}, {end}"


def beyond_checked(design: Design) -> tuple[Beyond, ...]:
    """Parameters more than twice, or less than half, what was ever checked.

    A parameter that is zero (no DRAM, no links) has no distance and is left out.
    """
    found: list[Beyond] = []
    units = path_units(Design)
    for path, (low, high) in _ranges().items():
        value = float(get_path(design, path))
        if value > FAR * high or 0 < value < low / FAR:
            end = high if value > high else low
            found.append(Beyond(path, value, end, units[path]))
    return tuple(found)


def extrapolation_text(found: tuple[Beyond, ...]) -> str:
    """One sentence on everything that lies beyond."""
    names = ", ".join(CHECKED.values())
    parts = "; ".join(each.text() for each in found)
    return (
        f"Warning: beyond the chips that runs were compared with ({names}): {parts}. "
        "The numbers are an extrapolation."
    )


@cache
def _ranges() -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each parameter over the checked chips."""
    chips: list[Chip] = [load_chip(name) for name in CHECKED]
    found: dict[str, tuple[float, float]] = {}
    for path in PARAMETERS:
        values = [float(get_path(chip, path.removeprefix("chip."))) for chip in chips]
        found[path] = min(values), max(values)
    return found
