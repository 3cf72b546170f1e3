"""How often is an operand used once it stands beside its array?

Chip, technology -> edge of the tile that the operand store beside the arrays holds,
and what that saves of the energy of delivery.
"""

import jax.numpy as jnp

from codesign.core.quantities import BytesPerMac, Count, JoulesPerMac
from codesign.hardware.chip import Chip
from codesign.technology.constants import Technology


def tile_store(chip: Chip) -> BytesPerMac:
    """Fast SRAM of the tile partition per MAC, s = phi_fast phi_tile S / macs."""
    sram = chip.sram
    return sram.fast_fraction * sram.tile_fraction * sram.capacity / chip.compute.macs


def tile_edge(chip: Chip, technology: Technology) -> Count:
    """Edge T of the tile of results whose operands are fetched once.

    T = T_style sqrt((r + s) / (r + s_given))

    with the registers r of a MAC: a tile of T x T results takes T^2 sums, so its edge
    grows with the root of what holds them. A MAC fetches 2 / T operands from SRAM.

    Assumes: the style's edge holds for the store of the given chip; tiles are square;
    the edge to which matrices are padded is that of the instruction and stays.
    Source: Hong and Kung, STOC 1981, for the root; docs/theory/memory.md.

    Example:
        Four times the fast SRAM for the same arrays, registers aside: twice the edge.
    """
    registers = technology.arithmetic.register_capacity
    held = registers + tile_store(chip)
    given = registers + chip.given.tile_store
    return chip.style.tile_cols * jnp.sqrt(held / given)


def delivery_energy(chip: Chip, technology: Technology) -> JoulesPerMac:
    """Energy of one bit of operand on its way into a MAC at N7.

    k = k_style + 2 e_tile (1 / T - 1 / T_style) exp(r)

    with r the residual of the chip's bank energy, of which e_tile is a part.

    The wire of a larger store is longer as its edge, and crossed once per T uses: that
    part of the energy does not depend on T and is in k_style.

    Source: docs/theory/energy.md.
    """
    style = chip.style
    saved = 1 / tile_edge(chip, technology) - 1 / style.tile_cols
    store = technology.sram.tile_energy * jnp.exp(chip.anchor.bank_energy)
    return style.delivery_energy + 2 * store * saved
