"""Floor, busy chip, bytes of three memories and MACs of two formats, told apart."""

import math
from dataclasses import asdict, replace

import pytest

from codesign.measure.energies import Energies, expected_energies, fit_energies
from codesign.measure.kernels import IDLE, SHARED, ZEROS, Kernel
from tests.measure.rows import TRUE, kernels

WRONG = Energies(**{k: 1.5 * float(v) for k, v in asdict(TRUE).items()})


def test_floor_bytes_and_macs_are_told_apart():
    found = fit_energies(kernels(), WRONG)
    for name, value in asdict(TRUE).items():
        assert getattr(found.values, name) == pytest.approx(value, rel=0.03), name
        assert found.is_measured(name), name


@pytest.mark.parametrize("name", [n for n in asdict(TRUE) if n != "static"])
def test_each_energy_follows_the_powers(name: str):
    more = replace(TRUE, **{name: 2 * float(getattr(TRUE, name))})
    found = fit_energies(kernels(true=more), TRUE)
    doubled = pytest.approx(getattr(more, name), rel=0.1)  # the weak prior pulls
    assert getattr(found.values, name) == doubled


def test_without_a_meter_nothing_is_said():
    dark = [replace(kernel, power=math.nan) for kernel in kernels()]
    found = fit_energies(dark, TRUE)
    assert all(math.isnan(value) for value in asdict(found.values).values())
    assert not any(found.is_measured(name) for name in asdict(TRUE))


def test_a_meter_that_sees_no_work_leaves_energies_as_expected():
    """Kernels so small that they draw microwatts: only the floor is measured."""
    rows = [
        replace(k, flops=k.flops * 1e-6, traffic=k.traffic * 1e-6, power=50.0)
        for k in kernels()
    ]
    found = fit_energies(rows, TRUE)
    assert found.values.static == pytest.approx(50.0, rel=0.01)
    for name in ("byte", "resident_byte", "bank_byte", "mac_16bit", "mac_8bit"):
        expected = getattr(TRUE, name)
        assert getattr(found.values, name) == pytest.approx(expected, rel=0.01), name
        assert not found.is_measured(name), name


def test_a_loop_that_was_removed_says_nothing():
    rows = [replace(k, seconds=1e-3) if k.kind == SHARED else k for k in kernels()]
    found = fit_energies(rows, WRONG)
    assert not found.is_measured("bank_byte")
    assert found.values.bank_byte == pytest.approx(float(WRONG.bank_byte), rel=1e-6)
    assert found.values.byte == pytest.approx(float(TRUE.byte), rel=0.03)


def test_products_that_are_widened_say_nothing_of_eight_bits():
    def widened(kernel: Kernel) -> Kernel:
        narrow = kernel.format == "float8_e4m3fn"
        return replace(kernel, executed="bf16", power=999.0) if narrow else kernel

    found = fit_energies([widened(k) for k in kernels()], WRONG)
    assert not found.is_measured("mac_8bit")
    assert found.values.mac_16bit == pytest.approx(float(TRUE.mac_16bit), rel=0.03)


def test_zeros_are_left_out():
    rows = [replace(k, power=1.0) if k.kind == ZEROS else k for k in kernels()]
    assert fit_energies(rows, TRUE) == fit_energies(kernels(), TRUE)


def test_the_floor_has_to_be_measured():
    busy = [k for k in kernels() if k.kind != IDLE]
    assert math.isnan(fit_energies(busy, TRUE).values.static)


def test_what_is_expected_comes_from_the_chip():
    from codesign.config.chips import load_chip
    from codesign.config.technology import load_technology
    from codesign.hardware.silicon import silicon

    built = silicon(load_chip("h100-sxm"), load_technology())
    found = expected_energies(built)
    assert found.mac_16bit == pytest.approx(1.349e-12, rel=0.01)  # theory/power.md
    assert found.bank_byte < found.resident_byte < found.byte
