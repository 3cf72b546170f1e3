"""What does each operator of a step cost, and which resource binds it?

Settled design, kind of step -> one entry per operator, for tables and plots.
"""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from codesign.core.checks import check_x64
from codesign.core.compiler import cpu_options
from codesign.core.quantities import (
    Bytes,
    Count,
    Flop,
    FlopPerSecond,
    Joules,
    Seconds,
)
from codesign.core.record import Record, as_float64
from codesign.core.smooth import safe_ratio
from codesign.cost.governor import govern
from codesign.cost.step import StepDetail, step_detail, total
from codesign.cost.total import prepare
from codesign.operators.phases import KINDS
from codesign.serving.design import Design

STEP_KINDS = ("decode", "mixed", "prompt")
RESOURCES = ("compute", "dram", "sram", "vector", "link")


class OperatorCost(Record):
    """Work, time and energy of every operator of one stage pass, by row.

    ``binding`` indexes ``RESOURCES``: what the operator waits for most.
    """

    count: Count
    flops: Flop
    dram_bytes: Bytes
    resident_bytes: Bytes
    message_bytes: Bytes
    seconds: Seconds
    joules: Joules
    peak_compute: FlopPerSecond
    binding: Count


def operator_costs(design: Design, *, kind: str) -> dict[str, OperatorCost]:
    """Cost of each operator that has work in a step, by operator name.

    ``kind`` is ``decode`` (no prefill tokens), ``mixed`` (the mean step with
    prefill) or ``prompt`` (the step that prefills one waiting prompt).

    Raises:
        ValueError: the kind is none of the three.
    """
    check_x64()
    index = STEP_KINDS.index(kind)
    rows = jax.device_get(_compiled()(as_float64(design), jnp.asarray(index)))
    names = [row.name for row in KINDS]
    live = np.flatnonzero(rows.seconds > 0)
    return {names[i]: jax.tree.map(lambda leaf, i=i: leaf[i], rows) for i in live}


@cache
def _compiled() -> Callable[..., OperatorCost]:
    return jax.jit(_costs, compiler_options=cpu_options(level=0))


def _costs(design: Design, index: Count) -> OperatorCost:
    ready = prepare(design)
    held = govern(design, ready).deployment
    drive = jnp.where(index == 0, held.decode_voltage, held.prefill_voltage)
    done = jax.tree.map(lambda leaf: leaf[index], ready.done)
    detail: StepDetail = step_detail(design, done, built=ready.built, drive=drive)
    times, work = detail.times, done.traffic.work
    by_resource = jnp.stack([getattr(times, name) for name in RESOURCES])
    seconds = times.roofline + times.link + times.launch
    return OperatorCost(
        count=done.step.table.count,
        flops=work.flops,
        dram_bytes=done.traffic.dram_bytes,
        resident_bytes=done.traffic.resident_bytes,
        message_bytes=work.message_bytes,
        seconds=seconds,
        joules=total(detail.energies),
        peak_compute=safe_ratio(2 * work.hot_macs, times.compute),
        binding=jnp.argmax(by_resource, axis=0),
    )
