"""How long does a program take on this device, and what does it draw?

A function and a span of time -> seconds per call and mean power.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from codesign.core.quantities import Joules, Seconds, Watts
from codesign.measure.power import PowerMeter

FEWEST_CALLS = 3


@dataclass(frozen=True)
class Timing:
    """Median seconds of a call, calls, and mean power; NaN without a meter."""

    seconds: Seconds
    calls: int
    power: Watts


def timed(
    function: Callable[[], Any], *, seconds: Seconds, meter: PowerMeter | None
) -> Timing:
    """Call a compiled function until a span of time is over; each call is awaited.

    The first call is not counted: it may compile.
    """
    jax.block_until_ready(function())
    spans: list[float] = []
    before, began = _joules(meter), time.perf_counter()
    while len(spans) < FEWEST_CALLS or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        jax.block_until_ready(function())
        spans.append(time.perf_counter() - start)
    elapsed = time.perf_counter() - began
    power = (_joules(meter) - before) / elapsed
    return Timing(seconds=statistics.median(spans), calls=len(spans), power=power)


def idle_power(*, seconds: Seconds, meter: PowerMeter | None) -> Watts:
    """Mean power while nothing runs; NaN without a meter."""
    if meter is None:
        return math.nan
    before, began = meter.read(), time.perf_counter()
    time.sleep(seconds)
    return (meter.read() - before) / (time.perf_counter() - began)


def _joules(meter: PowerMeter | None) -> Joules:
    return math.nan if meter is None else meter.read()
