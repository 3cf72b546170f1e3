"""How long does each operator take, and which resource limits it?

Work of the rows x rates of the chip -> seconds by row and resource.
"""

import jax.numpy as jnp

from codesign.core.quantities import Bytes, Count, Factor, Fraction, Seconds
from codesign.core.record import Record
from codesign.core.smooth import Sharpness, safe_ratio, saturate, smooth_max, smooth_min
from codesign.cost.precision import RowFormats
from codesign.cost.residency import Memory
from codesign.hardware.silicon import Silicon
from codesign.hardware.store import num_inputs
from codesign.hardware.tile import tile_edge
from codesign.hardware.voltage import OperatingPoint
from codesign.operators.phases import KINDS, Step
from codesign.operators.table import Tiles, Work, kind_column, work
from codesign.serving.design import Design

ELEMENT_BYTES = 2.0  # activations between layers stay in 16 bit
SMALLEST_SHARE = 1e-9  # keeps the smooth minimum positive


class Traffic(Record):
    """Work of every row, where its bytes come from, and its share done in cells."""

    work: Work
    dram_bytes: Bytes
    hot_dram_bytes: Bytes
    resident_bytes: Bytes
    store_bytes: Bytes
    tile_bytes: Bytes
    in_place: Fraction


class ResourceTime(Record):
    """Seconds per row and step that each resource alone takes at the full clock.

    ``factor`` is that of the row's format, which ``vector`` does not hold.
    """

    compute: Seconds
    dram: Seconds
    sram: Seconds
    vector: Seconds
    link: Seconds
    launch: Seconds
    factor: Factor


class OperatorTime(Record):
    """Seconds per row and step: each resource alone, their roofline, launches."""

    compute: Seconds
    dram: Seconds
    sram: Seconds
    vector: Seconds
    link: Seconds
    roofline: Seconds
    launch: Seconds


def traffic(
    design: Design, step: Step, *, memory: Memory, sharpness: Sharpness
) -> Traffic:
    """Bytes of every row by memory level.

    dram = (1 - phi_w) weights + (1 - phi_kv) cache + (1 - phi_a) activations
    + extra;  resident = the other shares, less what a store serves, whose bytes
    move only where it is read;  tile = macs b (2 / T), T as in hardware/tile.py

    phi_a = min(1, S_a / (2 n d x 2 bytes)): input and output of one layer

    Assumes: activations stay on chip only in software-managed SRAM.
    """
    chip = design.chip
    sram = chip.sram
    rest = jnp.maximum(
        1 - sram.tile_fraction - sram.weight_fraction - sram.kv_fraction, 0.0
    )
    live = 2 * step.shard.tokens * design.model.hidden_size * ELEMENT_BYTES
    room = rest * sram.capacity / live + SMALLEST_SHARE
    kept = chip.style.managed_fraction * smooth_min(1.0, room, sharpness=sharpness)
    tiles = Tiles(
        rows=chip.style.tile_rows,
        cols=chip.style.tile_cols,
        inner=chip.style.tile_inner,
        capacity=sram.tile_fraction * sram.capacity,
        activation_share=1.0,
    )
    done = work(step.table, KINDS, tiles=tiles, sharpness=sharpness)
    weight_miss, kv_miss = 1 - memory.weight_residency, 1 - memory.kv_residency
    others = (
        kv_miss * done.cache_bytes
        + (1 - kept) * done.activation_bytes
        + (1 - kept) * done.extra_bytes
    )
    operand = step.table.activation_bits / 8
    stored, cells = memory.store_residency, chip.store.in_place_fraction
    return Traffic(
        work=done,
        dram_bytes=weight_miss * done.weight_bytes + others,
        hot_dram_bytes=weight_miss * done.hot_weight_bytes + others,
        resident_bytes=(memory.weight_residency - stored) * done.weight_bytes
        + memory.kv_residency * done.cache_bytes
        + kept * (done.activation_bytes + done.extra_bytes),
        store_bytes=(1 - cells) * stored * done.weight_bytes,
        in_place=cells * stored * kind_column(KINDS, "weight"),
        tile_bytes=2 * done.macs * operand / tile_edge(chip, design.technology),
    )


def resource_times(
    design: Design,
    step: Step,
    *,
    built: Silicon,
    traffic: Traffic,
    formats: RowFormats,
) -> ResourceTime:
    """Seconds of every row on each resource at the full clock.

    compute = x_format ((1 - p) F / (eta_c F_peak) + p t_cells)
    dram = x_format D / (eta_m BW);  vector = V / F_v
    sram = x_format (S / (eta_s BW_s) + R / (eta_s BW_r))
    link = messages (alpha + hops tau) + bytes / (eta_l BW_l);  launch = launches t_0

    t_cells = count M n_in cols_per_adc t_conversion for the share p of products
    that form in the cells of a store; R are bytes that are read from one.

    Assumes: executed MACs include padding; the busiest expert rank counts. All
    arrays of an operator work at once, those of other layers wait.
    """
    stack, done, factor = design.stack, traffic.work, formats.time_factor
    peak = stack.compute_efficiency * built.peak_compute
    placed = traffic.in_place
    digital = (1 - placed) * 2 * done.hot_macs / (peak * formats.rate)
    dram = safe_ratio(
        traffic.hot_dram_bytes, stack.dram_efficiency * built.dram_bandwidth
    )
    sram = (traffic.resident_bytes + traffic.tile_bytes) / (
        stack.sram_efficiency * built.sram_bandwidth
    )
    stored = safe_ratio(
        traffic.store_bytes, stack.sram_efficiency * built.store_bandwidth
    )
    kernels = kind_column(KINDS, "kernels") * _present(done)
    grouped = kind_column(KINDS, "expert_kernels")
    return ResourceTime(
        compute=factor * (digital + placed * _cell_time(design, step)),
        dram=factor * dram,
        sram=factor * (sram + stored),
        vector=done.vector_flops / built.vector_compute,
        link=_link_time(design, done),
        launch=step.table.count
        * (kernels * stack.kernel_time + grouped * stack.expert_kernel_time),
        factor=factor,
    )


def operator_times(
    alone: ResourceTime, *, point: OperatingPoint, sharpness: Sharpness
) -> OperatorTime:
    """Seconds of every row at a clock, all its executions together.

    t = max(compute / c, dram, sram / c, x_format vector / c) + link + launch / c,
    with c = f / f_op

    Assumes: transfers overlap arithmetic within an operator; collectives and
    launches do not.
    Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
    """
    slower = 1 / point.clock_factor
    compute, sram = alone.compute * slower, alone.sram * slower
    vector = alone.vector * slower
    return OperatorTime(
        compute=compute,
        dram=alone.dram,
        sram=sram,
        vector=vector,
        link=alone.link,
        roofline=smooth_max(
            compute, alone.dram, sram, alone.factor * vector, sharpness=sharpness
        ),
        launch=alone.launch * slower,
    )


def _cell_time(design: Design, step: Step) -> Seconds:
    """Seconds of every row if all its weights stood in cells that multiply."""
    arrays, table = design.chip.store.arrays, step.table
    turn = arrays.cols_per_adc * arrays.conversion_time
    slices = num_inputs(arrays, activation=table.activation_bits)
    return table.count * table.rows * slices * turn


def _present(done: Work) -> Count:
    """1 for rows that have any work, 0 for the others."""
    total = done.macs + done.vector_flops + done.extra_bytes
    return jnp.where(total > 0, 1.0, 0.0)


def _link_time(design: Design, done: Work) -> Seconds:
    system, link, stack = design.system, design.chip.link, design.stack
    beyond = saturate(done.num_peers - system.domain_size)
    inner = stack.link_efficiency * link.bandwidth
    outer = stack.link_efficiency * system.outer_bandwidth
    seconds_per_byte = safe_ratio(1 - beyond, inner) + safe_ratio(beyond, outer)
    latency = (
        stack.collective_time
        + system.hops * link.hop_latency
        + beyond * system.outer_latency
    )
    return done.num_messages * latency + done.message_bytes * seconds_per_byte
