import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.config.units import format_quantity, parse_quantity
from codesign.core import quantities
from codesign.core.errors import UnitError
from codesign.core.quantities import Unit, unit_of

UNITS = sorted(
    {unit.text for unit in map(unit_of, vars(quantities).values()) if unit is not None}
)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("3.35 TB/s", "B/s", 3.35e12),
        ("80 GB", "B", 80e9),
        ("1 GiB", "B", 2**30),
        ("32MiB", "B", 32 * 2**20),
        ("1 kbit", "B", 125.0),
        ("4 pJ/bit", "J/B", 32e-12),
        ("1 pJ/FLOP", "J/MAC", 2e-12),
        ("0.59 pJ/MAC", "J/MAC", 0.59e-12),
        ("700 W", "W", 700.0),
        ("0.7 kW", "W", 700.0),
        ("33.5 ms", "s", 33.5e-3),
        ("13.4 us", "s", 13.4e-6),
        ("13.4 \N{MICRO SIGN}s", "s", 13.4e-6),
        ("4 nm", "m", 4e-9),
        ("814 mm^2", "m^2", 814e-6),
        ("814 mm2", "m^2", 814e-6),
        ("671 um^2/MAC", "m^2/MAC", 671e-12),
        ("0.62 mm^2/MB", "m^2/B", 0.62e-12),
        ("0.62 mm^2/MiB", "m^2/B", 0.62e-6 / 2**20),
        ("8 mW/MB", "W/B", 8e-9),
        ("1 W/mm^2", "W/m^2", 1e6),
        ("0.1 1/cm^2", "1/m^2", 1e3),
        ("0.1 /cm2", "1/m^2", 1e3),
        ("0.062 mm^2/(GB/s)", "m^2*s/B", 0.062e-15),
        ("0.062 mm^2*s/GB", "m^2*s/B", 0.062e-15),
        ("0.1 pJ/bit/mm", "J/B/m", 8e-10),
        ("3.2 pJ/bit/KiB^0.5", "J/B^1.5", 8 * 3.2e-12 / 32),
        ("0.36 USD/kWh", "USD/J", 1e-7),
        ("$7 /h", "USD/s", None),
        ("5 years", "s", 5 * 365.25 * 86400),
        ("10 hours", "s", 36000.0),
        ("0.1 1/year", "Hz", 0.1 / 31557600),
        ("360 g/kWh", "kgCO2e/J", 1e-7),
        ("360 gCO2e/kWh", "kgCO2e/J", 1e-7),
        ("2.16 kgCO2e/cm^2", "kgCO2e/m^2", 2.16e4),
        ("989 TFLOP/s", "FLOP/s", 989e12),
        ("1.83 GHz", "Hz", 1.83e9),
        ("4 req/s", "request/s", 4.0),
        ("1024 tokens", "token", 1024.0),
        ("1024", "token", 1024.0),
        ("2 USD/Mtoken", "USD/token", 2e-6),
        ("8 bit", "bit", 8.0),
        (4.25, "bit", 4.25),
        (50e3, "MAC", 50e3),
        ("85 %", "1", 0.85),
        (0.9, "1", 0.9),
        ("1_000 W", "W", 1000.0),
    ],
)
def test_texts_become_si(*, text: str | float, unit: str, value: float | None):
    if value is None:
        with pytest.raises(UnitError):
            parse_quantity(text, Unit(unit))
    else:
        assert parse_quantity(text, Unit(unit)) == pytest.approx(value, rel=1e-12)


def test_bare_number_names_the_fix():
    with pytest.raises(UnitError) as caught:
        parse_quantity(700, Unit("W"), name="tdp")
    assert str(caught.value) == 'tdp needs a unit. 700 what? e.g. "700 W".'
    assert parse_quantity(700, Unit("W"), allow_bare=True) == pytest.approx(700.0)


def test_wrong_dimension_says_what_it_is():
    with pytest.raises(UnitError) as caught:
        parse_quantity("700 GB/s", Unit("W"), name="chip.tdp")
    assert str(caught.value) == (
        '"700 GB/s" is a bandwidth; chip.tdp is a power. Try "700 W".'
    )


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("4 req/s", "Hz"),
        ("4 GHz", "request/s"),
        ("3 TB", "B/s"),
        ("3 m", "s"),
        ("8 B", "bit"),
        ("3 s", "1"),
        ("fast", "B/s"),
        ("", "W"),
        ("1 KB", "B"),
        ("700 watts", "W"),
        ("1 W W", "W"),
        (True, "1"),
        (math.nan, "1"),
        ("1e999", "1"),
    ],
)
def test_refused(text: str | float, unit: str):
    with pytest.raises(UnitError):
        parse_quantity(text, Unit(unit))


def test_unknown_unit_names_close_ones():
    with pytest.raises(UnitError, match=r"KiB|kB"):
        parse_quantity("1 KB", Unit("B"))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.35e12, "B/s", "3.35 TB/s"),
        (814e-6, "m^2", "814 mm^2"),
        (700.0, "W", "700 W"),
        (33.5e-3, "s", "33.5 ms"),
        (2.1e-12, "J/MAC", "2.1 pJ/MAC"),
        (80e9, "B", "80 GB"),
        (4e-9, "m", "4 nm"),
        (30000.0, "USD", "30000 USD"),
        (0.0, "s", "0 s"),
        (0.25, "1", "0.25"),
        (8.0, "bit", "8 bit"),
        (-0.5, "s", "-500 ms"),
        (0.99999, "s", "1 s"),
    ],
)
def test_format(*, value: float, unit: str, text: str):
    assert format_quantity(value, Unit(unit)) == text


@given(
    unit=st.sampled_from(UNITS),
    value=st.floats(min_value=1e-30, max_value=1e30),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_what_is_printed_can_be_read(*, unit: str, value: float, sign: float):
    text = format_quantity(sign * value, Unit(unit), digits=6)
    assert parse_quantity(text, Unit(unit)) == pytest.approx(sign * value, rel=1e-4)


def test_whole_number_too_large_for_a_float_is_refused():
    with pytest.raises(UnitError, match="300 digits"):
        parse_quantity(10**400, Unit("1"), name="batch")
