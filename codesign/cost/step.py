"""What does one step of one kind cost on one chip?

Design, tokens of the step, drive voltage -> time, energy and mean power.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from codesign.core.quantities import Joules, Scalar, Seconds, Volts, Watts
from codesign.core.record import Record
from codesign.core.smooth import Sharpness
from codesign.cost.energy import (
    EnergyBill,
    RowEnergy,
    at_voltage,
    energy_bill,
    row_energy,
)
from codesign.cost.latency import Overheads, TimeBill, overheads, step_time
from codesign.cost.precision import RowFormats, row_formats
from codesign.cost.residency import Memory
from codesign.cost.roofline import (
    OperatorTime,
    ResourceTime,
    Traffic,
    operator_times,
    resource_times,
    traffic,
)
from codesign.hardware.silicon import Silicon
from codesign.hardware.voltage import operating_point
from codesign.operators.phases import Step, operator_table
from codesign.serving.design import Design
from codesign.serving.load import StepTokens


class StepCost(Record):
    """Time, energy and mean power of one chip in one step."""

    duration: Seconds
    energy: Joules
    power: Watts
    seconds: TimeBill
    joules: EnergyBill


class StepWork(Record):
    """What a step does before its clock is known: operators, traffic, formats.

    Times are those of the full clock, energies those of the operating voltage.
    """

    step: Step
    traffic: Traffic
    formats: RowFormats
    alone: ResourceTime
    energies: RowEnergy
    joules: RowEnergy
    added: Overheads


class StepDetail(NamedTuple):
    """A step with the time and energy of every row, for tables and plots."""

    cost: StepCost
    times: OperatorTime
    energies: RowEnergy


def total(bill: Record) -> Scalar:
    """Sum of the components of a bill."""
    return sum(getattr(bill, name) for name in type(bill).__dataclass_fields__)


def step_work(
    design: Design,
    tokens: StepTokens,
    *,
    built: Silicon,
    memory: Memory,
    sharpness: Sharpness = None,
) -> StepWork:
    """Operators of a step, where their bytes come from, what their formats cost."""
    return table_work(
        design,
        operator_table(design, tokens),
        built=built,
        memory=memory,
        sharpness=sharpness,
    )


def table_work(
    design: Design,
    step: Step,
    *,
    built: Silicon,
    memory: Memory,
    sharpness: Sharpness = None,
) -> StepWork:
    """Where the bytes of given operators come from and what they cost at full clock."""
    moved = traffic(design, step, memory=memory, sharpness=sharpness)
    formats = row_formats(design, step.table, built=built, sharpness=sharpness)
    energies = row_energy(design, moved, built=built, formats=formats)
    return StepWork(
        step=step,
        traffic=moved,
        formats=formats,
        alone=resource_times(design, step, built=built, traffic=moved, formats=formats),
        energies=energies,
        joules=jax.tree.map(jnp.sum, energies),
        added=overheads(design, step.shard),
    )


def step_detail(
    design: Design,
    done: StepWork,
    *,
    built: Silicon,
    drive: Volts,
    sharpness: Sharpness = None,
) -> StepDetail:
    """Cost of a step at a drive voltage, with the detail of its rows."""
    point = operating_point(design.chip, drive, sharpness=sharpness)
    times = operator_times(done.alone, point=point, sharpness=sharpness)
    duration, seconds = step_time(done.added, times=times)
    joules = energy_bill(
        done.joules,
        built=built,
        point=point,
        passes=done.step.shard.microbatches,
        busy=jnp.sum(times.roofline),
        duration=duration,
        activity=design.stack.active_power_factor,
    )
    energy = total(joules)
    cost = StepCost(
        duration=duration,
        energy=energy,
        power=energy / duration,
        seconds=seconds,
        joules=joules,
    )
    return StepDetail(cost, times, at_voltage(done.energies, point))


def step_cost(
    design: Design,
    done: StepWork,
    *,
    built: Silicon,
    drive: Volts,
    sharpness: Sharpness = None,
) -> StepCost:
    """Cost of a step at a drive voltage."""
    return step_detail(design, done, built=built, drive=drive, sharpness=sharpness).cost
