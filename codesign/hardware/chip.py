"""What would we build? The parameters of a chip and of the system around it.

A chip is what a designer chooses (``compute``, ``sram``, ``dram``, ``link``,
``node``, ``voltage``, ``tdp``) plus two sets of constants: its ``style`` of
architecture and, for a chip that exists, the ``anchor`` of log-residuals
between what the equations derive and what was published or measured.
"""

from codesign.core.quantities import (
    Bytes,
    BytesPerSecond,
    Count,
    Factor,
    FlopPerSecond,
    Fraction,
    JoulesPerByte,
    JoulesPerMac,
    Macs,
    Meters,
    PerSecond,
    Seconds,
    SquareMeters,
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


class Dram(Record):
    """Off-chip memory: stacks (or channels) of one generation."""

    stacks: Count
    stack_capacity: Bytes
    stack_bandwidth: BytesPerSecond
    bandwidth: BytesPerSecond
    device_energy: JoulesPerByte
    standby_power: WattsPerByte
    price: UsdPerByte
    phy_area: SquareMeters
    edge: Meters


class Link(Record):
    """Chip-to-chip links; ``bandwidth`` is per direction and chip."""

    bandwidth: BytesPerSecond
    energy: JoulesPerByte
    hop_latency: Seconds


class Anchor(Record):
    """Log-residuals, published or measured over derived; zero for a new chip.

    ``metric = exp(residual) * derived``, so a candidate with the parameters
    of the given chip is that chip exactly.
    """

    area: Factor
    static_power: Factor
    mac_energy: Factor
    sram_bandwidth: Factor
    price: Factor
    shoreline: Factor
    power_density: Factor


class Published(Record):
    """What is known of a given chip beside its parameters; NaN where unknown.

    ``sustained_compute`` is the 16-bit GEMM rate measured at the power limit,
    ``static_power`` the power of an idle but running chip at full voltage.
    """

    area: SquareMeters
    static_power: Watts
    sustained_compute: FlopPerSecond
    sram_bandwidth: BytesPerSecond
    price: Usd


class Chip(Record):
    """One package: the unit that has a TDP, a price and a memory of its own."""

    node: Meters
    voltage: Volts
    tdp: Watts
    dies: Count
    compute: Compute
    sram: Sram
    dram: Dram
    link: Link
    style: Style
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
