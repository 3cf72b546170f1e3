"""What does a number format cost on this chip? Rate, time and energy of each row.

Formats of the rows, chip and stack -> factors that do not depend on the clock.
"""

import jax.numpy as jnp

from codesign.core.quantities import Bits, Count, Factor, JoulesPerMac
from codesign.core.record import Record
from codesign.core.smooth import Sharpness
from codesign.hardware.chip import Anchor, Compute
from codesign.hardware.silicon import Silicon
from codesign.hardware.store import num_slices
from codesign.model.formats import (
    class_of_four_bits,
    element_bits,
    interpolate_by_bits,
    is_block_scaled,
    pattern_share,
    supported_bits,
)
from codesign.operators.phases import KINDS
from codesign.operators.table import OperatorTable, kind_column
from codesign.serving.design import Design
from codesign.serving.stack import Stack


class RowFormats(Record):
    """Per row: peak rate over the 16-bit one, kernel time factor, joules per MAC.

    ``slices`` are the products of cells that one MAC takes in arrays that multiply.
    """

    rate: Factor
    time_factor: Factor
    mac_energy: JoulesPerMac
    slices: Count


def row_formats(
    design: Design, table: OperatorTable, *, built: Silicon, sharpness: Sharpness
) -> RowFormats:
    """Factors of the formats that the hardware runs each row in.

    Assumes: a chip without 4-bit hardware runs 4-bit products at the 8-bit
    energy, and one without 8-bit hardware those at the 16-bit energy. Only weights
    in the pattern 2:4 run at the sparse rate, and only where hardware has one.
    Source: docs/theory/energy.md.
    """
    compute = design.chip.compute
    bits = supported_bits(table.math_bits, sharpness=sharpness)
    return RowFormats(
        rate=interpolate_by_bits(
            bits, at_4=compute.rate_4bit, at_8=compute.rate_8bit, at_16=1.0
        )
        * (1.0 + (compute.sparse_rate - 1.0) * pattern_share(table.density)),
        time_factor=_time_factor(
            design.stack, table, scale_bits=design.model.scale_bits
        ),
        mac_energy=_mac_energy(built, compute, table=table, bits=bits)
        * _measured_share(design.chip.anchor, bits=bits),
        slices=num_slices(
            design.chip.store.arrays,
            weight=table.stored_bits,
            activation=table.activation_bits,
        ),
    )


def _mac_energy(
    built: Silicon, compute: Compute, *, table: OperatorTable, bits: Factor
) -> JoulesPerMac:
    """Energy per dense MAC at full voltage, delivery of both operands included.

    Hardware with a rate for sparse weights multiplies only what is kept; all
    inputs are delivered, from which it selects.
    """
    four = jnp.where(
        compute.rate_4bit > compute.rate_8bit,
        built.mac_energy_4bit,
        built.mac_energy_8bit,
    )
    eight = jnp.where(
        compute.rate_8bit > 1.0, built.mac_energy_8bit, built.mac_energy_16bit
    )
    alu = interpolate_by_bits(bits, at_4=four, at_8=eight, at_16=built.mac_energy_16bit)
    stored = jnp.where(table.density < 1.0, table.stored_factor, 1.0)
    operands = jnp.minimum(table.stored_bits, 16.0) * stored + table.activation_bits
    done = 1.0 / (1.0 + (compute.sparse_rate - 1.0) * pattern_share(table.density))
    return alu * done + built.delivery_energy * operands / 2


def _measured_share(anchor: Anchor, *, bits: Factor) -> Factor:
    """Measured over derived energy per MAC of a format, beyond that of 16 bits."""
    narrow = jnp.exp(anchor.mac_energy_8bit)
    return interpolate_by_bits(bits, at_4=narrow, at_8=narrow, at_16=1.0)


def _time_factor(stack: Stack, table: OperatorTable, *, scale_bits: Bits) -> Factor:
    """Kernel time over the roofline's: weights by their format, experts, caches."""
    weights = kind_column(KINDS, "weight")
    low = interpolate_by_bits(
        element_bits(table.stored_bits, scale_bits=scale_bits),
        at_4=class_of_four_bits(
            scale_bits,
            integer=stack.time_factor_int4,
            mx=stack.time_factor_4bit,
            nv=stack.time_factor_nvfp4,
        ),
        at_8=jnp.where(
            is_block_scaled(scale_bits),
            stack.time_factor_8bit_block,
            stack.time_factor_8bit,
        ),
        at_16=stack.time_factor_16bit,
    )
    caches = kind_column(KINDS, "cache")
    low = low * (1 + kind_column(KINDS, "expert") * (stack.expert_factor - 1))
    prompts = 1 + kind_column(KINDS, "prompt") * (stack.prompt_attention_factor - 1)
    attended = caches * stack.attention_factor * prompts
    return weights * low + attended + (1 - weights - caches)
