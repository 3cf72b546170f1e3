"""Where do area and power of chips go, and how are they balanced?

Names or files of chips -> what the equations derive from their parameters without
any residual, beside what is published.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp

from codesign.config.chips import ChipInfo, chip_info, load_chip, load_published
from codesign.config.records import UNSURE
from codesign.config.technology import load_technology
from codesign.core.compiler import jitted
from codesign.core.quantities import (
    FlopPerSecond,
    Watts,
)
from codesign.core.record import Record
from codesign.core.solve import rising_root
from codesign.hardware.anchor import GEMM_SIZE, byte_energy, zero_anchor
from codesign.hardware.chip import Chip
from codesign.hardware.silicon import Silicon, silicon
from codesign.hardware.voltage import operating_point
from codesign.report.breakdown import Parts
from codesign.technology.constants import Technology

FAMILIES = {
    "gpu": "GPU",
    "soc": "GPU",
    "systolic": "systolic",
    "inhouse": "systolic",
    "static": "static dataflow",
    "manycore": "many-core, wafer",
    "tiled": "many-core, wafer",
    "stacked": "DRAM on logic",
    "analog": "analog",
}
"""Family by the first word of a style."""

OTHER = "other"
AREA_PARTS = {
    "compute": "matrix and vector units",
    "sram": "SRAM",
    "store": "cells of weights",
    "phy": "DRAM and link interfaces",
    "rest": "rest: control, network, fill",
}
POWER_PARTS = {
    "arithmetic": "multiply-accumulate",
    "delivery": "operand delivery",
    "traffic": "memory traffic",
    "active": "clocks and control, busy",
    "static": "leakage, idle, standby",
}


class GemmPower(Record):
    """Power of a large 16-bit matrix product by part."""

    arithmetic: Watts
    delivery: Watts
    traffic: Watts
    active: Watts
    static: Watts


class Built(Record):
    """What is derived of one chip, published figures aside."""

    silicon: Silicon
    full: GemmPower
    measured: GemmPower


@dataclass(frozen=True)
class ChipFacts:
    """One chip beside its published figures; NaN where nothing is published.

    Areas are per die and parts of it. ``power`` is that of a large 16-bit matrix
    product at full clock, ``power_measured`` at the measured rate.
    """

    name: str
    title: str
    family: str
    area: Parts
    area_published: float
    area_sure: bool
    power: Parts
    power_measured: float
    tdp: float
    tdp_sure: bool
    peak_compute: float
    bandwidth: float
    from_dram: bool
    sram: float
    balance_sure: bool

    @property
    def flop_per_byte(self) -> float:
        """Peak FLOP per byte of the memory that holds the weights."""
        return self.peak_compute / self.bandwidth

    @property
    def sram_per_flop(self) -> float:
        """Bytes of SRAM per FLOP/s of the peak rate."""
        return self.sram / self.peak_compute


def chip_facts(names: Sequence[str | Path]) -> list[ChipFacts]:
    """Area, power and balance of chips as their parameters give them."""
    technology = load_technology()
    return [_facts(name, technology) for name in names]


def _facts(name: str | Path, technology: Technology) -> ChipFacts:
    info, chip, known = chip_info(name), load_chip(name), load_published(name)
    bare = chip.replace(anchor=zero_anchor())
    sized = bare.replace(anchor=bare.anchor.replace(area=chip.anchor.area))
    derived, real = (
        jax.device_get(_built()(c, technology, sustained=known.sustained_compute))
        for c in (bare, sized)
    )
    dies, stacks = float(chip.dies), float(chip.dram.stacks)
    built = derived.silicon
    from_dram = stacks > 0 and not float(chip.store.capacity) > 0
    memory = "dram_bandwidth" if from_dram else "sram_bandwidth"
    return ChipFacts(
        name=info.name,
        title=info.title,
        family=_family(info.style),
        area=_area_parts(built, chip),
        area_published=float(known.area) / dies,
        area_sure=_sure(info, "published.area"),
        power={t: float(getattr(real.full, p)) for p, t in POWER_PARTS.items()},
        power_measured=_total(real.measured),
        tdp=float(chip.tdp),
        tdp_sure=_sure(info, "parameters.tdp"),
        peak_compute=float(built.peak_compute),
        bandwidth=float(getattr(built, memory) + built.store_bandwidth),
        from_dram=from_dram,
        sram=float(chip.sram.capacity),
        balance_sure=all(
            _sure(info, f"parameters.{key}")
            for key in ("peak_compute_16bit", "sram_capacity", memory)
        ),
    )


def _area_parts(built: Silicon, chip: Chip) -> Parts:
    """Blocks of one die, and the fill around them, m^2."""
    fill, dies = float(chip.style.area_efficiency), float(chip.dies)
    blocks = {
        "compute": fill * float(built.compute_area),
        "sram": fill * float(built.sram_area),
        "store": fill * float(built.store_area),
        "phy": float(built.phy_area),
    }
    blocks["rest"] = float(built.area) - sum(blocks.values())
    return {title: blocks[part] / dies for part, title in AREA_PARTS.items()}


@cache
def _built() -> Callable[..., Built]:
    return jitted(level=0)(_build)


def _build(chip: Chip, technology: Technology, *, sustained: FlopPerSecond) -> Built:
    built = silicon(chip, technology)
    top = technology.arithmetic.kernel_efficiency * built.peak_compute
    return Built(
        silicon=built,
        full=gemm_power(chip, built, rate=top, top=top),
        measured=gemm_power(chip, built, rate=sustained, top=top),
    )


def gemm_power(
    chip: Chip, built: Silicon, *, rate: FlopPerSecond, top: FlopPerSecond
) -> GemmPower:
    """Power of a large square 16-bit product at the voltage that gives a rate.

    f(V) / f_op = rate / top;  P = rate / 2 (e_alu + 16 k) (V / V_op)^2
      + rate 3 / N e_byte + P_active (V / V_op)^2 f / f_op + P_static V / V_op + P_mem

    Assumes: operands of an N = 8192 product cross the memory once.
    """
    share = jnp.minimum(rate / top, 1.0)
    drive = rising_root(
        lambda v: operating_point(chip, v).clock_factor - share,
        low=0.0 * chip.voltage,
        high=chip.voltage,
    )
    point = operating_point(chip, drive)
    swing = point.dynamic_factor
    return GemmPower(
        arithmetic=rate / 2 * built.mac_energy_16bit * swing,
        delivery=rate / 2 * 16.0 * built.delivery_energy * swing,
        traffic=3.0 * rate / GEMM_SIZE * byte_energy(built),
        active=built.active_power * swing * point.clock_factor,
        static=built.static_power * point.static_factor + built.memory_power,
    )


def _total(power: GemmPower) -> float:
    return sum(float(getattr(power, part)) for part in POWER_PARTS)


def _family(style: str) -> str:
    return FAMILIES.get(style.partition("-")[0], OTHER)


def _sure(info: ChipInfo, path: str) -> bool:
    """Whether a value is stated, and neither announced, recalled nor assumed."""
    value = info.values.get(path)
    return value is not None and value.status not in UNSURE
