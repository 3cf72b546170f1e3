"""Cells that keep weights: energy, area, power and money against sums by hand."""

import math

import pytest

from codesign.config.chips import load_chip
from codesign.config.technology import load_technology
from codesign.core.paths import set_path
from codesign.cost.money import chip_lifetime
from codesign.hardware.chip import Chip
from codesign.hardware.silicon import model_price, silicon
from codesign.hardware.store import (
    converter_energy,
    needed_adc_bits,
    num_slices,
    rewrite_power,
    store_area,
)
from codesign.technology.constants import Technology
from tests.physics.designs import preset_design, with_values

MM2, YEAR = 1e-6, 31557600.0
ARCHETYPES = ("analog-in-memory", "weights-in-rom", "inhouse-asic", "dram-on-logic")


@pytest.fixture(scope="module")
def technology() -> Technology:
    return load_technology()


@pytest.fixture(scope="module")
def analog() -> Chip:
    return load_chip("analog-in-memory")


def changed(chip: Chip, path: str, *, value: float) -> Chip:
    return set_path(chip, path, value=value)


def test_converter_energy_by_hand(analog: Chip):
    """At 14 nm half of 28: 9 bit (0.69 + 0.95 pJ) over 256 rows, and a driver."""
    adc = 0.69e-12 + 1.85e-15 * 512
    assert float(converter_energy(analog)) == pytest.approx(
        0.5 * (adc / 256 + 3.3e-15), rel=1e-6
    )


def test_survey_of_converters_is_met(analog: Chip):
    """Energy per conversion of the ADC survey at 28 nm: 0.72, 0.83, 1.33, 2.58 pJ."""
    arrays = analog.store.arrays
    for bits, picojoules in ((4, 0.72), (6, 0.83), (8, 1.33), (10, 2.58)):
        found = arrays.adc_energy + arrays.adc_level_energy * 2.0**bits
        assert float(found) * 1e12 == pytest.approx(picojoules, rel=0.15)


def test_area_of_cells_and_converters_by_hand(analog: Chip, technology: Technology):
    cells = 600e6 / 2**20 * 0.09 * 2.74 * MM2
    adc = 600e6 * 2 * 0.5 * (1200e-12 / (256 * 32) + 0.0013e-12)
    found = float(store_area(analog, technology))
    assert found == pytest.approx(cells + adc, rel=0.01)


def test_rom_has_no_converters(technology: Technology):
    rom = load_chip("weights-in-rom")
    assert float(converter_energy(rom)) == pytest.approx(0.0)
    cells = 3.4e9 / 2**20 * 0.155 * MM2
    assert float(store_area(rom, technology)) == pytest.approx(cells, rel=1e-6)


def test_precision_is_paid_in_cells_and_slices(analog: Chip):
    """4-bit cells, 1-bit inputs: 4 x 8 bit take 8 products, 8 x 16 bit 32."""
    arrays = analog.store.arrays
    for weight, activation, expected in ((4, 8, 8), (8, 8, 16), (8, 16, 32), (2, 1, 1)):
        found = num_slices(arrays, weight=weight, activation=activation)
        assert float(found) == pytest.approx(expected)


def test_bits_of_an_exact_converter(analog: Chip):
    """sqrt(256) = 2^4 for the sum, 4 for the cell, 1 for the input."""
    assert float(needed_adc_bits(analog.store.arrays)) == pytest.approx(9.0)
    worst = changed(analog, "store.arrays.sum_fraction", value=1.0)
    assert float(needed_adc_bits(worst.store.arrays)) == pytest.approx(13.0)


def test_drifting_cells_are_written_every_day(analog: Chip):
    assert float(rewrite_power(analog)) == pytest.approx(600e6 * 2e-9 / 86400)


def test_masks_and_design_are_shared_by_the_chips(technology: Technology):
    rom, own = load_chip("weights-in-rom"), load_chip("inhouse-asic")
    assert float(model_price(rom, technology)) == pytest.approx(0.1 * 15e6 / 10e3)
    whole = float(silicon(own, technology).price)
    shared = float(
        silicon(changed(own, "program.volume", value=1e12), technology).price
    )
    assert whole - shared == pytest.approx(708e6 / 200e3, rel=1e-6)


def test_fixed_weights_end_with_their_model():
    rom = preset_design("weights-in-rom", "llama-3-8b")
    assert float(chip_lifetime(rom)) == pytest.approx(YEAR)
    longer = with_values(rom, technology__datacenter__model_lifetime=20 * YEAR)
    assert float(chip_lifetime(longer)) == pytest.approx(5 * YEAR)
    data = preset_design("h100-sxm", "llama-3-8b")
    assert float(chip_lifetime(data)) == pytest.approx(5 * YEAR)


def test_stacked_memory_needs_room_and_cooling(technology: Technology):
    """No edge, but the area below it, and half the power density."""
    stacked, beside = load_chip("dram-on-logic"), load_chip("h100-sxm")
    assert float(stacked.dram.edge) == pytest.approx(0.0)
    assert float(stacked.dram.footprint * stacked.dram.stacks) < float(
        silicon(stacked, technology).area
    )
    assert float(stacked.dram.cooling_factor) < float(beside.dram.cooling_factor)


@pytest.mark.parametrize("name", ARCHETYPES)
def test_archetype_has_no_residual(name: str):
    """Nothing is published: no limit is widened, no metric is corrected."""
    anchor = load_chip(name).anchor
    for part in type(anchor).__dataclass_fields__:
        assert math.isclose(float(getattr(anchor, part)), 0.0, abs_tol=1e-9), part
