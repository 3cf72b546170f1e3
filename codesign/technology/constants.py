"""What do physics and the fab offer? Constants of nature, fab and data centre.

Values come from ``configs/technology/`` with unit, source and spread; every
leaf may carry a lane axis, so draws and sweeps of technology never recompile.
"""

from codesign.core.quantities import (
    Bytes,
    BytesPerMac,
    BytesPerSecond,
    Count,
    Factor,
    Fraction,
    JoulesPerByte,
    JoulesPerByteMeter,
    JoulesPerByteRootByte,
    JoulesPerFlop,
    JoulesPerMac,
    KgCo2e,
    KgCo2ePerByte,
    KgCo2ePerJoule,
    KgCo2ePerSquareMeter,
    Meters,
    MeterSecondsPerByte,
    PerSecond,
    PerSquareMeter,
    Seconds,
    SquareMeters,
    SquareMeterSecondsPerByte,
    SquareMetersPerByte,
    SquareMetersPerMac,
    Usd,
    UsdPerJoule,
    UsdPerSquareMeter,
    UsdPerWatt,
    Volts,
    Watts,
    WattsPerByte,
    WattsPerSquareMeter,
)
from codesign.core.record import Record


class NodeTable(Record):
    """Process nodes, ascending; each column has one entry per node.

    ``mask_price`` is a full set of masks, ``design_price`` a large chip from the
    first line to the first tape-out, masks included.
    """

    node: Meters
    logic_area_factor: Factor
    sram_area_factor: Factor
    dynamic_energy_factor: Factor
    wafer_price: Usd
    mask_price: Usd
    design_price: Usd
    defect_density: PerSquareMeter
    fab_carbon: KgCo2ePerSquareMeter


class Arithmetic(Record):
    """Multiply-accumulate at N7 and the calibration voltage, without delivery.

    ``kernel_efficiency`` is the share of the clock-limited peak that a large
    16-bit GEMM reaches when power does not limit it. Static power per area grows
    with 1 / node to the power of ``static_node_exponent``, the clock of one design
    with that of ``clock_node_exponent``. ``register_capacity`` is what a MAC holds of
    operands and sums without any SRAM.
    """

    energy_32bit: JoulesPerMac
    energy_16bit: JoulesPerMac
    energy_8bit: JoulesPerMac
    energy_4bit: JoulesPerMac
    area_16bit: SquareMetersPerMac
    extra_format_area_fraction: Fraction
    sparse_area_fraction: Fraction
    calibration_voltage: Volts
    kernel_efficiency: Fraction
    static_node_exponent: Factor
    clock_node_exponent: Factor
    register_capacity: BytesPerMac


class SramTechnology(Record):
    """On-chip memory at N7; bandwidths are bytes per clock and byte of capacity.

    ``tile_energy`` is what one bit costs that a MAC reads from the store of its tile.
    """

    bulk_area: SquareMetersPerByte
    fast_area: SquareMetersPerByte
    bank_energy: JoulesPerByte
    bank_energy_root: JoulesPerByteRootByte
    num_banks: Count
    leakage: WattsPerByte
    bandwidth_fraction: Fraction
    fast_bandwidth_fraction: Fraction
    wire_energy: JoulesPerByteMeter
    tile_energy: JoulesPerMac


class LinkTechnology(Record):
    """Chip-to-chip serial links."""

    area: SquareMeterSecondsPerByte
    edge: MeterSecondsPerByte
    standby_energy: JoulesPerByte
    standby_fraction: Fraction


class HbmTable(Record):
    """Generations of stacked DRAM, ascending; each column has one entry for each.

    ``stack_bandwidth`` is as run in products, ``max_bandwidth`` the fastest of them
    or the standard's; ``price_factor`` compares prices of one date.
    """

    generation: Count
    layer_capacity: Bytes
    stack_bandwidth: BytesPerSecond
    max_bandwidth: BytesPerSecond
    energy_factor: Factor
    price_factor: Factor


class DramTechnology(Record):
    """What a stack costs beyond the one that a kind of memory describes.

    ``io_fraction`` is the share of the energy of a bit that grows with the rate of a
    pin; price per byte grows with the height and the rate of a stack to the power of
    their exponents.
    """

    io_fraction: Fraction
    height_exponent: Factor
    speed_exponent: Factor
    max_layers: Count


class Fab(Record):
    """Wafers, yield and package."""

    reticle_area: SquareMeters
    reticle_aspect: Factor
    wafer_diameter: Meters
    edge_exclusion: Meters
    scribe_lane: Meters
    yield_clustering: Count
    repairable_fraction: Fraction
    interposer_price: UsdPerSquareMeter
    interposer_area_per_stack: SquareMeters
    interposer_area_factor: Factor
    assembly_yield: Fraction
    test_price: Usd
    power_delivery_price: UsdPerWatt
    package_carbon: KgCo2e
    max_power_density: WattsPerSquareMeter


class Datacenter(Record):
    """Server, facility and money around the chips.

    ``training_energy`` is what the fleet that trains models draws at its plugs
    per useful operation.
    """

    server_price_factor: Factor
    network_price_fraction: Fraction
    lifetime: Seconds
    model_lifetime: Seconds
    interest_rate: PerSecond
    electricity_price: UsdPerJoule
    power_usage_effectiveness: Factor
    facility_price: UsdPerWatt
    facility_lifetime: Seconds
    host_power: Watts
    conversion_efficiency: Fraction
    fan_fraction: Fraction
    grid_carbon: KgCo2ePerJoule
    dram_carbon: KgCo2ePerByte
    utilization: Fraction
    training_energy: JoulesPerFlop


class Technology(Record):
    """Everything a design cannot choose but only be built in."""

    nodes: NodeTable
    arithmetic: Arithmetic
    sram: SramTechnology
    link: LinkTechnology
    hbm: HbmTable
    dram: DramTechnology
    fab: Fab
    datacenter: Datacenter
