"""What do taller stacks, faster pins and a later generation of memory cost?

Chip, technology -> energy and price of a byte, and how far a stack is from what can
be built. A stack like that of the given chip has exactly its energy and price.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import JoulesPerByte, Ratio, Scalar, UsdPerByte
from codesign.hardware.chip import Chip
from codesign.technology.constants import HbmTable, Technology
from codesign.technology.node import at_row

SELECTION = 4  # how sharply the price turns where stacks run faster than usual


def stack_energy(chip: Chip, technology: Technology) -> JoulesPerByte:
    """Energy of one byte from the cells of a stack to the die.

    e = e_device e(g) / e(g_0) (1 + x_io (s - 1)),  s = B / B_0 b(g_0) / b(g)

    with the bandwidth B of a stack and b(g) what products of a generation run at: the
    drivers, receivers and clocks of a pin take more per bit the faster it is.

    Assumes: linear in the rate; bits cost the same in a stack of any height.
    Source: docs/theory/memory.md; configs/technology/dram.yaml.
    """
    table, dram = technology.hbm, technology.dram
    change = _later(chip, table=table, column=table.energy_factor)
    faster = _speed(chip, technology) - 1
    return chip.dram.device_energy * change * (1 + dram.io_fraction * faster)


def stack_price(chip: Chip, technology: Technology) -> UsdPerByte:
    """Price per byte of a stack of this height, speed and generation.

    p = p_kind p(g) / p(g_0) h^x_h ((1 + s^4) / 2)^(x_s / 4),
    h = C / C_0 c(g_0) / c(g)

    with c(g) the capacity of a layer, so that h compares numbers of layers: every
    bond of a stack can fail. Fast parts are selected; slow ones are hardly cheaper.

    Source: docs/theory/memory.md; configs/technology/dram.yaml.
    """
    table, dram = technology.hbm, technology.dram
    change = _later(chip, table=table, column=table.price_factor)
    taller = _over(chip.dram.stack_capacity, chip.given.stack_capacity)
    taller = taller / _later(chip, table=table, column=table.layer_capacity)
    faster = _speed(chip, technology)
    height = taller**dram.height_exponent
    selected = ((1 + faster**SELECTION) / 2) ** (dram.speed_exponent / SELECTION)
    return chip.dram.price * change * height * selected


def height_ratio(chip: Chip, technology: Technology) -> Ratio:
    """Layers of a stack over the most that can be bonded, or over the given ones.

    h = C / max(L_max c(g), C_0 c(g) / c(g_0))

    Assumes: a memory that is no HBM is built as tall as given.
    """
    table = technology.hbm
    later = _later(chip, table=table, column=table.layer_capacity)
    layer = at_row(table.generation, table.layer_capacity, place=_place(chip, table))
    most = jnp.where(_is_hbm(chip, table), technology.dram.max_layers * layer, 0.0)
    allowed = jnp.maximum(most, chip.given.stack_capacity * later)
    return _over(chip.dram.stack_capacity, allowed)


def speed_ratio(chip: Chip, technology: Technology) -> Ratio:
    """Bandwidth of a stack over the fastest of its generation, or over the given."""
    table = technology.hbm
    later = _later(chip, table=table, column=table.stack_bandwidth)
    most = at_row(table.generation, table.max_bandwidth, place=_place(chip, table))
    most = jnp.where(_is_hbm(chip, table), most, 0.0)
    allowed = jnp.maximum(most, chip.given.stack_bandwidth * later)
    return _over(chip.dram.stack_bandwidth, allowed)


def _speed(chip: Chip, technology: Technology) -> Array:
    table = technology.hbm
    rate = _over(chip.dram.stack_bandwidth, chip.given.stack_bandwidth)
    return rate / _later(chip, table=table, column=table.stack_bandwidth)


def _later(chip: Chip, *, table: HbmTable, column: Scalar) -> Array:
    """A column at the generation over its value at the given one; 1 without HBM."""
    place = _place(chip, table)
    given = jnp.maximum(chip.given.generation, _first(table))
    ratio = at_row(table.generation, column, place=place) / at_row(
        table.generation, column, place=given
    )
    return jnp.where(_is_hbm(chip, table), ratio, 1.0)


def _place(chip: Chip, table: HbmTable) -> Array:
    return jnp.maximum(chip.dram.generation, _first(table))


def _is_hbm(chip: Chip, table: HbmTable) -> Array:
    return chip.given.generation >= _first(table)


def _first(table: HbmTable) -> Array:
    return jnp.asarray(table.generation)[0]


def _over(value: Scalar, given: Scalar) -> Array:
    """A ratio to the given stack; 1 where there is none."""
    known = jnp.asarray(given) > 0
    return jnp.where(known, value / jnp.where(known, given, 1.0), 1.0)
