"""What does a chip become when it is built? Rates, area, power, price.

Chip parameters and technology -> ``Silicon``, every metric anchored to the
given chip it descends from.
"""

import jax.numpy as jnp

from codesign.core.quantities import (
    Bytes,
    BytesPerSecond,
    Count,
    Factor,
    FlopPerSecond,
    Fraction,
    JoulesPerByte,
    JoulesPerMac,
    KgCo2e,
    Meters,
    PerSecond,
    SquareMeters,
    Usd,
    Watts,
    WattsPerSquareMeter,
)
from codesign.core.record import Record
from codesign.core.smooth import Sharpness, saturate, smooth_max, smooth_min
from codesign.hardware.chip import Chip
from codesign.hardware.dram import stack_energy, stack_price
from codesign.hardware.shoreline import (
    edge_available,
    edge_used,
    stack_edge,
    stack_edge_available,
)
from codesign.hardware.store import (
    converter_energy,
    rewrite_power,
    store_area,
    store_bandwidth,
    store_energy,
)
from codesign.hardware.tile import delivery_energy, tile_edge
from codesign.technology.arithmetic import speed
from codesign.technology.constants import Technology
from codesign.technology.node import at_node, clock_factor

DIE_SHARPNESS = 64.0  # of the turn to one die per wafer


class Silicon(Record):
    """A built chip at its operating voltage; powers and energies per package.

    ``cell_energy`` and ``converter_energy`` are per product of one cell and one
    input slice; ``model_price`` is what a new model adds to ``price``.
    """

    clock: PerSecond
    peak_compute: FlopPerSecond
    vector_compute: FlopPerSecond
    mac_energy_32bit: JoulesPerMac
    mac_energy_16bit: JoulesPerMac
    mac_energy_8bit: JoulesPerMac
    mac_energy_4bit: JoulesPerMac
    delivery_energy: JoulesPerMac
    dram_capacity: Bytes
    dram_bandwidth: BytesPerSecond
    sram_bandwidth: BytesPerSecond
    tile_edge: Count
    dram_energy: JoulesPerByte
    path_energy: JoulesPerByte
    bank_energy: JoulesPerByte
    resident_energy: JoulesPerByte
    store_bandwidth: BytesPerSecond
    store_energy: JoulesPerByte
    cell_energy: JoulesPerMac
    converter_energy: JoulesPerMac
    static_power: Watts
    active_power: Watts
    memory_power: Watts
    area: SquareMeters
    die_area: SquareMeters
    compute_area: SquareMeters
    sram_area: SquareMeters
    store_area: SquareMeters
    phy_area: SquareMeters
    stack_edge_used: Meters
    stack_edge_available: Meters
    edge_used: Meters
    edge_available: Meters
    yield_fraction: Fraction
    price: Usd
    model_price: Usd
    carbon: KgCo2e


def silicon(
    chip: Chip, technology: Technology, *, sharpness: Sharpness = None
) -> Silicon:
    """Everything that follows from the parameters of a chip.

    peak = 2 macs f,  f = f_ref g(V) / g(V_ref);  areas, powers and prices as in
    the functions below, each times exp(residual) of the chip's anchor.
    """
    style, anchor = chip.style, chip.anchor
    clock = chip_clock(chip, technology)
    peak = 2 * chip.compute.macs * clock
    voltage_factor = (chip.voltage / technology.arithmetic.calibration_voltage) ** 2
    node_factor = at_node(
        technology.nodes, technology.nodes.dynamic_energy_factor, node=chip.node
    )
    mac_scale = node_factor * voltage_factor * jnp.exp(anchor.mac_energy)
    parts = area_parts(chip, technology)
    area = jnp.exp(anchor.area) * sum(parts)
    die_area = area / chip.dies
    yielded = die_yield(chip, technology, die_area=die_area)
    limit = sram_bandwidth_limit(chip, technology, clock=clock) * jnp.exp(
        anchor.sram_bandwidth
    )
    widened = jnp.exp(-anchor.shoreline)
    return Silicon(
        clock=clock,
        peak_compute=peak,
        vector_compute=style.vector_fraction * peak,
        mac_energy_32bit=technology.arithmetic.energy_32bit * mac_scale,
        mac_energy_16bit=technology.arithmetic.energy_16bit * mac_scale,
        mac_energy_8bit=technology.arithmetic.energy_8bit * mac_scale,
        mac_energy_4bit=technology.arithmetic.energy_4bit * mac_scale,
        delivery_energy=delivery_energy(chip, technology) * mac_scale,
        dram_capacity=chip.dram.stacks * chip.dram.stack_capacity,
        dram_bandwidth=chip.dram.bandwidth,
        sram_bandwidth=smooth_min(chip.sram.bandwidth, limit, sharpness=sharpness),
        tile_edge=tile_edge(chip, technology),
        dram_energy=stack_energy(chip, technology),
        path_energy=style.path_energy * voltage_factor,
        bank_energy=bank_energy(chip, technology) * voltage_factor,
        resident_energy=resident_energy(chip, technology, area=area) * voltage_factor,
        store_bandwidth=store_bandwidth(chip, technology, clock=clock),
        store_energy=store_energy(chip, technology, area=area) * voltage_factor,
        cell_energy=chip.store.arrays.cell_energy,
        converter_energy=converter_energy(chip),
        static_power=jnp.exp(anchor.static_power)
        * static_power(chip, technology, area=area),
        active_power=style.active_power_density
        * area
        * (chip.voltage / style.reference_voltage) ** 2
        * _node_clock(chip, technology),
        memory_power=chip.dram.standby_power
        * chip.dram.stacks
        * chip.dram.stack_capacity
        + rewrite_power(chip),
        area=area,
        die_area=die_area,
        compute_area=parts[0],
        sram_area=parts[1],
        phy_area=parts[2],
        store_area=parts[3],
        stack_edge_used=stack_edge(chip) * widened,
        stack_edge_available=stack_edge_available(chip, technology, die_area=die_area),
        edge_used=edge_used(chip, technology) * widened,
        edge_available=edge_available(chip, technology, die_area=die_area),
        yield_fraction=yielded,
        price=jnp.exp(anchor.price)
        * chip_price(chip, technology, area=area, yielded=yielded),
        model_price=model_price(chip, technology),
        carbon=chip_carbon(chip, technology, area=area, yielded=yielded),
    )


def chip_clock(chip: Chip, technology: Technology) -> PerSecond:
    """Clock at the operating voltage, f = f_ref (n_given / n)^x g(V) / g(V_ref)."""
    style = chip.style
    return (
        style.reference_clock
        * _node_clock(chip, technology)
        * speed(chip.voltage, threshold=style.threshold_voltage)
        / speed(style.reference_voltage, threshold=style.threshold_voltage)
    )


def _node_clock(chip: Chip, technology: Technology) -> Factor:
    exponent = technology.arithmetic.clock_node_exponent
    return clock_factor(chip.node, given=chip.given.node, exponent=exponent)


def sram_bandwidth_limit(
    chip: Chip, technology: Technology, *, clock: PerSecond
) -> BytesPerSecond:
    """Bandwidth that SRAM of this size offers, B = S f (b (1 - phi) + b_fast phi).

    More of it takes more capacity, a higher clock, or larger cells: fast banks
    need three times the area of bulk.

    Source: ratios of shipped chips, configs/technology/sram.yaml.
    """
    sram, fast = technology.sram, chip.sram.fast_fraction
    share = sram.bandwidth_fraction * (1 - fast) + sram.fast_bandwidth_fraction * fast
    return share * chip.sram.capacity * clock


def area_parts(
    chip: Chip, technology: Technology
) -> tuple[SquareMeters, SquareMeters, SquareMeters, SquareMeters]:
    """Area of compute and SRAM (with their share of fill), PHYs, and a store.

    A_mac = spares macs a_mac (1 + x formats + y (sparse rate - 1)) s_logic / eta,
    A_sram = spares S (a_bulk (1 - phi) + a_fast phi) s_sram / eta,
    A_phy = stacks a_phy + BW_link a_link + dies a_interface,
    A_store = cells and converters / eta

    Assumes: PHY area does not scale with the node; spare units carry their SRAM.
    Source: fit to 20 dies from 28 to 4 nm, docs/theory/area.md.
    """
    nodes, sram, style = technology.nodes, technology.sram, chip.style
    formats = (
        1
        + technology.arithmetic.extra_format_area_fraction
        * chip.compute.num_extra_formats
        + technology.arithmetic.sparse_area_fraction * (chip.compute.sparse_rate - 1)
    )
    logic = at_node(nodes, nodes.logic_area_factor, node=chip.node)
    cells = at_node(nodes, nodes.sram_area_factor, node=chip.node)
    fast = chip.sram.fast_fraction
    mac_area = chip.compute.macs * technology.arithmetic.area_16bit * formats * logic
    sram_area = (
        chip.sram.capacity
        * (sram.bulk_area * (1 - fast) + sram.fast_area * fast)
        * cells
    )
    phy = (
        chip.dram.stacks * chip.dram.phy_area
        + chip.link.bandwidth * technology.link.area
        + chip.dies * style.interface_area
    )
    filled = chip.compute.spare_factor / style.area_efficiency
    store = store_area(chip, technology) / style.area_efficiency
    return mac_area * filled, sram_area * filled, phy, store


def static_power(chip: Chip, technology: Technology, *, area: SquareMeters) -> Watts:
    """Power of an idle, running chip: leakage, clocks, SRAM and link standby.

    P = p_static A V / V_ref (n_ref / n)^x + p_leak S + e_standby x 2 BW_link

    Assumes: a smaller node leaks more per area, by a power with a wide spread.
    Source: intercepts of measured decode power, docs/theory/power.md.
    """
    style = chip.style
    link = technology.link
    return (
        style.static_power_density
        * area
        * (chip.voltage / style.reference_voltage)
        * (style.reference_node / chip.node)
        ** technology.arithmetic.static_node_exponent
        + technology.sram.leakage * chip.sram.capacity
        + 2 * link.standby_energy * link.standby_fraction * chip.link.bandwidth
    )


def bank_energy(chip: Chip, technology: Technology) -> JoulesPerByte:
    """Energy of one byte read from a bank of SRAM beside the arrays.

    e_bank = (e_0 + e_1 sqrt(S / (dies banks))) exp(r)

    with r the chip's measured residual.
    Source: CACTI and 7 nm anchors, docs/theory/energy.md.
    """
    sram = technology.sram
    size = chip.sram.capacity / chip.dies / sram.num_banks
    derived = sram.bank_energy + sram.bank_energy_root * jnp.sqrt(size)
    return derived * jnp.exp(chip.anchor.bank_energy)


def resident_energy(
    chip: Chip, technology: Technology, *, area: SquareMeters
) -> JoulesPerByte:
    """Energy of one byte from a resident SRAM bank to the operand latch.

    e = (e_bank + e_wire sqrt(A_die) / 2 + e_local) exp(r)

    Assumes: the mean distance from a bank to its array is half a die edge,
    divided over as many banks as compute the operand where it is stored.
    Source: CACTI and 7 nm anchors, docs/theory/energy.md.
    """
    sram, bank = technology.sram, bank_energy(chip, technology)
    distance = jnp.sqrt(area / chip.dies / sram.num_banks) / 2
    derived = bank + sram.wire_energy * distance + chip.style.local_path_energy
    return derived * jnp.exp(chip.anchor.resident_energy)


def shoreline_share(built: Silicon, *, sharpness: Sharpness = None) -> Fraction:
    """Rows of stacks over the long edges, or all over the perimeter, if that is more.

    Source: docs/theory/area.md.
    """
    return smooth_max(
        built.stack_edge_used / built.stack_edge_available,
        built.edge_used / built.edge_available,
        sharpness=sharpness,
    )


def power_density_limit(chip: Chip, technology: Technology) -> WattsPerSquareMeter:
    """TDP per area that the package can cool, less where heat crosses a memory.

    p = p_max k,  k the cooling factor of the kind of memory.
    """
    return technology.fab.max_power_density * chip.dram.cooling_factor


def die_yield(
    chip: Chip, technology: Technology, *, die_area: SquareMeters
) -> Fraction:
    """Share of good dies, Y = (1 + A (1 - r) D_0 / a)^-a.

    Assumes: defects in the repairable share r of the area are harvested.
    Source: negative binomial, Stapper 1983; a and r in configs/technology/fab.yaml.
    """
    fab = technology.fab
    defects = (
        at_node(technology.nodes, technology.nodes.defect_density, node=chip.node)
        * die_area
        * (1 - fab.repairable_fraction)
    )
    return (1 + defects / fab.yield_clustering) ** -fab.yield_clustering


def chip_price(
    chip: Chip, technology: Technology, *, area: SquareMeters, yielded: Fraction
) -> Usd:
    """Selling price: dies, memory, package, test and power delivery over margin.

    price = (N_die c_wafer / (n_gross Y) / Y_asm + $_dram C + $_int A_int
             + $_test + $_W TDP) / (1 - margin) + x $_design / volume

    Source: docs/theory/money.md; bills of material of H100, B200, MI300X.
    """
    fab = technology.fab
    die_area = area / chip.dies
    usable = fab.wafer_diameter - 2 * fab.edge_exclusion
    pitch = (jnp.sqrt(die_area) + fab.scribe_lane) ** 2
    gross = jnp.pi * usable**2 / (4 * pitch) - jnp.pi * usable / jnp.sqrt(2 * pitch)
    wafer = at_node(technology.nodes, technology.nodes.wafer_price, node=chip.node)
    whole = smooth_max(jnp.maximum(gross, 0.0), 1.0, sharpness=DIE_SHARPNESS)
    dies = chip.dies * wafer / (whole * yielded)
    memory = stack_price(chip, technology) * chip.dram.stacks * chip.dram.stack_capacity
    interposer = saturate(chip.dram.stacks) * (
        area * fab.interposer_area_factor
        + chip.dram.stacks * fab.interposer_area_per_stack
    )
    parts = (
        (dies + fab.interposer_price * interposer) / fab.assembly_yield
        + memory
        + fab.test_price
        + fab.power_delivery_price * chip.tdp
    )
    program, nodes = chip.program, technology.nodes
    design = at_node(nodes, nodes.design_price, node=chip.node)
    own = program.design_fraction * design / program.volume
    return parts / (1 - chip.style.gross_margin) + own


def model_price(chip: Chip, technology: Technology) -> Usd:
    """What a new model costs per chip: its share of a mask set over the chips.

    price = x_mask $_masks(node) / N_model

    Assumes: lots of any size cost the same per wafer.
    Source: docs/theory/money.md; mask sets in configs/technology/nodes.yaml.
    """
    program, nodes = chip.program, technology.nodes
    masks = at_node(nodes, nodes.mask_price, node=chip.node)
    return program.mask_fraction * masks / program.model_volume


def chip_carbon(
    chip: Chip, technology: Technology, *, area: SquareMeters, yielded: Fraction
) -> KgCo2e:
    """Embodied carbon of one package: wafer area, memory, packaging.

    Source: ACT (Gupta et al., ISCA 2022) constants, docs/theory/carbon.md.
    """
    fab_carbon = at_node(technology.nodes, technology.nodes.fab_carbon, node=chip.node)
    memory = chip.dram.stacks * chip.dram.stack_capacity
    return (
        fab_carbon * area / yielded
        + technology.datacenter.dram_carbon * memory
        + technology.fab.package_carbon
    )
