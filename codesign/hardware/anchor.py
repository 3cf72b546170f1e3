"""How far is what we derive from what was published about a given chip?

Chip, published figures -> the same chip with an ``Anchor`` of log-residuals.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.compiler import jitted
from codesign.core.quantities import JoulesPerMac, Scalar
from codesign.core.solve import rising_root
from codesign.hardware.chip import Anchor, Chip, Published
from codesign.hardware.silicon import (
    Silicon,
    power_density_limit,
    shoreline_share,
    silicon,
    sram_bandwidth_limit,
)
from codesign.hardware.voltage import operating_point
from codesign.technology.constants import Technology

GEMM_SIZE = 8192.0  # edge of the square GEMM behind sustained-rate measurements


def zero_anchor() -> Anchor:
    """The anchor of a chip that does not exist yet: no residuals."""
    return Anchor(
        area=jnp.zeros(()),
        static_power=jnp.zeros(()),
        mac_energy=jnp.zeros(()),
        mac_energy_8bit=jnp.zeros(()),
        bank_energy=jnp.zeros(()),
        resident_energy=jnp.zeros(()),
        sram_bandwidth=jnp.zeros(()),
        price=jnp.zeros(()),
        shoreline=jnp.zeros(()),
        power_density=jnp.zeros(()),
    )


@jitted(level=0)
def anchor_chip(chip: Chip, published: Published, *, technology: Technology) -> Chip:
    """The chip with residuals such that its metrics equal the published ones.

    r = ln(published / derived), 0 where nothing is published. Limits that the
    existing chip exceeds (shoreline, power density, SRAM bandwidth) are widened
    to what it needs.
    """
    chip = chip.replace(anchor=zero_anchor())
    derived = silicon(chip, technology)
    anchor = chip.anchor.replace(area=_residual(published.area, derived.area))
    chip = chip.replace(anchor=anchor)
    sized = silicon(chip, technology)
    limit = sram_bandwidth_limit(chip, technology, clock=sized.clock)
    bank = _residual(published.bank_energy, sized.bank_energy)
    resident = sized.resident_energy + jnp.expm1(bank) * sized.bank_energy
    anchor = anchor.replace(
        bank_energy=bank,
        resident_energy=_residual(published.resident_energy, resident),
        static_power=_residual(
            published.static_power - sized.memory_power, sized.static_power
        ),
        sram_bandwidth=jnp.maximum(0.0, _residual(chip.sram.bandwidth, limit)),
        shoreline=jnp.maximum(0.0, jnp.log(shoreline_share(sized))),
        power_density=jnp.maximum(
            0.0, jnp.log(chip.tdp / sized.area / power_density_limit(chip, technology))
        ),
        price=_residual(published.price, sized.price),
    )
    chip = chip.replace(anchor=anchor)
    sustained = _sustained_mac_energy(chip, published, technology=technology)
    measured = published.mac_energy_16bit
    wide = _residual(
        jnp.where(jnp.isfinite(measured), measured, sustained),
        dense_mac_energy(sized, bits=16),
    )
    narrow = dense_mac_energy(sized, bits=8) * jnp.exp(wide)
    return chip.replace(
        anchor=anchor.replace(
            mac_energy=wide,
            mac_energy_8bit=_residual(published.mac_energy_8bit, narrow),
        )
    )


def _residual(published: Scalar, derived: Scalar) -> Array:
    known = jnp.isfinite(published) & (jnp.asarray(published) > 0)
    return jnp.where(known, jnp.log(jnp.where(known, published, 1.0) / derived), 0.0)


def _sustained_mac_energy(
    chip: Chip, published: Published, *, technology: Technology
) -> JoulesPerMac:
    """Energy per 16-bit MAC at the operating voltage from a power-limited GEMM.

    eta peak f(V) / f_op = sustained  fixes V;  then
    e = (TDP - P_static - P_active - P_dram) / (sustained / 2) / (V / V_op)^2
    """
    built = silicon(chip, technology)
    share = published.sustained_compute / (
        technology.arithmetic.kernel_efficiency * built.peak_compute
    )
    drive = rising_root(
        lambda v: operating_point(chip, v).clock_factor - jnp.minimum(share, 1.0),
        low=0.0 * chip.voltage,
        high=chip.voltage,
    )
    point = operating_point(chip, drive)
    traffic = 3.0 * published.sustained_compute / GEMM_SIZE
    available = (
        chip.tdp
        - built.static_power * point.static_factor
        - built.memory_power
        - built.active_power * point.dynamic_factor * point.clock_factor
        - traffic * byte_energy(built)
    )
    return available / (published.sustained_compute / 2) / point.dynamic_factor


def dense_mac_energy(built: Silicon, *, bits: int) -> JoulesPerMac:
    """Joules of a multiply-accumulate of two operands of 16 or 8 bits, delivered.

    e = e_alu(format) + k bits
    """
    alu = {8: built.mac_energy_8bit, 16: built.mac_energy_16bit}
    return alu[bits] + built.delivery_energy * bits


def byte_energy(built: Silicon) -> Scalar:
    """Joules for one byte from a DRAM cell to the operand latch."""
    return built.dram_energy + built.path_energy
