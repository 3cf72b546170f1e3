"""What would we build? The parameters of a chip and of the system around it.

A chip is what a designer chooses (``compute``, ``sram``, ``store``, ``dram``,
``link``, ``program``, ``node``, ``voltage``, ``tdp``) plus two sets of constants:
its ``style`` of architecture and, for a chip that exists, the ``anchor`` of
log-residuals between what the equations derive and what was published or measured.
"""

import math

from codesign.core.quantities import (
    Bits,
    Bytes,
    BytesPerMac,
    BytesPerSecond,
    Count,
    Factor,
    FlopPerSecond,
    Fraction,
    JoulesPerByte,
    JoulesPerMac,
    Macs,
    MacsPerByte,
    Meters,
    PerSecond,
    Seconds,
    SquareMeters,
    SquareMetersPerByte,
    SquareMetersPerMac,
    Usd,
    UsdPerByte,
    Volts,
    Watts,
    WattsPerByte,
    WattsPerSquareMeter,
)
from codesign.core.record import Record


class Style(Record):
    """Constants of a style of architecture (GPU, systolic, static, many-core).

    Clock and static power hold at ``reference_voltage``, static power also at
    ``reference_node``.

    ``delivery_energy`` is what one bit of operand costs on its way into a
    multiply-accumulate at N7; ``path_energy`` what one byte costs between the
    DRAM pins and the operand latch. ``interface_area`` is what each die spends on
    its host interface or on links to the other dies of its package.
    """

    reference_clock: PerSecond
    reference_node: Meters
    reference_voltage: Volts
    min_voltage: Volts
    threshold_voltage: Volts
    max_voltage: Volts
    delivery_energy: JoulesPerMac
    path_energy: JoulesPerByte
    local_path_energy: JoulesPerByte
    static_power_density: WattsPerSquareMeter
    active_power_density: WattsPerSquareMeter
    area_efficiency: Fraction
    interface_area: SquareMeters
    idle_lane_fraction: Fraction
    tile_rows: Count
    tile_cols: Count
    tile_inner: Count
    vector_fraction: Fraction
    managed_fraction: Fraction
    gross_margin: Fraction


class Compute(Record):
    """Multiply-accumulate array; ``macs`` counts 16-bit units of the package.

    ``rate_8bit`` and ``rate_4bit`` are peak rates relative to 16 bit; a format
    without hardware support repeats the rate of the next wider one.
    ``sparse_rate`` is the rate on weights of the pattern 2:4 over that on dense ones,
    1 without hardware for it.
    ``spare_factor`` is what the die carries over what is enabled, of units with
    their SRAM (144 over 132 multiprocessors on an H100).
    """

    macs: Macs
    rate_8bit: Factor
    rate_4bit: Factor
    num_extra_formats: Count
    spare_factor: Factor
    sparse_rate: Factor = 1.0


class Sram(Record):
    """On-chip memory: its size, the share in fast banks, and its partition.

    The shares for tiles, activations, resident weights and resident KV lie on
    a simplex: no byte is used twice.
    """

    capacity: Bytes
    fast_fraction: Fraction
    bandwidth: BytesPerSecond
    tile_fraction: Fraction
    weight_fraction: Fraction
    kv_fraction: Fraction


class Arrays(Record):
    """Arrays of cells that multiply where the weights stand, and their converters.

    Inputs enter through DACs, bit slices of ``input_bits`` one after another; the sum
    over the ``rows`` of a column is digitised by an ADC of ``adc_bits`` that
    ``cols_per_adc`` columns share in turn. A byte of weights takes ``cells_per_byte``
    cells of 8 / cells_per_byte bits. Converters are those of ``reference_node``; their
    energy and area grow with node ** node_exponent. One conversion takes adc_energy +
    adc_level_energy 2**adc_bits, driving one cell takes dac_energy. A sum of n
    products needs ``sum_fraction`` log2(n) bits beyond those of a single product.
    """

    cells_per_byte: MacsPerByte
    rows: Count
    cols_per_adc: Count
    input_bits: Bits
    adc_bits: Bits
    sum_fraction: Fraction
    conversion_time: Seconds
    cell_energy: JoulesPerMac
    adc_energy: JoulesPerMac
    adc_level_energy: JoulesPerMac
    dac_energy: JoulesPerMac
    adc_area: SquareMetersPerMac
    dac_area: SquareMetersPerMac
    reference_node: Meters
    node_exponent: Factor


class Store(Record):
    """Cells on the die that keep weights and nothing else; capacity 0 where none.

    ``in_place_fraction`` is 1 where products form in the cells (``arrays``) and 0
    where cells are read like a memory. What is written is written anew every
    ``rewrite_time``; ``fixed_fraction`` is 1 where it can never be, so that the chip
    ends with its model. ``cell_area`` is at N7.
    """

    capacity: Bytes
    cell_area: SquareMetersPerByte
    read_energy: JoulesPerByte
    write_energy: JoulesPerByte
    rewrite_time: Seconds
    fixed_fraction: Fraction
    in_place_fraction: Fraction
    arrays: Arrays


class Dram(Record):
    """Off-chip memory: stacks (or channels) of one generation.

    ``stack_capacity`` is the height of a stack and ``stack_bandwidth`` the rate its
    pins are built for; ``bandwidth`` is what is run. ``generation`` is that of HBM, 3.5
    for HBM3e, and 0 for other memory. Stacks stand in rows along the long edges of the
    dies; a row is ``overhang`` longer than the edge where its interfaces are not.
    ``footprint`` is what a stack covers of the die below it, 0 beside the die;
    ``cooling_factor`` is the power density that a die may have with this memory
    over that of a die under its own cooler.
    """

    stacks: Count
    stack_capacity: Bytes
    stack_bandwidth: BytesPerSecond
    generation: Count
    bandwidth: BytesPerSecond
    device_energy: JoulesPerByte
    standby_power: WattsPerByte
    price: UsdPerByte
    phy_area: SquareMeters
    edge: Meters
    overhang: Meters
    footprint: SquareMeters
    cooling_factor: Factor


class Link(Record):
    """Chip-to-chip links; ``bandwidth`` is per direction and chip."""

    bandwidth: BytesPerSecond
    energy: JoulesPerByte
    hop_latency: Seconds


class Program(Record):
    """Who pays for the design, and what a new model costs.

    The owner pays ``design_fraction`` of the design cost of the node beside the
    price, over ``volume`` chips; 0 where the vendor's margin covers it. A model
    takes ``mask_fraction`` of a mask set, over the ``model_volume`` chips that run
    it; 0 where weights are written.
    """

    design_fraction: Fraction
    volume: Count
    mask_fraction: Fraction
    model_volume: Count


class Anchor(Record):
    """Log-residuals, published or measured over derived; zero for a new chip.

    ``metric = exp(residual) * derived``, so a candidate with the parameters
    of the given chip is that chip exactly. ``mac_energy`` holds in every format,
    ``mac_energy_8bit`` on top of it in 8 bits and fewer.
    """

    area: Factor
    static_power: Factor
    mac_energy: Factor
    mac_energy_8bit: Factor
    bank_energy: Factor
    resident_energy: Factor
    sram_bandwidth: Factor
    price: Factor
    shoreline: Factor
    power_density: Factor


class Given(Record):
    """Parameters of the chip from which a design descends, at which others hold.

    The style's clock holds at its ``node``, the style's tile edge with its
    ``tile_store``, energy and price of the kind of memory for its stack.
    """

    node: Meters
    tile_store: BytesPerMac
    generation: Count
    stack_capacity: Bytes
    stack_bandwidth: BytesPerSecond


class Published(Record):
    """What is known of a given chip beside its parameters; NaN where unknown.

    ``sustained_compute`` is the 16-bit GEMM rate measured at the power limit,
    ``static_power`` the power of an idle but running chip at full voltage. Energies
    are those of single kernels at full voltage: of a dense multiply-accumulate with
    the delivery of its operands, of a byte from the memory beside the arrays
    (``bank_energy``), and of one from a cache or a resident bank to the operand latch
    (``resident_energy``). A measured ``mac_energy_16bit`` goes before the energy
    that follows from ``sustained_compute``.
    """

    area: SquareMeters
    static_power: Watts
    sustained_compute: FlopPerSecond
    sram_bandwidth: BytesPerSecond
    price: Usd
    mac_energy_16bit: JoulesPerMac = math.nan
    mac_energy_8bit: JoulesPerMac = math.nan
    bank_energy: JoulesPerByte = math.nan
    resident_energy: JoulesPerByte = math.nan


class Chip(Record):
    """One package: the unit that has a TDP, a price and a memory of its own."""

    node: Meters
    voltage: Volts
    tdp: Watts
    dies: Count
    compute: Compute
    sram: Sram
    store: Store
    dram: Dram
    link: Link
    program: Program
    style: Style
    given: Given
    anchor: Anchor


class System(Record):
    """How many chips serve together and how they are wired.

    ``domain_size`` chips share the fast links; beyond it messages cross
    ``outer_bandwidth``. ``hops`` is the diameter a message crosses on average.
    """

    num_chips: Count
    domain_size: Count
    outer_bandwidth: BytesPerSecond
    outer_latency: Seconds
    hops: Count
