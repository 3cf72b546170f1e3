"""How fast are single kernels of this device?

Sizes -> rows of measured products, streams and loops, with power where it is offered.
"""

from collections.abc import Iterator, Sequence
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
from codesign.measure.loops import CORE_TILE, REAL, Loop, enough_passes, resident_loop
from codesign.measure.power import PowerMeter
from codesign.measure.products import (
    REPEATS,
    XLA_NAMES,
    Products,
    drawn_weights,
    is_narrow,
    num_weights,
)
from codesign.measure.timing import idle_power, timed

GEMM, ZEROS, STREAM, IDLE = "gemm", "gemm, zeros", "stream", "idle"
CACHED, SHARED = "cached", "shared memory"
FORMATS = ("bfloat16", "float8_e4m3fn")  # of products, beside that of the models
LOOP_SECONDS = 5e-3  # of the shorter of two loops; its launch is small beside it


@dataclass(frozen=True)
class Kernel:
    """One measured kernel: its shape, time, work and power (NaN if unknown).

    ``rows`` and ``cols`` are those of a product, or passes and elements. ``format`` is
    that of the operands that were given, ``executed`` that of the operands in the
    compiled program by XLA's name, empty if it does not tell.
    """

    kind: str
    rows: int
    cols: int
    seconds: Seconds
    flops: Flop
    traffic: Bytes
    power: Watts
    format: str = ""
    executed: str = ""

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
    """What is measured: rows M of square products, sizes of streams, time of each.

    Products run in the format of the models and in ``formats``.
    """

    gemm_rows: tuple[int, ...]
    gemm_size: int
    stream_bytes: float
    cached_bytes: float
    seconds: Seconds
    formats: tuple[str, ...] = FORMATS


def measure_kernels(
    plan: KernelPlan, *, dtype: jnp.dtype, meter: PowerMeter | None, platform: str
) -> tuple[Kernel, ...]:
    """The idle device, products of few to many rows, streams, loops on the chip."""
    idle = idle_power(seconds=plan.seconds, meter=meter)
    found = [Kernel(IDLE, 0, 0, plan.seconds, 0.0, 0.0, idle)]
    for name in dict.fromkeys((dtype.name, *plan.formats)):
        found += _products(plan, dtype=jnp.dtype(name), meter=meter)
    x = jnp.ones(int(plan.stream_bytes) // dtype.itemsize, dtype)
    found.append(_stream(x, plan=plan, meter=meter))
    for kind, size in ((CACHED, plan.cached_bytes), (SHARED, CORE_TILE)):
        loop = resident_loop(size, platform=platform)
        found += _loops(kind, loop, plan=plan, meter=meter)
    return tuple(found)


def wide_products(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """Products of random operands of 16 bits or more that run in their own format.

    All of them where none does.
    """
    wide = tuple(k for k in kernels if k.kind == GEMM and not _narrow(k))
    return tuple(k for k in wide if in_own_format(k)) or wide


def native_narrow_products(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """Products of 8-bit operands, if the device multiplies in 8 bits; else none.

    It does if the compiled program does not widen the operands before the product,
    and the best rate is above that of wider formats.
    """
    kept = tuple(
        k for k in kernels if k.kind == GEMM and _narrow(k) and in_own_format(k)
    )
    best = max((k.compute for k in kept), default=0.0)
    wide = max((k.compute for k in wide_products(kernels)), default=0.0)
    return kept if best > wide else ()


def in_own_format(kernel: Kernel) -> bool:
    """Whether no product widens its operands, as far as the program tells."""
    return kernel.executed in ("", XLA_NAMES.get(kernel.format, ""))


def real_loops(kernels: Sequence[Kernel], kind: str) -> tuple[Kernel, ...]:
    """Loops of a kind, if their time grows with the passes; else none.

    t(2 n) >= 1.5 t(n): a loop that a compiler has removed takes no longer.
    """
    loops = sorted((k for k in kernels if k.kind == kind), key=lambda k: k.rows)
    grown = bool(loops) and loops[-1].seconds >= REAL * loops[0].seconds
    return tuple(loops) if grown else ()


def _narrow(kernel: Kernel) -> bool:
    return bool(kernel.format) and is_narrow(jnp.dtype(kernel.format))


@jax.jit
def _copies(x: Array) -> Array:
    """Passes that read and write every element."""
    return jax.lax.fori_loop(0, REPEATS, lambda _, y: 1 - y, x)


def _products(
    plan: KernelPlan, *, dtype: jnp.dtype, meter: PowerMeter | None
) -> Iterator[Kernel]:
    """Products of random operands of every number of rows, the last also of zeros."""
    draw, size = np.random.default_rng(0), plan.gemm_size
    number = num_weights(size, dtype=dtype, beyond=plan.stream_bytes)
    weights = drawn_weights(draw, size, dtype=dtype, number=number)
    for rows in plan.gemm_rows:
        x = jnp.asarray(draw.standard_normal((rows, size), np.float32), dtype)
        yield _gemm(GEMM, Products(x, weights), plan=plan, meter=meter)
    zeros = jnp.zeros((plan.gemm_rows[-1], size), dtype)
    blank = tuple(jnp.zeros_like(weight) for weight in weights)
    yield _gemm(ZEROS, Products(zeros, blank), plan=plan, meter=meter)


def _gemm(
    kind: str, products: Products, *, plan: KernelPlan, meter: PowerMeter | None
) -> Kernel:
    run, executed = products.compiled()
    timing = timed(run, seconds=plan.seconds, meter=meter)
    rows, size = products.x.shape
    return Kernel(
        kind=kind,
        rows=rows,
        cols=size,
        seconds=timing.seconds / REPEATS,
        flops=2.0 * rows * size * size,
        traffic=products.traffic,
        power=timing.power,
        format=products.x.dtype.name,
        executed=executed,
    )


def _stream(x: Array, *, plan: KernelPlan, meter: PowerMeter | None) -> Kernel:
    timing = timed(lambda: _copies(x), seconds=plan.seconds, meter=meter)
    return Kernel(
        kind=STREAM,
        rows=1,
        cols=x.size,
        seconds=timing.seconds / REPEATS,
        flops=float(x.size),
        traffic=2.0 * x.nbytes,
        power=timing.power,
        format=x.dtype.name,
    )


def _loops(
    kind: str, loop: Loop, *, plan: KernelPlan, meter: PowerMeter | None
) -> Iterator[Kernel]:
    """A loop of some passes and one of twice as many."""
    passes = enough_passes(loop, seconds=LOOP_SECONDS)
    for number in (passes, 2 * passes):
        timing = timed(lambda n=number: loop.run(n), seconds=plan.seconds, meter=meter)
        yield Kernel(
            kind=kind,
            rows=number,
            cols=loop.words,
            seconds=timing.seconds,
            flops=number * loop.pass_flops,
            traffic=number * loop.pass_bytes,
            power=timing.power,
        )
