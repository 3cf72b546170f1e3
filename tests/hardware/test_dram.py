"""Height, speed and generation of stacks against sums by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.chips import load_chip
from codesign.config.technology import load_technology, memory_values
from codesign.core.paths import set_path
from codesign.hardware.chip import Chip
from codesign.hardware.dram import (
    height_ratio,
    speed_ratio,
    stack_energy,
    stack_price,
)
from codesign.technology.constants import Technology

HBM = ("hbm2", "hbm2e", "hbm3", "hbm3e", "hbm4")


@pytest.fixture(scope="module")
def technology() -> Technology:
    return load_technology()


@pytest.fixture(scope="module")
def chip() -> Chip:
    """Five stacks of HBM3 with eight layers, run at 670 of 819 GB/s."""
    return load_chip("h100-sxm")


def changed(chip: Chip, **values: float) -> Chip:
    for name, value in values.items():
        chip = set_path(chip, f"dram.{name}", value=value)
    return chip


@pytest.mark.parametrize("name", list_presets("chips"))
def test_a_given_stack_has_the_energy_and_price_of_its_kind(
    technology: Technology, name: str
):
    chip = load_chip(name)
    assert float(stack_energy(chip, technology)) == float(chip.dram.device_energy)
    assert float(stack_price(chip, technology)) == float(chip.dram.price)
    assert float(height_ratio(chip, technology)) <= 1 + 1e-12
    assert float(speed_ratio(chip, technology)) <= 1 + 1e-12


def test_faster_pins_cost_energy_and_money(chip: Chip, technology: Technology):
    fast = changed(chip, stack_bandwidth=804e9)
    energy, price = (
        float(f(fast, technology) / f(chip, technology))
        for f in (stack_energy, stack_price)
    )
    assert energy == pytest.approx(1 + 0.35 * 0.2)
    assert price == pytest.approx(((1 + 1.2**4) / 2) ** (0.5 / 4))
    assert float(speed_ratio(fast, technology)) == pytest.approx(804 / 819)
    assert float(speed_ratio(changed(chip, stack_bandwidth=1e12), technology)) > 1


def test_taller_stacks_cost_more_per_byte(chip: Chip, technology: Technology):
    tall = changed(chip, stack_capacity=24e9)
    ratio = float(stack_price(tall, technology) / stack_price(chip, technology))
    assert ratio == pytest.approx(1.5**0.15)
    assert float(height_ratio(chip, technology)) == pytest.approx(8 / 16)
    assert float(height_ratio(tall, technology)) == pytest.approx(12 / 16)


def test_a_later_generation_by_hand(chip: Chip, technology: Technology):
    """HBM4 with eight layers at its usual rate: less energy, 1.78 times the price."""
    rate = 670e9 * 2048 / 670
    later = changed(chip, generation=4.0, stack_capacity=24e9, stack_bandwidth=rate)
    energy = float(stack_energy(later, technology) / stack_energy(chip, technology))
    price = float(stack_price(later, technology) / stack_price(chip, technology))
    assert energy == pytest.approx(0.821 / 1.077)
    assert price == pytest.approx(1.51 / 0.85)
    assert float(height_ratio(later, technology)) == pytest.approx(0.5)
    assert float(speed_ratio(later, technology)) == pytest.approx(2048 / 2750)


def test_generations_agree_with_the_kinds_of_memory(technology: Technology):
    kinds = [memory_values(name) for name in HBM]
    energy = np.array([k["device_energy"].value for k in kinds])
    np.testing.assert_allclose(
        technology.hbm.energy_factor, energy / energy[3], rtol=1e-3
    )
    for column in ("generation", "stack_bandwidth"):
        values = [k[column].value for k in kinds]
        np.testing.assert_allclose(getattr(technology.hbm, column), values)
    for kind, layer in zip(kinds, technology.hbm.layer_capacity, strict=True):
        layers = kind["stack_capacity"].value / float(layer)
        assert layers == pytest.approx(round(layers))
        assert 8 <= layers <= 12


@pytest.mark.parametrize("name", ["rtx-4090", "m4-max", "groqchip1"])
def test_memory_that_is_no_hbm_has_no_generation(technology: Technology, name: str):
    chip = load_chip(name)
    moved = changed(chip, generation=4.0)
    for function in (stack_energy, stack_price, height_ratio, speed_ratio):
        assert float(function(moved, technology)) == float(function(chip, technology))


@pytest.mark.parametrize("name", ["h100-sxm", "rtx-4090", "groqchip1"])
def test_slopes_are_finite_from_the_first_to_beyond_the_last_generation(
    technology: Technology, name: str
):
    chip = load_chip(name)

    def values(log: jax.Array) -> jax.Array:
        other = changed(chip, generation=jnp.exp(log))
        functions = (stack_energy, stack_price, height_ratio, speed_ratio)
        return jnp.stack([f(other, technology) for f in functions])

    both = jax.jit(jax.vmap(lambda x: jax.jvp(values, (x,), (jnp.ones(()),))))
    found, slopes = both(jnp.log(jnp.linspace(1.5, 5.0, 29)))
    assert np.isfinite(found).all()
    assert np.isfinite(slopes).all()


def test_a_whole_step_from_h100_to_h200(chip: Chip, technology: Technology):
    """Six stacks of HBM3e fit where five stood, as they did; eight do not."""
    from codesign.hardware.shoreline import stack_edge, stack_edge_available

    room = float(stack_edge_available(chip, technology, die_area=814e-6))
    assert room == pytest.approx(2 * (math.sqrt(814 * 1.27) + 4.75) * 1e-3)
    for stacks, fits in ((5, True), (6, True), (7, False), (8, False)):
        each_side = math.ceil(stacks / 2) * float(stack_edge(changed(chip, stacks=2)))
        assert (each_side <= room) is fits
