"""Where do joules, seconds, area and quality go, and what moves them?

``Result`` -> named numbers in SI, shared by the figures and by the tables that
stand in for them (``breakdown_tables.py``).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from codesign.config.technology import LinkKind, MemoryKind, StoreKind
from codesign.cost.detail import RESOURCES, operator_costs
from codesign.cost.energy import EnergyBill
from codesign.cost.latency import TimeBill
from codesign.cost.record import Cost
from codesign.optimize.result import Result, Rung
from codesign.optimize.trace import DESCENTS
from codesign.quality.capacity import law_size
from codesign.report.tables import shown_rungs
from codesign.serving.design import Design

Parts = dict[str, float]
ON_CHIP = "on-chip memory"
SMALLEST_RESIDENT = 0.01  # share of operands on chip that merits a roof

COMPONENTS = {
    "compute": "matrix arithmetic",
    "converter": "converters of analog arrays",
    "vector": "vector units",
    "sram": "on-chip memory",
    "dram": "DRAM",
    "path": "path from DRAM to operands",
    "link": "chip-to-chip links",
    "active": "clocks and control, busy",
    "static": "leakage, idle, standby",
}
HOST = "host, fans, conversion"
DURATIONS = {
    "compute": "matrix arithmetic",
    "memory": "memory traffic",
    "vector": "vector units",
    "link": "collectives",
    "launch": "kernel launches",
    "host": "host software",
    "eager": "launch floor, large steps",
}
SURCHARGES = {
    "kv_share": "shared KV heads",
    "hybrid": "recurrent or windowed layers",
    "vocabulary": "vocabulary",
    "precision_weights": "weight format",
    "precision_activations": "activation format",
    "precision_kv": "KV format",
    "sparse_weights": "zeros in weights",
    "sparse_activations": "zeros in activations",
}
CAPACITY = {
    "sparsity": "experts held but not active",
    "granularity": "expert granularity",
    "aspect": "width over depth",
    "depth": "depth",
    "ffn_share": "share of FFN",
    "density": "zeros in weights, trained",
}
GROUPS = {
    "request.": "request",
    "stack.": "serving stack",
    "technology.": "technology",
    "quality.": "quality law",
    "chip.style.": "technology",
    "chip.anchor.": "technology",
    **{f"chip.dram.{name}": "technology" for name in MemoryKind.__dataclass_fields__},
    **{f"chip.link.{name}": "technology" for name in LinkKind.__dataclass_fields__},
    **{f"chip.store.{name}": "technology" for name in StoreKind.__dataclass_fields__},
    "": "fixed part of the design",
}
FREE = "free variable"


class Costed(Protocol):
    """A design beside its cost, such as a rung of a search."""

    @property
    def design(self) -> Design:
        """Chip, model and deployment."""
        ...

    @property
    def cost(self) -> Cost:
        """What it takes."""
        ...


def energy_parts(rung: Costed) -> dict[str, Parts]:
    """Joules per output token by phase and component; they sum to the server's.

    prefill = mean step - decode step;  server = plug - chip
    """
    cost = rung.cost
    per_step = float(rung.design.system.num_chips / cost.batch)
    names = EnergyBill.__dataclass_fields__
    decode = {
        COMPONENTS[n]: per_step * float(getattr(cost.breakdown.decode_joules, n))
        for n in names
    }
    prefill = {
        COMPONENTS[n]: float(getattr(cost.breakdown.energy, n)) - decode[COMPONENTS[n]]
        for n in names
    }
    host = float(cost.energy_per_token_server - cost.energy_per_token)
    return {"decode": decode, "prefill": prefill, "server": {HOST: host}}


def time_parts(rung: Costed) -> dict[str, Parts]:
    """Seconds by component of the decode step and of the step of one prompt."""
    bills = {
        "decode step": rung.cost.breakdown.decode_seconds,
        "prompt step": rung.cost.breakdown.prompt_seconds,
    }
    names = TimeBill.__dataclass_fields__
    return {
        step: {DURATIONS[n]: float(getattr(bill, n)) for n in names}
        for step, bill in bills.items()
    }


def area_parts(rung: Costed) -> Parts:
    """Silicon of a package by part; the anchor's residual is spread over all."""
    built = rung.cost.chip
    parts = {
        "matrix and vector units": float(built.compute_area),
        "on-chip memory": float(built.sram_area),
        "DRAM and link interfaces": float(built.phy_area),
        "cells of weights": float(built.store_area),
    }
    factor = float(built.area) / sum(parts.values())
    return {name: factor * value for name, value in parts.items()}


def quality_parts(result: Result, rung: Rung) -> Parts:
    """Contributions to the gap in nats against the baseline's model; they add up."""
    terms, reference = rung.quality.terms, result.as_given.quality.terms
    parts = {
        title: float(getattr(terms, name) - getattr(reference, name))
        for name, title in SURCHARGES.items()
    }
    rest = float(rung.quality.gap_nats) - sum(parts.values())
    return {"size and shape": rest, **parts}


def capacity_parts(result: Result, rung: Rung) -> Parts:
    """Contributions to ln(effective parameters) against the baseline's model."""
    before, after = result.as_given, rung
    sizes = [law_size(r.design.model).active for r in (after, before)]
    parts = {"active parameters": float(np.log(sizes[0] / sizes[1]))}
    new, old = after.quality.terms.capacity, before.quality.terms.capacity
    for name, title in CAPACITY.items():
        parts[title] = float(getattr(new, name) - getattr(old, name))
    return parts


@dataclass(frozen=True)
class Operator:
    """One operator of one step on one chip: work, time and what binds it."""

    rung: str
    step: str
    name: str
    flops: float
    traffic: float
    seconds: float
    share: float
    binding: str

    @property
    def intensity(self) -> float:
        """FLOP per byte of operands from DRAM and resident memory."""
        return self.flops / self.traffic if self.traffic else np.inf

    @property
    def rate(self) -> float:
        """FLOP per second that the operator reaches."""
        return self.flops / self.seconds


def operators(result: Result) -> tuple[Operator, ...]:
    """Operators of the decode and prompt steps on the tuned and the best chip."""
    return tuple(
        operator
        for rung in shown_rungs(result)[-2:]
        for step in ("decode", "prompt")
        for operator in step_operators(rung.design, name=rung.name, step=step)
    )


def step_operators(design: Design, *, name: str, step: str) -> list[Operator]:
    """Operators of one kind of step of a settled design, which goes by a name."""
    costs = operator_costs(design, kind=step)
    total = sum(float(c.seconds) for c in costs.values())
    return [
        Operator(
            rung=name,
            step=step,
            name=operator,
            flops=float(c.flops),
            traffic=float(c.dram_bytes + c.resident_bytes),
            seconds=float(c.seconds),
            share=float(c.seconds) / total,
            binding=RESOURCES[int(c.binding)],
        )
        for operator, c in costs.items()
    ]


def peak_roofs(rung: Costed) -> dict[int, float]:
    """Peak FLOP/s of a chip by bits of the format; equal rates stand once."""
    compute = rung.design.chip.compute
    rates = {16: 1.0, 8: float(compute.rate_8bit), 4: float(compute.rate_4bit)}
    peaks: dict[int, float] = {}
    for bits, rate in rates.items():
        peak = rate * float(rung.cost.chip.peak_compute)
        if peak not in peaks.values():
            peaks[bits] = peak
    return peaks


def memory_roofs(rung: Costed) -> dict[str, float]:
    """Bandwidth of the memories that operands come from."""
    built, memory = rung.cost.chip, rung.cost.memory
    resident = max(float(memory.weight_residency), float(memory.kv_residency))
    found: dict[str, float] = {}
    if float(built.dram_bandwidth) > 0:
        found["DRAM"] = float(built.dram_bandwidth)
    if not found or resident > SMALLEST_RESIDENT:
        found[ON_CHIP] = float(built.sram_bandwidth)
    return found


@dataclass(frozen=True)
class Lever:
    """A parameter and d ln objective / d ln parameter, limits held."""

    path: str
    elasticity: float
    group: str


def levers(result: Result, *, count: int = 14) -> tuple[Lever, ...]:
    """The parameters that move the objective most, strongest first."""
    found = result.evidence.elasticities if result.evidence else {}
    ordered = sorted(found.items(), key=lambda item: -abs(item[1]))
    free = {variable.path for variable in result.study.free}
    return tuple(
        Lever(path, e, FREE if path in free else lever_group(path))
        for path, e in ordered[:count]
    )


def lever_group(path: str) -> str:
    """What a parameter that is not free belongs to, such as ``technology``."""
    return next(group for prefix, group in GROUPS.items() if path.startswith(prefix))


@dataclass(frozen=True)
class Progress:
    """One stage of one rung's search: when it ended and its best objective.

    That of a ``relaxed`` stage is no design: integers and choices are free.
    """

    rung: str
    stage: str
    relaxed: bool
    seconds: float
    objective: float
    feasible: float


def progress(result: Result) -> tuple[Progress, ...]:
    """Stages of all searches one after another, in seconds since the first."""
    found: list[Progress] = []
    start = 0.0
    for rung in result.rungs:
        last = 0.0
        for entry in rung.trace:
            last = float(entry["seconds"])
            found.append(
                Progress(
                    rung=rung.name,
                    stage=str(entry["stage"]),
                    relaxed=entry["stage"] in DESCENTS,
                    seconds=start + last,
                    objective=float(entry["best"]),
                    feasible=float(entry["feasible"]),
                )
            )
        start += last
    return tuple(found)
