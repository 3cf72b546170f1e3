"""What is a quantity, and in which unit does it stand inside the package?

Annotation -> unit text and its exponents over the base units. Values are SI
floats or JAX arrays; the unit lives in the annotation, never in the name.
"""

import re
from typing import Annotated, Any, get_args, get_origin

import jax

Scalar = float | jax.Array

BASE_UNITS = ("s", "J", "m", "B", "FLOP", "token", "USD", "kgCO2e", "V")

_DERIVED: dict[str, dict[str, float]] = {
    "1": {},
    "bit": {},
    "request": {},
    "W": {"J": 1.0, "s": -1.0},
    "Hz": {"s": -1.0},
    "MAC": {"FLOP": 1.0},
}
_FACTOR = re.compile(r"([A-Za-z][A-Za-z0-9]*|1)(?:\^(-?[0-9.]+))?")


class Unit:
    """Unit of an annotation, such as ``Unit("J/B")`` or ``Unit("W/m^2")``.

    ``dimensions`` maps base units to exponents. MAC counts as FLOP (one
    multiply-accumulate is 2 FLOP in any format); bits of a number format and
    requests are pure numbers.

    Example:
        >>> Unit("W/m^2").dimensions
        {'J': 1.0, 's': -1.0, 'm': -2.0}
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.dimensions = _dimensions(text)

    def __repr__(self) -> str:
        return f"Unit({self.text!r})"


def _dimensions(text: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for position, part in enumerate(text.split("/")):
        sign = 1.0 if position == 0 else -1.0
        for factor in part.split("*"):
            match = _FACTOR.fullmatch(factor.strip())
            if match is None:
                msg = f"cannot read the unit {text!r}"
                raise ValueError(msg)
            name, exponent = match[1], float(match[2] or 1.0)
            for base, power in _base_exponents(name, text).items():
                total[base] = total.get(base, 0.0) + sign * exponent * power
    return {base: power for base, power in total.items() if power}


def _base_exponents(name: str, text: str) -> dict[str, float]:
    if name in BASE_UNITS:
        return {name: 1.0}
    if name in _DERIVED:
        return _DERIVED[name]
    msg = f"unknown unit {name!r} in {text!r}; known: {(*BASE_UNITS, *_DERIVED)}"
    raise ValueError(msg)


def unit_of(annotation: Any) -> Unit | None:
    """The ``Unit`` inside an annotation, or None for a record or plain type."""
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            if isinstance(extra, Unit):
                return extra
    return None


Seconds = Annotated[Scalar, Unit("s")]
PerSecond = Annotated[Scalar, Unit("Hz")]
Joules = Annotated[Scalar, Unit("J")]
Watts = Annotated[Scalar, Unit("W")]
Volts = Annotated[Scalar, Unit("V")]
Meters = Annotated[Scalar, Unit("m")]
SquareMeters = Annotated[Scalar, Unit("m^2")]
PerSquareMeter = Annotated[Scalar, Unit("1/m^2")]
Bytes = Annotated[Scalar, Unit("B")]
BytesPerSecond = Annotated[Scalar, Unit("B/s")]
Flop = Annotated[Scalar, Unit("FLOP")]
FlopPerSecond = Annotated[Scalar, Unit("FLOP/s")]
Macs = Annotated[Scalar, Unit("MAC")]
MacsPerByte = Annotated[Scalar, Unit("MAC/B")]
BytesPerMac = Annotated[Scalar, Unit("B/MAC")]
MacsPerSecond = Annotated[Scalar, Unit("MAC/s")]
Tokens = Annotated[Scalar, Unit("token")]
TokensPerSecond = Annotated[Scalar, Unit("token/s")]
RequestsPerSecond = Annotated[Scalar, Unit("request/s")]
JoulesPerByte = Annotated[Scalar, Unit("J/B")]
JoulesPerMac = Annotated[Scalar, Unit("J/MAC")]
JoulesPerFlop = Annotated[Scalar, Unit("J/FLOP")]
JoulesPerToken = Annotated[Scalar, Unit("J/token")]
SecondsPerToken = Annotated[Scalar, Unit("s/token")]
JoulesPerByteMeter = Annotated[Scalar, Unit("J/B/m")]
JoulesPerByteRootByte = Annotated[Scalar, Unit("J/B^1.5")]
WattsPerByte = Annotated[Scalar, Unit("W/B")]
WattsPerSquareMeter = Annotated[Scalar, Unit("W/m^2")]
SquareMetersPerByte = Annotated[Scalar, Unit("m^2/B")]
SquareMetersPerMac = Annotated[Scalar, Unit("m^2/MAC")]
SquareMeterSecondsPerByte = Annotated[Scalar, Unit("m^2*s/B")]
MeterSecondsPerByte = Annotated[Scalar, Unit("m*s/B")]
Usd = Annotated[Scalar, Unit("USD")]
UsdPerByte = Annotated[Scalar, Unit("USD/B")]
UsdPerWatt = Annotated[Scalar, Unit("USD/W")]
UsdPerJoule = Annotated[Scalar, Unit("USD/J")]
UsdPerSecond = Annotated[Scalar, Unit("USD/s")]
UsdPerToken = Annotated[Scalar, Unit("USD/token")]
BytesPerToken = Annotated[Scalar, Unit("B/token")]
SecondsPerByte = Annotated[Scalar, Unit("s/B")]
UsdPerSquareMeter = Annotated[Scalar, Unit("USD/m^2")]
KgCo2e = Annotated[Scalar, Unit("kgCO2e")]
KgCo2ePerByte = Annotated[Scalar, Unit("kgCO2e/B")]
KgCo2ePerSecond = Annotated[Scalar, Unit("kgCO2e/s")]
KgCo2ePerJoule = Annotated[Scalar, Unit("kgCO2e/J")]
KgCo2ePerToken = Annotated[Scalar, Unit("kgCO2e/token")]
KgCo2ePerSquareMeter = Annotated[Scalar, Unit("kgCO2e/m^2")]
Bits = Annotated[Scalar, Unit("bit")]
Count = Annotated[Scalar, Unit("1")]
Fraction = Annotated[Scalar, Unit("1")]
Factor = Annotated[Scalar, Unit("1")]
Ratio = Annotated[Scalar, Unit("1")]
