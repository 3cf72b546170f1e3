"""Where do the joules of one step go?

Traffic of the rows, chip, operating point and duration -> joules by component.
"""

import jax.numpy as jnp

from codesign.core.quantities import Count, Factor, Joules, Seconds
from codesign.core.record import Record
from codesign.cost.precision import RowFormats
from codesign.cost.roofline import Traffic
from codesign.hardware.silicon import Silicon
from codesign.hardware.voltage import OperatingPoint
from codesign.operators.phases import KINDS
from codesign.operators.table import kind_column
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
    """Dynamic joules of every row of one stage pass at the operating voltage.

    ``cells`` form products in a store; like ``converter``, ``dram`` and ``link``
    they do not follow the voltage.
    """

    compute: Joules
    cells: Joules
    converter: Joules
    vector: Joules
    sram: Joules
    dram: Joules
    path: Joules
    link: Joules


def row_energy(
    design: Design, traffic: Traffic, *, built: Silicon, formats: RowFormats
) -> RowEnergy:
    """Dynamic energy of every row at the operating voltage: one byte, one path.

    compute = k_c (1 - p) (macs + idle (padded - macs)) e_mac(format)
    cells = p n macs e_cell;  converter = p n macs e_converter
    dram = k_t D e_device;  path = k_t D e_path;  sram = S e_resident + R e_store
    link = message bytes e_link;  vector = V / 2 e_mac(16 bit; 32 for states)

    with p the share of products that form in cells, n slices of each.

    Assumes: a vector FLOP costs as much as half a MAC of its width.
    Source: docs/theory/energy.md.
    """
    chip, done = design.chip, traffic.work
    stack = design.stack
    moved = stack.traffic_energy_factor * traffic.dram_bytes
    idle = chip.style.idle_lane_fraction * (done.padded_macs - done.macs)
    placed = traffic.in_place * done.macs * formats.slices
    digital = (1 - traffic.in_place) * (done.macs + idle)
    narrow = built.mac_energy_16bit + built.delivery_energy * 16.0
    wide = built.mac_energy_32bit + built.delivery_energy * 32.0
    vector_mac = jnp.where(kind_column(KINDS, "wide") > 0, wide, narrow)
    return RowEnergy(
        compute=stack.compute_energy_factor * digital * formats.mac_energy,
        cells=placed * built.cell_energy,
        converter=placed * built.converter_energy,
        vector=done.vector_flops / 2 * vector_mac,
        sram=traffic.resident_bytes * built.resident_energy
        + traffic.store_bytes * built.store_energy,
        dram=moved * built.dram_energy,
        path=moved * built.path_energy,
        link=done.message_bytes * chip.link.energy,
    )


def at_voltage(rows: RowEnergy, point: OperatingPoint) -> RowEnergy:
    """The energies at a voltage: what switches follows its square.

    compute, vector, sram, path: times (V / V_op)^2
    """
    swing = point.dynamic_factor
    return rows.replace(
        compute=rows.compute * swing,
        vector=rows.vector * swing,
        sram=rows.sram * swing,
        path=rows.path * swing,
    )


def energy_bill(
    rows: RowEnergy,
    *,
    built: Silicon,
    point: OperatingPoint,
    passes: Count,
    busy: Seconds,
    duration: Seconds,
    activity: Factor,
) -> EnergyBill:
    """Joules of one chip during a step that lasts ``duration``.

    E = passes rows(V) + k_a P_active (V / V_op)^2 f / f_op passes busy
        + (P_static V / V_op + P_memory) t

    ``rows`` are the sums over all rows, which ``busy`` seconds go into;
    ``passes`` micro-batches go through the chip's stage in a step.
    """
    swing = point.dynamic_factor * point.clock_factor
    static = built.static_power * point.static_factor + built.memory_power
    done = at_voltage(rows, point)
    return EnergyBill(
        compute=passes * (done.compute + done.cells),
        converter=passes * done.converter,
        vector=passes * done.vector,
        sram=passes * done.sram,
        dram=passes * done.dram,
        path=passes * done.path,
        link=passes * done.link,
        active=activity * built.active_power * swing * passes * busy,
        static=static * duration,
    )
