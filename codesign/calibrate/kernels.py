"""How far is the roofline of one operator from a single measured kernel?

Rows of measured kernels -> time and power by the operator table and roofline that
price whole steps, and their errors by kind, chip and format.
"""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.calibrate.kernel_works import ONES, KernelWork, kernel_works
from codesign.calibrate.score import Score, relative_error, score
from codesign.config.chips import chip_info, load_chip, load_system
from codesign.config.kernels import KernelRow
from codesign.config.rows import RowFault
from codesign.config.stacks import load_stack
from codesign.config.technology import load_technology
from codesign.core.checks import check_x64
from codesign.core.compiler import jitted
from codesign.core.errors import CodesignError
from codesign.core.quantities import Bytes, MacsPerByte, Seconds, Watts
from codesign.core.record import Record, as_float64
from codesign.core.solve import rising_root
from codesign.cost.energy import RowEnergy
from codesign.cost.residency import Memory
from codesign.cost.step import step_cost, step_detail, table_work
from codesign.hardware.silicon import silicon
from codesign.model.huggingface import build_transformer
from codesign.operators import feedforward
from codesign.operators.phases import KINDS, Step, operator_table
from codesign.serving.deployment import Deployment
from codesign.serving.design import Design
from codesign.serving.request import Request

PARTS = ("compute", "memory", "fixed")
CHUNK = 2048  # kernels evaluated at once; the last chunk is filled up with copies
GRAPH_SHARE = 0.6  # of a kernel's fixed time that remains inside a captured graph
SERVED_MESSAGE = 4.5e-6  # seconds that serving adds to a collective
LEAST_DRIVE = 0.05  # of the minimum voltage, as the governor of a step
NEUTRAL = {
    "attention_factor": 1.0,
    "expert_factor": 1.0,
    "time_factor_16bit": 1.0,
    "time_factor_8bit": 1.0,
    "time_factor_8bit_block": 1.0,
    "time_factor_4bit": 1.0,
    "time_factor_nvfp4": 1.0,
    "time_factor_int4": 1.0,
    "compute_energy_factor": 1.0,
    "traffic_energy_factor": 1.0,
    "active_power_factor": 1.0,
    "layer_time": 0.0,
    "expert_layer_time": 0.0,
    "step_time": 0.0,
    "sequence_time": 0.0,
    "graph_tokens": 0.0,
    "maturity": 1.0,
}
"""A stack without what serving adds to single kernels."""
COLD = 2.0  # times the cache: repeats of a smaller operand do not draw DRAM power


class KernelCost(Record):
    """Time and power of a kernel, the parts of its time, and what it stores.

    ``joules`` are those at full clock. ``active_power`` is that of a chip at work
    without them, ``still_power`` that of one that waits, ``power_limit`` the most.
    """

    duration: Seconds
    power: Watts
    compute: Seconds
    memory: Seconds
    fixed: Seconds
    stored: Bytes
    cache: Bytes
    intensity: MacsPerByte
    joules: RowEnergy
    active_power: Watts
    still_power: Watts
    power_limit: Watts


@dataclass(frozen=True)
class KernelPrediction:
    """A measured kernel and its predicted cost."""

    row: KernelRow
    cost: KernelCost

    @property
    def bound(self) -> str:
        """The largest part of the time: compute, memory or fixed."""
        parts = {name: float(getattr(self.cost, name)) for name in PARTS}
        return max(parts, key=lambda name: parts[name])


@dataclass(frozen=True)
class KernelGroup:
    """Errors of the kernels of one kind, chip, software and format."""

    kind: str
    chip: str
    software: str
    format: str
    bound: str
    rows: int
    duration: Score
    power: Score


def predict_kernels(
    rows: Sequence[KernelRow],
) -> tuple[tuple[KernelPrediction, ...], tuple[RowFault, ...]]:
    """Time and power of single kernels, in their order, and rows without a chip.

    The stack is that of the chip without the factors and overheads of serving; a
    kernel alone shows its whole fixed time, of which a captured graph hides 0.4.
    Operands come from DRAM: a cache that held them since the last repeat feeds a
    small kernel hardly faster.
    """
    check_x64()
    found: dict[int, KernelPrediction] = {}
    faults: list[RowFault] = []
    by_chip: defaultdict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        by_chip[row.chip].append(place)
    for chip, places in by_chip.items():
        members = [rows[place] for place in places]
        try:
            host = _host(chip)
        except CodesignError as error:
            faults += [RowFault(line=row.line, message=str(error)) for row in members]
            continue
        found |= zip(places, _predict(members, host), strict=True)
    return tuple(found[place] for place in sorted(found)), tuple(faults)


def kernel_groups(
    predictions: Sequence[KernelPrediction], *, by_bound: bool = False
) -> tuple[KernelGroup, ...]:
    """Errors by kind, chip, software and format, and by what binds if asked."""
    groups: defaultdict[tuple[str, ...], list[KernelPrediction]] = defaultdict(list)
    for each in predictions:
        row = each.row
        bound = each.bound if by_bound else ""
        groups[(row.kind, row.chip, row.software, row.format, bound)].append(each)
    return tuple(
        KernelGroup(
            *key,
            rows=len(members),
            duration=duration_score(members),
            power=power_score(members),
        )
        for key, members in sorted(groups.items())
    )


def duration_score(predictions: Sequence[KernelPrediction]) -> Score:
    """Errors of time."""
    pairs = [(p.cost.duration, p.row.duration) for p in predictions]
    return score([relative_error(float(a), float(b)) for a, b in pairs])


def power_score(predictions: Sequence[KernelPrediction]) -> Score:
    """Errors of power, of kernels whose operand is larger than twice the cache."""
    cold = [p for p in predictions if p.cost.stored > COLD * p.cost.cache]
    pairs = [(p.cost.power, p.row.power) for p in cold]
    return score([relative_error(float(a), float(b)) for a, b in pairs])


@functools.cache
def _host(chip: str) -> Design:
    """A design on one chip; its model, degrees and step come from each kernel."""
    stack = load_stack(chip_info(chip).stack)
    bare: dict[str, Any] = dict(NEUTRAL)
    bare["kernel_time"] = stack.kernel_time / GRAPH_SHARE
    bare["collective_time"] = jnp.maximum(stack.collective_time - SERVED_MESSAGE, 0.0)
    loaded = load_chip(chip)
    one = {"prompt_length": 1.0, "output_length": 1.0, "output_variation": 0.0}
    return as_float64(
        Design(
            chip=loaded,
            system=load_system(chip, num_chips=8),
            model=build_transformer(ONES),
            deployment=Deployment(
                tensor_parallel=1.0,
                pipeline_parallel=1.0,
                expert_parallel=1.0,
                batch=1.0,
                power_limit=loaded.tdp,
                prefill_voltage=loaded.voltage,
                decode_voltage=loaded.voltage,
            ),
            request=Request(rate=0.0, prefix_hit_fraction=0.0, **one),
            stack=stack.replace(**bare),
            technology=load_technology(),
        )
    )


def _predict(rows: Sequence[KernelRow], host: Design) -> list[KernelPrediction]:
    stacked = kernel_works(rows)
    places = np.minimum(np.arange(-(-len(rows) // CHUNK) * CHUNK), len(rows) - 1)
    parts: list[KernelCost] = []
    for at in places.reshape(-1, CHUNK):
        chunk = jax.tree.map(lambda leaf, at=at: leaf[at], stacked)
        parts.append(jax.device_get(_costs(chunk, host=host)))
    cost = jax.tree.map(lambda *x: np.concatenate(x)[: len(rows)], *parts)
    return [
        KernelPrediction(row, jax.tree.map(lambda leaf, i=i: leaf[i], cost))
        for i, row in enumerate(rows)
    ]


@jitted()
def _costs(chunk: KernelWork, *, host: Design) -> KernelCost:
    return jax.vmap(lambda kernel: _cost(kernel, host=host))(chunk)


def _cost(kernel: KernelWork, *, host: Design) -> KernelCost:
    """Cost of one kernel at the voltage that the power limit allows."""
    deployment = host.deployment.replace(
        tensor_parallel=kernel.tensor, expert_parallel=kernel.expert
    )
    design = host.replace(model=kernel.model, deployment=deployment)
    step = operator_table(design, kernel.step)
    plain = jnp.array([float(kind is feedforward.NORMS) for kind in KINDS])
    table = step.table.replace(
        count=step.table.count * kernel.chosen,
        traffic=kernel.chosen * kernel.traffic,
        vector_flops=jnp.where(plain > 0, kernel.vector_flops, step.table.vector_flops),
        message_bytes=step.table.message_bytes * kernel.message_factor,
    )
    step = Step(table=table, shard=step.shard)
    built = silicon(design.chip, design.technology)
    cold = Memory(**dict.fromkeys((f.name for f in fields(Memory)), jnp.zeros(())))
    done = table_work(design, step, built=built, memory=cold)

    def excess(drive: Array) -> Array:
        power = step_cost(design, done, built=built, drive=drive).power
        return jnp.asarray(power / design.chip.tdp - 1.0)

    low = LEAST_DRIVE * design.chip.style.min_voltage
    drive = rising_root(excess, low=low, high=design.chip.voltage)
    detail = step_detail(design, done, built=built, drive=drive)
    times, done_work = detail.times, done.traffic.work
    latency = jnp.sum(done_work.num_messages) * design.stack.collective_time
    launch = kernel.launches * design.stack.kernel_time
    return KernelCost(
        duration=detail.cost.duration + launch,
        power=detail.cost.power,
        compute=jnp.sum(jnp.maximum(times.compute, times.vector)),
        memory=jnp.sum(jnp.maximum(times.dram, times.sram) + times.link) - latency,
        fixed=jnp.sum(times.launch) + latency + launch,
        stored=jnp.sum(done_work.weight_bytes + done_work.cache_bytes),
        cache=(1 - design.chip.sram.tile_fraction) * design.chip.sram.capacity,
        intensity=jnp.sum(done_work.macs) / jnp.sum(done.traffic.dram_bytes),
        joules=done.joules,
        active_power=built.active_power,
        still_power=built.static_power + built.memory_power,
        power_limit=design.chip.tdp,
    )
