"""What do cells that keep weights cost, and products formed inside them?

Chip, technology -> energy of a product in place and of its converters, area of
cells and converters, bits that an exact converter needs.
"""

import jax.numpy as jnp

from codesign.core.quantities import (
    Bits,
    BytesPerSecond,
    Factor,
    JoulesPerByte,
    JoulesPerMac,
    PerSecond,
    Scalar,
    SquareMeters,
    Watts,
)
from codesign.hardware.chip import Arrays, Chip
from codesign.technology.constants import Technology
from codesign.technology.node import at_node

BITS_PER_BYTE = 8.0


def converter_factor(chip: Chip) -> Factor:
    """Energy and area of a converter at the chip's node, s = (n / n_ref)^x.

    Assumes: one exponent for both; converters shrink by matching and noise, not
    by the pitch of the node, hence its wide spread.
    Source: configs/technology/stores.yaml.
    """
    arrays = chip.store.arrays
    return (chip.node / arrays.reference_node) ** arrays.node_exponent


def converter_energy(chip: Chip) -> JoulesPerMac:
    """Joules of ADC and DAC per product of one cell and one input slice.

    e = s [(e_adc + e_level 2^b) / rows + e_dac]

    Assumes: converters run at their own supply, whatever the logic's voltage.
    Source: docs/theory/stores.md.

    Example:
        An ADC of 1.3 pJ that 256 rows share takes 5 fJ of each product.
    """
    arrays = chip.store.arrays
    adc = arrays.adc_energy + arrays.adc_level_energy * 2.0**arrays.adc_bits
    return converter_factor(chip) * (adc / arrays.rows + arrays.dac_energy)


def store_area(chip: Chip, technology: Technology) -> SquareMeters:
    """Area of cells and of their converters, before the fill of the style.

    A = S a_cell s_sram + S c s [a_adc / (rows cols_per_adc) + a_dac]

    with c cells per byte. ROM and analog cells shrink as SRAM cells do.
    Source: docs/theory/stores.md.
    """
    store, arrays = chip.store, chip.store.arrays
    shrink = at_node(
        technology.nodes, technology.nodes.sram_area_factor, node=chip.node
    )
    adc = arrays.adc_area / (arrays.rows * arrays.cols_per_adc)
    cells = store.in_place_fraction * store.capacity * arrays.cells_per_byte
    converters = cells * converter_factor(chip) * (adc + arrays.dac_area)
    return store.capacity * store.cell_area * shrink + converters


def store_bandwidth(
    chip: Chip, technology: Technology, *, clock: PerSecond
) -> BytesPerSecond:
    """Bandwidth of cells that are read: that of bulk SRAM of their size, S f b."""
    return technology.sram.bandwidth_fraction * chip.store.capacity * clock


def store_energy(
    chip: Chip, technology: Technology, *, area: SquareMeters
) -> JoulesPerByte:
    """Energy of one byte from a cell that is read to the operand latch.

    e = e_read + e_wire sqrt(A_die / banks) / 2 + e_local, as of a resident byte.
    """
    sram = technology.sram
    distance = jnp.sqrt(area / chip.dies / sram.num_banks) / 2
    local = chip.style.local_path_energy
    return chip.store.read_energy + sram.wire_energy * distance + local


def rewrite_power(chip: Chip) -> Watts:
    """Power of writing all cells anew, P = S e_write / T_rewrite."""
    store = chip.store
    return store.capacity * store.write_energy / store.rewrite_time


def num_slices(arrays: Arrays, *, weight: Bits, activation: Bits) -> Scalar:
    """Products of one cell and one input slice behind one multiply-accumulate.

    n = max(1, b_w c / 8) max(1, b_a / b_in)

    This is the price of precision: 8 by 8 bit takes four times the cells, inputs
    and conversions of 4 by 4 bit.

    Assumes: a width between two multiples packs without loss.

    Example:
        4-bit weights in 4-bit cells, 8-bit activations bit by bit: 8 conversions.
    """
    cells = jnp.maximum(1.0, weight * arrays.cells_per_byte / BITS_PER_BYTE)
    return cells * num_inputs(arrays, activation=activation)


def num_inputs(arrays: Arrays, *, activation: Bits) -> Scalar:
    """Input slices of one activation, one after another: max(1, b_a / b_in)."""
    return jnp.maximum(1.0, activation / arrays.input_bits)


def needed_adc_bits(arrays: Arrays) -> Bits:
    """Resolution at which a conversion loses nothing that the formats keep.

    b = f log2(rows) + b_cell + b_in,  b_cell = 8 / cells per byte

    f = 1/2: a sum of n products of random sign fills sqrt(n) of its range, and
    is clipped beyond; f = 1 is the worst case. With these bits the quality of a
    product in place is that of its formats.

    Assumes: cells hold their bits; noise and drift of devices are not modelled.
    """
    cell = BITS_PER_BYTE / arrays.cells_per_byte
    return arrays.sum_fraction * jnp.log2(arrays.rows) + cell + arrays.input_bits
