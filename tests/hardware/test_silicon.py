"""Area, yield, price and energy of a chip against sums by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.chips import load_chip
from codesign.config.technology import load_technology
from codesign.core.paths import set_path
from codesign.hardware.anchor import anchor_chip, dense_mac_energy, zero_anchor
from codesign.hardware.chip import Chip, Published
from codesign.hardware.silicon import (
    area_parts,
    chip_clock,
    chip_price,
    die_yield,
    silicon,
)
from codesign.technology.constants import Technology

MM2 = 1e-6


@pytest.fixture(scope="module")
def technology() -> Technology:
    return load_technology()


@pytest.fixture(scope="module")
def chip() -> Chip:
    """An H100 without what is published of it."""
    return load_chip("h100-sxm").replace(anchor=zero_anchor())


def changed(chip: Chip, **values: float) -> Chip:
    """The chip with values at paths, ``__`` for the dot."""
    for name, value in values.items():
        chip = set_path(chip, name.replace("__", "."), value=value)
    return chip


def test_area_of_an_h100_by_hand(chip: Chip, technology: Technology):
    """270 000 MACs of 671 um^2 and 116 MiB, scaled from N7 to N4, over the fill."""
    macs = 144 / 132 * 989e12 / (2 * 1.83e9)
    formats = 1 + 0.08 * float(chip.compute.num_extra_formats)
    formats += 0.016  # selection of operands for the pattern 2:4
    compute = macs * 671e-12 * formats * 0.655 / 0.321
    fast = float(chip.sram.fast_fraction)
    per_mebibyte = 0.62 * (1 - fast) + 2.02 * fast
    memory = 144 / 132 * 116 * per_mebibyte * MM2 * 0.778 / 0.321
    phy = (5 * 15 + 450 / 25 * 1.55 + 11) * MM2
    parts = [float(part) for part in area_parts(chip, technology)]
    assert parts == pytest.approx([compute, memory, phy, 0.0], rel=0.01)


def test_yield_of_a_large_die_with_and_without_repair(
    chip: Chip, technology: Technology
):
    """814 mm^2 at 0.1 defects per cm^2: 0.49 without, 0.82 with 75 % repairable."""
    fab = technology.fab
    bare = technology.replace(fab=fab.replace(repairable_fraction=0.0))
    area = {"die_area": 814 * MM2}
    assert float(die_yield(chip, bare, **area)) == pytest.approx(0.49, abs=0.01)
    assert float(die_yield(chip, technology, **area)) == pytest.approx(0.82, abs=0.01)
    poisson = bare.replace(fab=bare.fab.replace(yield_clustering=1e6))
    assert float(die_yield(chip, poisson, **area)) == pytest.approx(
        np.exp(-8.14 * 0.1), rel=1e-4
    )


def test_tiny_die_yields_fully(chip: Chip, technology: Technology):
    assert float(die_yield(chip, technology, die_area=1e-12)) == pytest.approx(1.0)


def test_price_by_hand(chip: Chip, technology: Technology):
    """63 gross dies of a 17 000 USD wafer, 80 GB, an interposer, test, margin."""
    area = 814 * MM2
    found = chip_price(chip, technology, area=area, yielded=0.82)
    usable, pitch = 290e-3, (np.sqrt(area) + 0.2e-3) ** 2
    gross = np.pi * usable**2 / (4 * pitch) - np.pi * usable / np.sqrt(2 * pitch)
    assert gross == pytest.approx(57, abs=8)
    dies = 16988 / (gross * 0.82)
    interposer = 0.33 / MM2 * (1.5 * area + 5 * 160 * MM2)
    memory = float(chip.dram.price) * 80e9
    bill = (dies + interposer) / 0.95 + memory + 500 + 0.2 * 700
    assert float(found) == pytest.approx(bill / (1 - 0.85), rel=1e-3)


def test_two_dies_of_half_the_area_yield_better(chip: Chip, technology: Technology):
    whole = silicon(chip, technology)
    halves = silicon(changed(chip, dies=2.0), technology)
    interface = float(chip.style.interface_area)
    assert float(halves.area - whole.area) == pytest.approx(interface)
    assert float(halves.yield_fraction) > float(whole.yield_fraction)
    assert float(halves.price) < float(whole.price)
    overhang = 2 * float(chip.dram.overhang)
    long = [float(b.stack_edge_available) for b in (whole, halves)]
    assert long[1] - 2 * overhang == pytest.approx(
        np.sqrt(2 * float(halves.area / whole.area)) * (long[0] - overhang)
    )


def test_peak_rate_and_clock_of_an_h100(chip: Chip, technology: Technology):
    built = silicon(chip, technology)
    assert float(built.peak_compute) == pytest.approx(989e12)
    assert float(chip_clock(chip, technology)) == pytest.approx(1.83e9)


def test_clock_follows_the_root_of_the_node(chip: Chip, technology: Technology):
    """An H100 at 7 nm would run 1.38 GHz, near the 1.41 of the A100 that was built."""
    old = changed(chip, node=7e-9)
    expected = 1.83e9 * (4 / 7) ** 0.5
    assert float(chip_clock(old, technology)) == pytest.approx(expected)
    assert expected == pytest.approx(1.41e9, rel=0.03)
    slow, fast = silicon(old, technology), silicon(chip, technology)
    assert float(slow.peak_compute / fast.peak_compute) == pytest.approx(
        expected / 1.83e9
    )
    watts = [float(b.active_power / b.area) for b in (slow, fast)]
    assert watts[0] / watts[1] == pytest.approx(expected / 1.83e9)


def test_energy_and_clock_follow_the_voltage(chip: Chip, technology: Technology):
    low, high = (silicon(changed(chip, voltage=v), technology) for v in (0.70, 0.90))
    square = (0.90 / 0.70) ** 2
    for name in ("mac_energy_16bit", "delivery_energy", "path_energy", "active_power"):
        ratio = float(getattr(high, name)) / float(getattr(low, name))
        assert ratio == pytest.approx(square), name
    assert float(high.dram_energy) == pytest.approx(float(low.dram_energy))
    assert float(high.clock / low.clock) == pytest.approx(
        (0.55 / 0.35) ** 1.3 * 0.70 / 0.90
    )


def test_node_moves_logic_and_sram_but_no_phy(chip: Chip, technology: Technology):
    new = area_parts(chip, technology)
    old = area_parts(changed(chip, node=7e-9), technology)
    assert float(old[0] / new[0]) == pytest.approx(1.0 / 0.655)
    assert float(old[1] / new[1]) == pytest.approx(1.0 / 0.778)
    assert float(old[2]) == pytest.approx(float(new[2]))


def test_resident_byte_costs_more_in_a_larger_chip(chip: Chip, technology: Technology):
    sizes = [1e6, 1e8, 1e10]
    energies = [
        float(silicon(changed(chip, sram__capacity=s), technology).resident_energy)
        for s in sizes
    ]
    assert energies == sorted(energies)


def test_sram_bandwidth_is_bounded_by_size_and_clock(
    chip: Chip, technology: Technology
):
    wanted = changed(chip, sram__bandwidth=1e18, sram__capacity=100e6)
    built = silicon(wanted, technology)
    sram, fast = technology.sram, float(chip.sram.fast_fraction)
    share = float(sram.bandwidth_fraction * (1 - fast) + 14e-4 * fast)
    assert float(built.sram_bandwidth) == pytest.approx(share * 100e6 * 1.83e9)
    less = silicon(changed(chip, sram__bandwidth=1e12), technology)
    assert float(less.sram_bandwidth) == pytest.approx(1e12)


def nothing_known() -> Published:
    return Published(
        area=np.nan,
        static_power=np.nan,
        sustained_compute=np.nan,
        sram_bandwidth=np.nan,
        price=np.nan,
    )


def test_anchor_of_a_chip_of_which_nothing_is_known_is_zero(
    chip: Chip, technology: Technology
):
    anchor = anchor_chip(chip, nothing_known(), technology=technology).anchor
    for name in ("area", "static_power", "mac_energy", "price"):
        assert float(getattr(anchor, name)) == 0.0, name


def test_measured_energies_are_those_of_the_anchored_chip(
    chip: Chip, technology: Technology
):
    known = {
        "mac_energy_16bit": 2e-12,
        "mac_energy_8bit": 0.7e-12,
        "bank_energy": 5e-12,
        "resident_energy": 60e-12,
    }
    found = anchor_chip(chip, nothing_known().replace(**known), technology=technology)
    built = silicon(found, technology)
    assert float(dense_mac_energy(built, bits=16)) == pytest.approx(2e-12)
    narrow = dense_mac_energy(built, bits=8) * jnp.exp(found.anchor.mac_energy_8bit)
    assert float(narrow) == pytest.approx(0.7e-12)
    assert float(built.bank_energy) == pytest.approx(5e-12)
    assert float(built.resident_energy) == pytest.approx(60e-12)


def test_a_bank_is_part_of_a_resident_byte(chip: Chip, technology: Technology):
    bare = silicon(chip, technology)
    known = nothing_known().replace(bank_energy=5e-12)
    built = silicon(anchor_chip(chip, known, technology=technology), technology)
    more = float(built.resident_energy - bare.resident_energy)
    assert more == pytest.approx(5e-12 - float(bare.bank_energy))


def test_a_measured_mac_goes_before_the_sustained_rate(
    chip: Chip, technology: Technology
):
    known = nothing_known().replace(sustained_compute=700e12, mac_energy_16bit=2e-12)
    built = silicon(anchor_chip(chip, known, technology=technology), technology)
    assert float(dense_mac_energy(built, bits=16)) == pytest.approx(2e-12)


def test_anchor_is_the_logarithm_of_published_over_derived(
    chip: Chip, technology: Technology
):
    known = nothing_known().replace(area=500 * MM2, price=7000.0)
    found = anchor_chip(chip, known, technology=technology)
    bare = silicon(chip, technology)
    assert float(found.anchor.area) == pytest.approx(np.log(500 * MM2 / bare.area))
    built = silicon(found, technology)
    assert float(built.area) == pytest.approx(500 * MM2)
    assert float(built.price) == pytest.approx(7000.0)


def test_a_design_differentiates_through_all_nodes(technology: Technology):
    """From 28 to 2 nm, on rows of the table and between them."""
    chip = load_chip("h100-sxm")
    names = ("area", "price", "carbon", "static_power", "mac_energy_16bit")

    def metrics(log_node: jax.Array) -> jax.Array:
        built = silicon(chip.replace(node=jnp.exp(log_node)), technology)
        return jnp.log(jnp.stack([getattr(built, name) for name in names]))

    nodes = jnp.log(jnp.array([2.3e-9, 3.4e-9, 4.4e-9, 5.5e-9, 6.5e-9, 9e-9, 2e-8]))
    step = 1e-6
    slopes = jax.jit(jax.vmap(jax.jacfwd(metrics)))
    above, below = (jax.vmap(metrics)(nodes + sign * step) for sign in (1, -1))
    np.testing.assert_allclose(slopes(nodes), (above - below) / 2 / step, rtol=1e-4)
    assert np.isfinite(slopes(jnp.log(technology.nodes.node))).all()
    assert (slopes(nodes)[:, names.index("mac_energy_16bit")] > 0).all()


def test_residual_carries_over_to_a_changed_chip(technology: Technology):
    given = load_chip("h100-sxm")
    larger = changed(given, compute__macs=2 * given.compute.macs)
    anchored, derived = (
        silicon(c, technology).area
        for c in (larger, larger.replace(anchor=zero_anchor()))
    )
    assert float(np.log(anchored / derived)) == pytest.approx(float(given.anchor.area))
