"""How does a text such as ``3.35 TB/s`` become a number, and back?

Text and the unit of an annotation -> SI float; SI float and unit -> text.
Decimal prefixes are powers of 1000 (GB = 1e9 B), binary ones powers of 1024
(GiB = 2^30 B), a bit is an eighth of a byte, a MAC is 2 FLOP.
"""

import math
import re
from collections.abc import Iterable
from functools import lru_cache

from codesign.core.errors import UnitError
from codesign.core.paths import nearest
from codesign.core.quantities import Unit
from codesign.core.show import use_writer

Dimensions = dict[str, float]

MICRO_SIGN = "\N{MICRO SIGN}"
_MOST_BITS = 1000  # of a whole number; from 1024 on it is no floating point number
_SHORTEST_LONG = 1e3  # from here on digits are written out ...
_LONGEST = 1e7  # ... up to here

_DECIMAL = {
    "f": 1e-15,
    "p": 1e-12,
    "n": 1e-9,
    "u": 1e-6,
    MICRO_SIGN: 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}

_PREFIXED: dict[str, tuple[float, Dimensions]] = {
    "s": (1.0, {"s": 1.0}),
    "m": (1.0, {"m": 1.0}),
    "J": (1.0, {"J": 1.0}),
    "W": (1.0, {"J": 1.0, "s": -1.0}),
    "Wh": (3600.0, {"J": 1.0}),
    "V": (1.0, {"V": 1.0}),
    "Hz": (1.0, {"s": -1.0}),
    "B": (1.0, {"B": 1.0}),
    "bit": (0.125, {"B": 1.0}),
    "FLOP": (1.0, {"FLOP": 1.0}),
    "MAC": (2.0, {"FLOP": 1.0}),
    "token": (1.0, {"token": 1.0}),
    "USD": (1.0, {"USD": 1.0}),
    "g": (1e-3, {"kgCO2e": 1.0}),
    "gCO2e": (1e-3, {"kgCO2e": 1.0}),
}
_PLAIN: dict[str, tuple[float, Dimensions]] = {
    "1": (1.0, {}),
    "%": (0.01, {}),
    "min": (60.0, {"s": 1.0}),
    "minute": (60.0, {"s": 1.0}),
    "h": (3600.0, {"s": 1.0}),
    "hour": (3600.0, {"s": 1.0}),
    "day": (86400.0, {"s": 1.0}),
    "year": (31557600.0, {"s": 1.0}),
    "cm": (1e-2, {"m": 1.0}),
    "request": (1.0, {"request": 1.0}),
    "req": (1.0, {"request": 1.0}),
    "$": (1.0, {"USD": 1.0}),
}


def _all_units() -> dict[str, tuple[float, Dimensions]]:
    table: dict[str, tuple[float, Dimensions]] = {}
    for name, (factor, dimensions) in _PREFIXED.items():
        binary = _BINARY if name in {"B", "bit"} else {}
        for prefix, scale in {**_DECIMAL, **binary}.items():
            table[prefix + name] = (scale * factor, dimensions)
    plurals = ("bit", "token", "minute", "hour", "day", "year", "request")
    table |= _PLAIN
    return table | {f"{name}s": table[name] for name in plurals}


_UNITS = _all_units()
_NUMBER = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)")
_FACTOR = re.compile(
    r"([a-zA-Z]*CO2e|[a-zA-Z\N{MICRO SIGN}%$]+|1)(?:\^?(-?\d+(?:\.\d+)?))?"
)
_BARE = frozenset({"1", "bit", "token", "MAC"})
_BITS = frozenset({"bit", "bits"})

_MEANINGS = {
    "s": "a time",
    "Hz": "a frequency",
    "J": "an energy",
    "W": "a power",
    "V": "a voltage",
    "m": "a length",
    "m^2": "an area",
    "1/m^2": "a density of defects",
    "B": "an amount of data",
    "B/s": "a bandwidth",
    "FLOP": "an amount of computation",
    "FLOP/s": "a compute rate",
    "token": "a number of tokens",
    "token/s": "a token rate",
    "request/s": "a request rate",
    "J/B": "an energy per byte",
    "J/FLOP": "an energy per operation",
    "J/token": "an energy per token",
    "s/token": "a time per token",
    "s/B": "a time per byte",
    "B/token": "an amount of text per token",
    "W/m^2": "a power density",
    "W/B": "a power per byte",
    "USD": "a price",
    "USD/token": "a price per token",
    "USD/B": "a price per byte",
    "USD/W": "a price per watt",
    "USD/J": "a price of energy",
    "USD/m^2": "a price per area",
    "kgCO2e": "an amount of carbon",
    "kgCO2e/J": "a carbon intensity",
    "kgCO2e/m^2": "a carbon footprint per area",
    "1": "a pure number",
}

_DISPLAY: dict[str, tuple[str, ...]] = {
    "s": ("ns", "us", "ms", "s"),
    "Hz": ("Hz", "kHz", "MHz", "GHz"),
    "J": ("fJ", "pJ", "nJ", "uJ", "mJ", "J", "kJ", "MJ", "GJ", "TJ", "PJ"),
    "W": ("mW", "W", "kW", "MW", "GW"),
    "V": ("mV", "V"),
    "m": ("nm", "um", "mm", "m"),
    "m^2": ("um^2", "mm^2"),
    "1/m^2": ("1/cm^2",),
    "B": ("B", "kB", "MB", "GB", "TB"),
    "B/s": ("B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s"),
    "FLOP": ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"),
    "FLOP/s": ("FLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s", "EFLOP/s"),
    "MAC/s": ("MAC/s", "MMAC/s", "GMAC/s", "TMAC/s", "PMAC/s"),
    "request/s": ("req/s",),
    "J/B": ("fJ/B", "pJ/B", "nJ/B", "uJ/B", "mJ/B", "J/B"),
    "J/FLOP": ("fJ/FLOP", "pJ/FLOP", "nJ/FLOP"),
    "J/MAC": ("fJ/MAC", "pJ/MAC", "nJ/MAC"),
    "J/token": ("uJ/token", "mJ/token", "J/token", "kJ/token"),
    "s/token": ("us/token", "ms/token", "s/token"),
    "s/B": ("us/B", "ms/B", "s/B"),
    "J/B/m": ("pJ/B/mm",),
    "W/B": ("mW/GB", "W/GB"),
    "W/m^2": ("mW/mm^2", "W/mm^2"),
    "m^2/B": ("mm^2/MB",),
    "m^2/MAC": ("um^2/MAC",),
    "m^2*s/B": ("mm^2*s/GB",),
    "m*s/B": ("mm*s/GB",),
    "USD/B": ("USD/GB",),
    "USD/J": ("USD/kWh",),
    "USD/s": ("USD/h",),
    "USD/token": ("USD/Mtoken",),
    "USD/m^2": ("USD/mm^2",),
    "kgCO2e/J": ("gCO2e/kWh",),
    "kgCO2e/s": ("gCO2e/h", "kgCO2e/h"),
    "kgCO2e/B": ("gCO2e/GB",),
    "kgCO2e/token": ("mgCO2e/token", "gCO2e/token"),
    "kgCO2e/m^2": ("kgCO2e/cm^2",),
}
_TYPICAL = {
    "s": "ms",
    "B": "GB",
    "B/s": "GB/s",
    "FLOP/s": "TFLOP/s",
    "Hz": "GHz",
    "m": "nm",
    "m^2": "mm^2",
    "J/B": "pJ/B",
    "J/MAC": "pJ/MAC",
    "W/m^2": "W/mm^2",
}


def parse_quantity(
    text: str | float, unit: Unit, *, name: str = "value", allow_bare: bool = False
) -> float:
    """The SI value of a text such as ``3.35 TB/s`` for a field of a given unit.

    Counts, fractions, tokens, MACs and bits of a format take bare numbers;
    every other quantity needs its unit unless ``allow_bare`` is set.

    Raises:
        UnitError: with what was found, what the field is, and what to write.

    Example:
        >>> parse_quantity("2 GiB", Unit("B"))
        2147483648.0
        >>> round(parse_quantity("4 pJ/bit", Unit("J/B")) * 1e12, 6)
        32.0
    """
    number, unit_text = _split(text, unit, name=name)
    if not unit_text:
        if allow_bare or unit.text in _BARE:
            return number
        raise UnitError(
            f'{name} needs a unit. {text} what? e.g. "{_example(number, unit)}".'
        )
    if unit.text == "bit" and unit_text in _BITS:
        return number
    factor, dimensions = _read_unit(unit_text, name)
    target_factor, target = _read_unit(unit.text, name)
    if unit.text == "bit":
        target_factor, target = 1.0, {}
    if dimensions != target:
        raise UnitError(
            f'"{text}" is {_meaning(dimensions, unit_text)}; {name} is '
            f'{_meaning(target, unit.text)}. Try "{_example(number, unit)}".'
        )
    return number * (factor / target_factor)


def format_quantity(value: float, unit: Unit, *, digits: int = 3) -> str:
    """A value for people, with the prefix that keeps its number short.

    Example:
        >>> format_quantity(3.35e12, Unit("B/s")), format_quantity(814e-6, Unit("m^2"))
        ('3.35 TB/s', '814 mm^2')
    """
    value = float(value)
    names, scales = zip(*display_units(unit), strict=True)
    chosen = 0 if value or unit.text not in names else names.index(unit.text)
    for index, scale in enumerate(scales):
        if abs(value) >= 0.9995 * scale:
            chosen = index
    number = _short(value / scales[chosen], digits)
    return number if unit.text == "1" else f"{number} {names[chosen]}"


def display_units(unit: Unit) -> list[tuple[str, float]]:
    """Names in which values of a unit are shown, smallest first, and their SI size.

    Example:
        >>> display_units(Unit("V"))
        [('mV', 0.001), ('V', 1.0)]
    """
    size = _read_unit(unit.text, unit.text)[0]
    names = _DISPLAY.get(unit.text, (unit.text,))
    return [(name, _read_unit(name, name)[0] / size) for name in names]


def lacks_unit(text: object, unit: Unit) -> bool:
    """Whether a number stands without the unit that it needs.

    Example:
        >>> lacks_unit("3.35", Unit("B/s")), lacks_unit(64, Unit("1"))
        (True, False)
    """
    if unit.text in _BARE or isinstance(text, bool):
        return False
    if isinstance(text, str):
        match = _NUMBER.fullmatch(text.strip())
        return match is not None and not match[2].strip()
    return isinstance(text, int | float)


def quantity_pattern(unit: Unit) -> str:
    """Regular expression of the texts that a field of a given unit accepts.

    It refuses bare numbers and a single unit of another dimension; of a compound
    such as ``GB/s`` it only checks that each part may stand in it. What it lets
    through is read, and judged, by ``parse_quantity``.

    Example:
        >>> import re
        >>> bandwidth = re.compile(quantity_pattern(Unit("B/s")))
        >>> [bool(bandwidth.search(text)) for text in ("3.35 TB/s", "3.35", "700 W")]
        [True, False, False]
    """
    bits = unit.text == "bit"
    _, target = ("", {}) if bits else _read_unit(unit.text, unit.text)
    same = {n for n, (_, dimensions) in _UNITS.items() if dimensions == target}
    same = _BITS if bits else same
    inside = {n for n, (_, found) in _UNITS.items() if found.keys() <= target.keys()}
    power = r"(?:\^?-?\d+(?:\.\d+)?)"
    part = f"(?:{_alternatives(inside)}){power}?"
    compound = rf"(?:{part})?(?:\s*[*/]\s*\(?\s*{part}\)?)+|{part[:-1]}"
    number = r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
    optional = "?" if unit.text in _BARE else ""
    return rf"^\s*{number}\s*(?:{_alternatives(same)}|{compound}){optional}\s*$"


def _alternatives(names: Iterable[str]) -> str:
    """Names as alternatives of an expression, longest first; none match nothing."""
    ordered = sorted(names, key=lambda name: (-len(name), name))
    return "|".join(name.replace("$", r"\$") for name in ordered) or "(?!)"


use_writer(lambda value, unit: format_quantity(value, unit, digits=4))


def _split(text: str | float, unit: Unit, *, name: str) -> tuple[float, str]:
    if isinstance(text, bool):
        raise UnitError(f"{name}: found {text}; a quantity is a number with its unit.")
    if isinstance(text, (int, float)):
        if isinstance(text, int) and text.bit_length() > _MOST_BITS:
            raise UnitError(f"{name}: a whole number of over 300 digits.")
        number, rest = float(text), ""
    else:
        match = _NUMBER.fullmatch(text.strip())
        if match is None:
            example = _example(1.0, unit)
            raise UnitError(f'{name}: "{text}" is not a quantity. Try "{example}".')
        number, rest = float(match[1].replace("_", "")), match[2].strip()
    if not math.isfinite(number):
        raise UnitError(f"{name}: {text} is not a finite number.")
    return number, rest


def _read_unit(text: str, name: str) -> tuple[float, Dimensions]:
    """Factor to SI and exponents of a compound such as ``mm^2/(GB/s)``."""
    try:
        return _unit(text)
    except UnitError as error:
        raise UnitError(f"{name}: {error}") from None


@lru_cache(maxsize=1024)
def _unit(text: str) -> tuple[float, Dimensions]:
    outer, bracket, inner = text.partition("/(")
    factor, total = 1.0, dict[str, float]()
    for part, direction in ((outer, 1.0), (inner.removesuffix(")"), -1.0)):
        for position, term in enumerate(part.split("/") if part else ()):
            sign = direction if position == 0 else -direction
            for word in term.split("*"):
                scale, dimensions = _read_factor(word.strip() or "1", text)
                factor *= scale**sign
                for base, power in dimensions.items():
                    total[base] = total.get(base, 0.0) + sign * power
    if bracket and not inner.endswith(")"):
        raise UnitError(f'cannot read the unit "{text}".')
    return factor, {base: power for base, power in total.items() if power}


def _read_factor(word: str, text: str) -> tuple[float, Dimensions]:
    match = _FACTOR.fullmatch(word)
    if match is None:
        raise UnitError(f'cannot read the unit "{text}".')
    if match[1] not in _UNITS:
        close = nearest(match[1], list(_UNITS)) or ["GB/s", "ms", "W", "mm^2"]
        raise UnitError(
            f'unknown unit "{match[1]}" in "{text}". Close: {", ".join(close)}.'
        )
    scale, dimensions = _UNITS[match[1]]
    power = float(match[2] or 1.0)
    return scale**power, {base: power * value for base, value in dimensions.items()}


def _meaning(dimensions: Dimensions, text: str) -> str:
    for known, meaning in _MEANINGS.items():
        if _read_unit(known, known)[1] == dimensions:
            return meaning
    return f"in {text}"


def _example(number: float, unit: Unit) -> str:
    if unit.text == "1":
        return _plain(number)
    return f"{_plain(number)} {_TYPICAL.get(unit.text, unit.text)}"


def _plain(number: float) -> str:
    return f"{number:g}"


def _short(number: float, digits: int) -> str:
    if _SHORTEST_LONG <= abs(number) < _LONGEST:
        decimals = max(0, digits - len(f"{abs(number):.0f}"))
        return f"{number:.{decimals}f}"
    return f"{number:.{digits}g}"
