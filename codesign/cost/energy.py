"""Where do the joules of one step go?

Traffic of the rows, chip, operating point and duration -> joules by component.
"""

import jax.numpy as jnp

from codesign.core.quantities import Factor, Joules, Seconds
from codesign.core.record import Record
from codesign.cost.precision import RowFormats
from codesign.cost.roofline import OperatorTime, Traffic
from codesign.hardware.silicon import Silicon
from codesign.hardware.voltage import OperatingPoint
from codesign.serving.design import Design


class EnergyBill(Record):
    """Joules of one chip in one step, by component; they sum to the total."""

    compute: Joules
    converter: Joules
    vector: Joules
    sram: Joules
    dram: Joules
    path: Joules
    link: Joules
    active: Joules
    static: Joules


class RowEnergy(Record):
    """Dynamic joules of every row of one stage pass, by component."""

    compute: Joules
    converter: Joules
    vector: Joules
    sram: Joules
    dram: Joules
    path: Joules
    link: Joules


def row_energy(
    design: Design,
    traffic: Traffic,
    *,
    built: Silicon,
    formats: RowFormats,
    point: OperatingPoint,
) -> RowEnergy:
    """Dynamic energy of every row: one byte, one path.

    compute = k_c (1 - p) (macs + idle (padded - macs)) e_mac(format) (V / V_op)^2
              + p n macs e_cell;  converter = p n macs e_converter
    dram = k_t D e_device;  path = k_t D e_path (V / V_op)^2
    sram = (S e_resident + R e_store) (V / V_op)^2
    link = message bytes e_link;  vector = V / 2 e_mac(16 bit)

    with p the share of products that form in cells, n slices of each.

    Assumes: a vector FLOP costs as much as half a 16-bit MAC.
    Source: docs/theory/energy.md.
    """
    chip, done, swing = design.chip, traffic.work, point.dynamic_factor
    stack = design.stack
    moved = stack.traffic_energy_factor * traffic.dram_bytes
    idle = chip.style.idle_lane_fraction * (done.padded_macs - done.macs)
    placed = traffic.in_place * done.macs * formats.slices
    digital = (1 - traffic.in_place) * (done.macs + idle)
    vector_mac = built.mac_energy_16bit + built.delivery_energy * 16.0
    executed = stack.compute_energy_factor * digital
    return RowEnergy(
        compute=executed * formats.mac_energy * swing + placed * built.cell_energy,
        converter=placed * built.converter_energy,
        vector=done.vector_flops / 2 * vector_mac * swing,
        sram=traffic.resident_bytes * built.resident_energy * swing
        + traffic.store_bytes * built.store_energy * swing,
        dram=moved * built.dram_energy,
        path=moved * built.path_energy * swing,
        link=done.message_bytes * chip.link.energy,
    )


def energy_bill(
    rows: RowEnergy,
    times: OperatorTime,
    *,
    built: Silicon,
    point: OperatingPoint,
    passes: Seconds,
    duration: Seconds,
    activity: Factor,
) -> EnergyBill:
    """Joules of one chip during a step that lasts ``duration``.

    E = passes sum(rows) + k_a P_active (V / V_op)^2 f / f_op t_busy
        + (P_static V / V_op + P_memory) t

    ``passes`` micro-batches go through the chip's stage in that time.
    """
    busy = passes * jnp.sum(times.roofline)
    swing = point.dynamic_factor * point.clock_factor
    static = built.static_power * point.static_factor + built.memory_power
    return EnergyBill(
        compute=passes * jnp.sum(rows.compute),
        converter=passes * jnp.sum(rows.converter),
        vector=passes * jnp.sum(rows.vector),
        sram=passes * jnp.sum(rows.sram),
        dram=passes * jnp.sum(rows.dram),
        path=passes * jnp.sum(rows.path),
        link=passes * jnp.sum(rows.link),
        active=activity * built.active_power * swing * busy,
        static=static * duration,
    )
