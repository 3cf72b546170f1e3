"""What does one step of one kind cost on one chip?

Design, tokens of the step, drive voltage -> time, energy and mean power.
"""

from typing import NamedTuple

from codesign.core.quantities import Joules, Scalar, Seconds, Volts, Watts
from codesign.core.record import Record
from codesign.core.smooth import Sharpness
from codesign.cost.energy import EnergyBill, RowEnergy, energy_bill, row_energy
from codesign.cost.latency import TimeBill, step_time
from codesign.cost.precision import RowFormats, row_formats
from codesign.cost.residency import Memory
from codesign.cost.roofline import OperatorTime, Traffic, operator_times, traffic
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
    """What a step does before its clock is known: operators, traffic, formats."""

    step: Step
    traffic: Traffic
    formats: RowFormats


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
    step = operator_table(design, tokens)
    return StepWork(
        step=step,
        traffic=traffic(design, step, memory=memory, sharpness=sharpness),
        formats=row_formats(design, step.table, built=built, sharpness=sharpness),
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
    times = operator_times(
        design,
        done.step,
        built=built,
        traffic=done.traffic,
        formats=done.formats,
        point=point,
        sharpness=sharpness,
    )
    energies = row_energy(
        design, done.traffic, built=built, formats=done.formats, point=point
    )
    duration, seconds = step_time(design, done.step, times=times)
    joules = energy_bill(
        energies,
        times,
        built=built,
        point=point,
        passes=done.step.shard.microbatches,
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
    return StepDetail(cost, times, energies)


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
