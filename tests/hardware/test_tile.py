"""Edge of operand reuse against sums by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.chips import load_chip
from codesign.config.technology import list_kinds, load_style, load_technology
from codesign.core.paths import set_path
from codesign.hardware.tile import delivery_energy, tile_edge, tile_store
from codesign.technology.constants import Technology


@pytest.fixture(scope="module")
def technology() -> Technology:
    return load_technology()


@pytest.mark.parametrize("name", list_presets("chips"))
def test_a_given_chip_has_the_edge_and_energy_of_its_style(
    technology: Technology, name: str
):
    chip = load_chip(name)
    edge = float(tile_edge(chip, technology))
    assert edge == pytest.approx(float(chip.style.tile_cols), rel=1e-12)
    energy = float(delivery_energy(chip, technology))
    assert energy == pytest.approx(float(chip.style.delivery_energy), rel=1e-12)


def test_store_of_an_h100_by_hand():
    """Half of 66 MiB of registers and shared memory for 270 000 MACs: 128 bytes."""
    macs = 989e12 / (2 * 1.83e9)
    by_hand = 0.5 * 66 * 2**20 / macs
    assert by_hand == pytest.approx(128, rel=0.01)
    found = float(tile_store(load_chip("h100-sxm")))
    assert found == pytest.approx(by_hand, rel=1e-3)


def test_edge_grows_with_the_root_of_its_store(technology: Technology):
    """Four times the bytes per MAC, registers included, hold twice the edge."""
    chip = load_chip("h100-sxm")
    store = float(tile_store(chip))
    wanted = 4 * (store + 8) - 8
    larger = set_path(chip, "sram.capacity", value=chip.sram.capacity * wanted / store)
    assert float(tile_edge(larger, technology)) == pytest.approx(256)
    saved = 2 * 0.10e-12 * (1 / 128 - 1 / 256)
    found = float(delivery_energy(chip, technology))
    assert found - float(delivery_energy(larger, technology)) == pytest.approx(saved)


def test_more_arrays_on_the_same_store_reuse_less(technology: Technology):
    chip = load_chip("h100-sxm")
    doubled = set_path(chip, "compute.macs", value=2 * chip.compute.macs)
    assert 90 < float(tile_edge(doubled, technology)) < 94


@pytest.mark.parametrize("name", ["groqchip1", "h100-sxm", "wse-3"])
def test_edge_without_a_store_is_that_of_the_registers(
    technology: Technology, name: str
):
    """No jump and a finite slope where the fast share goes to nothing."""
    chip = load_chip(name)

    def edge(share: jax.Array) -> jax.Array:
        return tile_edge(set_path(chip, "sram.fast_fraction", value=share), technology)

    value, slope = jax.value_and_grad(edge)(jnp.zeros(()))
    registers = np.sqrt(8 / (8 + float(chip.given.tile_store)))
    assert float(value) == pytest.approx(float(chip.style.tile_cols) * registers)
    assert np.isfinite(slope)
    assert float(slope) > 0


@pytest.mark.parametrize("name", list_kinds("styles"))
def test_reuse_cannot_save_more_than_delivery_takes(technology: Technology, name: str):
    style = load_style(name)
    most = 2 * float(technology.sram.tile_energy) / float(style.tile_cols)
    assert most < float(style.delivery_energy)
