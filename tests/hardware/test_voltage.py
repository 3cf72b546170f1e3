import jax
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.chips import load_chip
from codesign.hardware.voltage import operating_point
from codesign.technology.arithmetic import speed

EACH_CHIP = pytest.mark.parametrize("name", list_presets("chips"))


@EACH_CHIP
def test_full_drive_is_full_operation(name: str):
    chip = load_chip(name)
    for drive in (float(chip.voltage), 2.0):
        point = operating_point(chip, drive)
        assert float(point.voltage) == pytest.approx(float(chip.voltage))
        for factor in (point.clock_factor, point.dynamic_factor, point.static_factor):
            assert float(factor) == pytest.approx(1.0)


@EACH_CHIP
def test_lower_voltage_saves_energy_as_its_square_and_leakage_in_proportion(name: str):
    chip = load_chip(name)
    drive = 0.5 * float(chip.voltage + chip.style.min_voltage)
    ratio = drive / float(chip.voltage)
    point = operating_point(chip, drive)
    assert float(point.dynamic_factor) == pytest.approx(ratio**2)
    assert float(point.static_factor) == pytest.approx(ratio)
    threshold = float(chip.style.threshold_voltage)
    by_hand = ((drive - threshold) / (float(chip.voltage) - threshold)) ** 1.3 / ratio
    assert float(point.clock_factor) == pytest.approx(by_hand)


@EACH_CHIP
def test_below_the_minimum_only_the_clock_falls(name: str):
    chip = load_chip(name)
    lowest = float(chip.style.min_voltage)
    at_minimum = operating_point(chip, lowest)
    below = operating_point(chip, 0.25 * lowest)
    assert float(below.voltage) == pytest.approx(lowest)
    assert float(below.dynamic_factor) == pytest.approx(
        float(at_minimum.dynamic_factor)
    )
    assert float(below.clock_factor) == pytest.approx(
        0.25 * float(at_minimum.clock_factor)
    )


@pytest.mark.parametrize("sharpness", [None, 256.0])
def test_everything_rises_with_the_drive(sharpness: float | None):
    chip = load_chip("h100-sxm")
    drives = np.linspace(0.05, 1.0, 96)
    points = jax.vmap(lambda v: operating_point(chip, v, sharpness=sharpness))(drives)
    for name in ("voltage", "clock_factor", "dynamic_factor", "static_factor"):
        assert (np.diff(getattr(points, name)) >= -1e-12).all(), name


def test_smooth_point_tends_to_the_hard_one():
    chip = load_chip("h100-sxm")
    drives = np.linspace(0.1, 1.0, 40)
    hard = jax.vmap(lambda v: operating_point(chip, v))(drives).clock_factor
    gaps = [
        np.abs(
            jax.vmap(lambda v, p=p: operating_point(chip, v, sharpness=p))(
                drives
            ).clock_factor
            - hard
        ).max()
        for p in (64.0, 256.0, 4096.0)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3


def test_clock_law_predicts_a_published_point():
    """Qualcomm AI 100: 0.50, 0.56 and 0.77 V; clock at 0.56 is 1.32 of that at 0.50.

    Source: WikiChip, TOPS and J/TOP of the three operating points; the threshold
    is fitted to the two ends.
    """
    ratio = speed(0.56, threshold=0.35) / speed(0.50, threshold=0.35)
    assert float(ratio) == pytest.approx(1.322, rel=0.06)


def test_speed_stays_finite_below_the_threshold():
    for voltage in (0.1, 0.35, 0.36):
        value, slope = jax.value_and_grad(lambda v: speed(v, threshold=0.35))(voltage)
        assert np.isfinite(value)
        assert np.isfinite(slope)
        assert float(value) > 0
