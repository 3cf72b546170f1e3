"""How fast are single kernels of this device?

Sizes -> rows of measured products and streams, with power where it is offered.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.core.quantities import (
    Bytes,
    BytesPerSecond,
    Flop,
    FlopPerSecond,
    Seconds,
    Watts,
)
from codesign.measure.power import PowerMeter
from codesign.measure.timing import idle_power, timed

REPEATS = 8  # dependent runs of a kernel in one program, so that its launch is small
GEMM, ZEROS, STREAM, CACHED, IDLE = "gemm", "gemm, zeros", "stream", "cached", "idle"


@dataclass(frozen=True)
class Kernel:
    """One measured kernel: its shape, time, work and power (NaN if unknown)."""

    kind: str
    rows: int
    cols: int
    seconds: Seconds
    flops: Flop
    traffic: Bytes
    power: Watts

    @property
    def compute(self) -> FlopPerSecond:
        """Rate of arithmetic."""
        return self.flops / self.seconds

    @property
    def bandwidth(self) -> BytesPerSecond:
        """Rate of bytes read and written."""
        return self.traffic / self.seconds


@dataclass(frozen=True)
class KernelPlan:
    """What is measured: rows M of square products, sizes of streams, time of each."""

    gemm_rows: tuple[int, ...]
    gemm_size: int
    stream_bytes: float
    cached_bytes: float
    seconds: Seconds


def measure_kernels(
    plan: KernelPlan, *, dtype: jnp.dtype, meter: PowerMeter | None
) -> tuple[Kernel, ...]:
    """Products with M from few to many rows, streams, and the idle device."""
    idle = idle_power(seconds=plan.seconds, meter=meter)
    found = [Kernel(IDLE, 0, 0, plan.seconds, 0.0, 0.0, idle)]
    draw = np.random.default_rng(0)
    size = plan.gemm_size
    weight = jnp.asarray(draw.normal(0, size**-0.5, (size, size)), dtype)
    for rows in plan.gemm_rows:
        x = jnp.asarray(draw.normal(size=(rows, size)), dtype)
        found.append(_gemm(GEMM, (x, weight), plan=plan, meter=meter))
    zeros = (jnp.zeros((plan.gemm_rows[-1], size), dtype), jnp.zeros_like(weight))
    found.append(_gemm(ZEROS, zeros, plan=plan, meter=meter))
    for kind, size in ((STREAM, plan.stream_bytes), (CACHED, plan.cached_bytes)):
        x = jnp.ones(int(size) // dtype.itemsize, dtype)
        found.append(_stream(kind, x, plan=plan, meter=meter))
    return tuple(found)


@jax.jit
def _products(x: Array, weight: Array) -> Array:
    """A chain of products, each of which needs the one before."""
    return jax.lax.fori_loop(0, REPEATS, lambda _, y: y @ weight, x)


@jax.jit
def _copies(x: Array) -> Array:
    """Passes that read and write every element."""
    return jax.lax.fori_loop(0, REPEATS, lambda _, y: 1 - y, x)


def _gemm(
    kind: str,
    operands: tuple[Array, Array],
    *,
    plan: KernelPlan,
    meter: PowerMeter | None,
) -> Kernel:
    x, weight = operands
    timing = timed(lambda: _products(x, weight), seconds=plan.seconds, meter=meter)
    rows, size = x.shape
    return Kernel(
        kind=kind,
        rows=rows,
        cols=size,
        seconds=timing.seconds / REPEATS,
        flops=2.0 * rows * size * size,
        traffic=float(weight.nbytes + 2 * x.nbytes),
        power=timing.power,
    )


def _stream(
    kind: str, x: Array, *, plan: KernelPlan, meter: PowerMeter | None
) -> Kernel:
    timing = timed(lambda: _copies(x), seconds=plan.seconds, meter=meter)
    return Kernel(
        kind=kind,
        rows=1,
        cols=x.size,
        seconds=timing.seconds / REPEATS,
        flops=float(x.size),
        traffic=2.0 * x.nbytes,
        power=timing.power,
    )
