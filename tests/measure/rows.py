"""Kernels of a device whose floor and energies are known."""

from dataclasses import replace

from codesign.measure.energies import Energies
from codesign.measure.kernels import (
    CACHED,
    GEMM,
    IDLE,
    SHARED,
    STREAM,
    ZEROS,
    Kernel,
)

TRUE = Energies(
    static=120.0,
    active=80.0,
    byte=60e-12,
    resident_byte=35e-12,
    bank_byte=9e-12,
    mac_16bit=1.5e-12,
    mac_8bit=0.7e-12,
)
ROWS = (1, 16, 128, 1024, 8192)
WIDE_RATE, NARROW_RATE = 700e12, 1300e12
DRAM, CACHE, CORES = 3e12, 6e12, 25e12
EDGE = 4096


def kernels(*, true: Energies = TRUE, narrow: float = NARROW_RATE) -> list[Kernel]:
    """What a GPU would measure: products of both formats, a stream and loops."""
    found = [Kernel(IDLE, 0, 0, 1.0, 0.0, 0.0, true.static)]
    for name, size, rate in (("bfloat16", 2, WIDE_RATE), ("float8_e4m3fn", 1, narrow)):
        rows = [product(name, m, size=size, rate=rate, true=true) for m in ROWS]
        found += [*rows, replace(rows[-1], kind=ZEROS, power=true.static + 90.0)]
    dark = true.static + true.active
    found.append(Kernel(STREAM, 1, 1, 1.0, 0.0, DRAM, dark + true.byte * DRAM))
    for kind, rate, each in (
        (CACHED, CACHE, true.resident_byte),
        (SHARED, CORES, true.bank_byte),
    ):
        found += [
            Kernel(kind, n, 4096, n * 5e-3, 0.0, n * 5e-3 * rate, dark + each * rate)
            for n in (1, 2)
        ]
    return found


def product(
    name: str, rows: int, *, size: int, rate: float, true: Energies = TRUE
) -> Kernel:
    """A product at the roofline of its rate and DRAM."""
    flops, traffic = 2.0 * rows * EDGE**2, size * (EDGE**2 + 2.0 * rows * EDGE)
    seconds = max(flops / rate, traffic / DRAM)
    mac = float(true.mac_16bit if size == 2 else true.mac_8bit)
    joules = float(true.byte) * traffic + mac * flops / 2
    return Kernel(
        kind=GEMM,
        rows=rows,
        cols=EDGE,
        seconds=seconds,
        flops=flops,
        traffic=traffic,
        power=true.static + true.active + joules / seconds,
        format=name,
        executed={2: "bf16", 1: "f8e4m3fn"}[size],
    )
