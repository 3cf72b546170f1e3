"""How does a number read? Pure numbers, quantities, shares and changes as texts."""

import math
import re
from collections.abc import Sequence

from codesign.config.units import format_quantity, parse_quantity
from codesign.core.quantities import Scalar, Unit

NONE = "–"  # an empty cell
LARGE_FACTOR = 10.0  # from here on a change is told as a factor
SMALLEST_SHARE = 5e-4  # a change that rounds to 0.0 %
SMALLEST_TEXT, LONGEST_TEXT = 1e-4, 1e6  # beyond, numbers are written as powers
ROUNDING = 1e-12
WHOLE = 1e3  # from here on digits after the point say nothing

_EXPONENT = re.compile(r"e([+-]?)0*(?=\d)")


def number(value: Scalar, *, digits: int = 3) -> str:
    """A pure number for people.

    Example:
        >>> number(0.031234), number(12345.6), number(2e6), number(float("nan"))
        ('0.0312', '12346', '2e6', '–')
    """
    value = float(value)
    if not math.isfinite(value):
        return NONE if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if abs(value) < ROUNDING:
        return "0"
    if not SMALLEST_TEXT <= abs(value) < LONGEST_TEXT:
        text = _EXPONENT.sub(r"e\1", f"{value:.{digits}g}").replace("e+", "e")
    elif abs(value) >= WHOLE:
        text = f"{value:.0f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", "−")


def quantity(value: float, unit: Unit) -> str:
    """A value with its unit; a dash where there is none."""
    if not math.isfinite(float(value)):
        return number(value)
    text, space, name = format_quantity(value, unit).partition(" ")
    return f"{text.replace('-', '−')}{space}{unit_text(name)}"


def unit_text(name: str) -> str:
    """A unit as it is printed.

    Example:
        >>> unit_text("mW/mm^2"), unit_text("us/token")
        ('mW/mm²', 'µs/token')
    """
    micro = f"µ{name[1:]}" if name.partition("/")[0] in {"us", "um", "uJ"} else name
    return micro.replace("^2", "²")


def common_unit(values: Sequence[float], unit: Unit) -> tuple[str, float]:
    """Unit in which several values read well together, and its size in SI.

    Example:
        >>> common_unit([0.0145, 0.031], Unit("s"))
        ('ms', 0.001)
    """
    sizes = sorted(abs(v) for v in values if math.isfinite(v) and v)
    if not sizes:
        return ("" if unit.text == "1" else unit_text(unit.text)), 1.0
    text = format_quantity(sizes[len(sizes) // 2], unit)
    _, _, name = text.partition(" ")
    return unit_text(name), parse_quantity(f"1 {name}", unit) if name else 1.0


def change(new: float, old: float) -> str:
    """Relative change as text.

    Example:
        >>> change(0.5, 1.0), change(30.0, 1.0), change(1.0, 1.0)
        ('−50 %', '×30', '±0 %')
    """
    if not (math.isfinite(new) and math.isfinite(old)) or old <= 0:
        return NONE
    ratio = new / old
    if ratio >= LARGE_FACTOR:
        return f"×{number(ratio)}"
    share = ratio - 1.0
    if abs(share) < SMALLEST_SHARE:
        return "±0 %"
    digits = 0 if abs(share) >= 0.1 else 1  # noqa: PLR2004  two digits in each case
    return f"{share * 100:+.{digits}f} %".replace("-", "−")


def percent(share: float, *, digits: int = 3) -> str:
    """A share as text, 0.5 -> 50 %."""
    text = number(100.0 * share, digits=digits)
    return text if text in {NONE, "∞", "−∞"} else f"{text} %"
