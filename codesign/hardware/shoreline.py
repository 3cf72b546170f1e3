"""Do stacks of memory and links fit beside the dies?

Chip, technology -> edge that they take, and edge that the dies have.
"""

import jax.numpy as jnp

from codesign.core.quantities import Meters, SquareMeters
from codesign.hardware.chip import Chip
from codesign.technology.constants import Technology


def stack_edge(chip: Chip) -> Meters:
    """Length of the rows of stacks along the dies, w stacks."""
    return chip.dram.stacks * chip.dram.edge


def stack_edge_available(
    chip: Chip, technology: Technology, *, die_area: SquareMeters
) -> Meters:
    """Length of the rows that stand along the two long edges of each die.

    l = 2 dies (sqrt(A r) + w_over)

    Only the interface of a stack must face the die: a row may stand over both ends
    of its edge, by w_over in all, what a stack is wider than its interface.

    Assumes: dies of the aspect r of the exposure field.
    Source: six sites on A100, H100 and H200 take 66 mm, two edges of their dies 64.
    """
    long = jnp.sqrt(die_area * technology.fab.reticle_aspect)
    return 2 * chip.dies * (long + chip.dram.overhang)


def edge_used(chip: Chip, technology: Technology) -> Meters:
    """Die edge taken by DRAM stacks and links."""
    return stack_edge(chip) + chip.link.bandwidth * technology.link.edge


def edge_available(
    chip: Chip, technology: Technology, *, die_area: SquareMeters
) -> Meters:
    """Perimeter of the dies with the ends of the rows of stacks.

    l = 2 dies (sqrt(A r) + sqrt(A / r) + w_over)

    Source: NVLink and PCIe of A100 and H100 stand on the short edges of their dies,
    HBM on the long ones (die photographs, recalled).
    """
    aspect = technology.fab.reticle_aspect
    short = jnp.sqrt(die_area / aspect)
    rows = stack_edge_available(chip, technology, die_area=die_area)
    return rows + 2 * chip.dies * short
