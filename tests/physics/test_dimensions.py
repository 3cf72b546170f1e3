import re
from typing import get_type_hints

import hypothesis.strategies as st
import jax.numpy as jnp
import pytest
from hypothesis import given

from codesign.core.paths import get_path, path_units
from codesign.core.quantities import (
    BASE_UNITS,
    Bytes,
    BytesPerSecond,
    Flop,
    FlopPerSecond,
    Joules,
    Seconds,
    Unit,
    unit_of,
)
from codesign.core.record import Record
from codesign.hardware.chip import Chip, Published, System
from codesign.serving.design import Design
from codesign.technology.constants import Technology
from tests.helpers import (
    assert_follows_units,
    assert_trees_close,
    random_factors,
    random_record,
    rescale_record,
    tree_finite,
    unit_factor,
)

RECORDS = [Technology, Chip, System, Published]
EXPONENTS = st.integers(min_value=-3, max_value=3)


@pytest.mark.parametrize(
    ("text", "dimensions"),
    [
        ("1", {}),
        ("bit", {}),
        ("W", {"J": 1, "s": -1}),
        ("Hz", {"s": -1}),
        ("J/MAC", {"J": 1, "FLOP": -1}),
        ("J/B/m", {"J": 1, "B": -1, "m": -1}),
        ("J/B^1.5", {"J": 1, "B": -1.5}),
        ("m^2*s/B", {"m": 2, "s": 1, "B": -1}),
        ("1/m^2", {"m": -2}),
        ("USD/W", {"USD": 1, "J": -1, "s": 1}),
        ("kgCO2e/token", {"kgCO2e": 1, "token": -1}),
        ("s/s", {}),
    ],
)
def test_unit_text_gives_its_exponents(text: str, dimensions: dict[str, float]):
    assert Unit(text).dimensions == dimensions


@pytest.mark.parametrize("text", ["GB", "furlong", "W//s", "m^", "", "J/ (s)"])
def test_unknown_or_broken_unit_is_named(text: str):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        Unit(text)


@given(st.dictionaries(st.sampled_from(BASE_UNITS), EXPONENTS, min_size=1))
def test_unit_survives_text(exponents: dict[str, int]):
    text = "*".join(f"{base}^{power}" for base, power in exponents.items())
    assert Unit(text).dimensions == {b: p for b, p in exponents.items() if p}


@pytest.mark.parametrize("record_type", [Design, *RECORDS])
def test_every_leaf_declares_a_unit(record_type: type[Record]):
    for name, hint in get_type_hints(record_type, include_extras=True).items():
        is_record = isinstance(hint, type) and issubclass(hint, Record)
        assert is_record or unit_of(hint) is not None, f"{record_type}.{name}"


@pytest.mark.parametrize("record_type", RECORDS)
def test_rescaling_follows_the_unit_of_each_leaf(record_type: type[Record]):
    factors = random_factors(1)
    record = random_record(record_type)
    scaled = rescale_record(record, factors)
    for path, unit in path_units(record_type).items():
        ratio = get_path(scaled, path) / get_path(record, path)
        assert float(ratio) == pytest.approx(unit_factor(unit, factors)), path


def test_rescaling_by_hand():
    chip = random_record(Chip)
    scaled = rescale_record(chip, {"B": 3.0, "s": 2.0, "J": 5.0, "m": 7.0})
    assert_trees_close(scaled.dram.bandwidth, chip.dram.bandwidth * 3.0 / 2.0)
    assert_trees_close(scaled.tdp, chip.tdp * 5.0 / 2.0)
    assert_trees_close(scaled.dram.phy_area, chip.dram.phy_area * 49.0)
    assert_trees_close(scaled.dram.stacks, chip.dram.stacks)


@pytest.mark.parametrize("record_type", RECORDS)
def test_rescaling_back_restores_the_record(record_type: type[Record]):
    factors = random_factors(2)
    inverse = {base: 1.0 / factor for base, factor in factors.items()}
    record = random_record(record_type)
    assert tree_finite(record)
    assert_trees_close(rescale_record(rescale_record(record, factors), inverse), record)


def test_rescaling_reaches_arrays():
    nodes = random_record(Technology).nodes
    nodes = nodes.replace(wafer_price=jnp.array([4e3, 9e3, 17e3]))
    scaled = rescale_record(nodes, {"USD": 2.0})
    assert_trees_close(scaled.wafer_price, jnp.array([8e3, 18e3, 34e3]))


def _transfer_time(size: Bytes, *, bandwidth: BytesPerSecond) -> Seconds:
    return size / bandwidth


def _wrong_time(work: Flop, *, rate: FlopPerSecond) -> Joules:
    return work / rate


def test_check_passes_a_formula_and_catches_a_wrong_one():
    factors = random_factors(3)
    assert_follows_units(
        _transfer_time, {"size": 6.0, "bandwidth": 3.0}, factors=factors
    )
    with pytest.raises(AssertionError):
        assert_follows_units(_wrong_time, {"work": 6.0, "rate": 3.0}, factors=factors)
