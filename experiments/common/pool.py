"""Which chip is best for which workload, out of one pool of chips?

A base chip and ranges of its parameters -> many legal chips, each priced on every
workload at its best batch, so that specialists, all-rounders and pairs are read off
the same table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from codesign.core.paths import set_path
from codesign.core.record import as_float64
from codesign.cost.passes import PassCost, pass_cost, training_cost
from codesign.hardware.silicon import power_density_limit
from codesign.serving.design import Design
from codesign.serving.load import StepTokens
from codesign.serving.training import Training, denoising_pass, prompt_pass
from experiments.common.draws import Case, evaluate_cases, evaluate_lanes

Floats = NDArray[np.float64]
RANGES = {
    "chip.compute.macs": (2e4, 1.2e6),
    "chip.sram.capacity": (16e6, 1.0e9),
    "chip.dram.stacks": (1.0, 8.0),
    "chip.link.bandwidth": (50e9, 1.8e12),
    "chip.tdp": (150.0, 1400.0),
}
"""Lowest and highest value of what may change; HBM runs at the pins' speed."""
SLACK = 1e-6
ELITE, WIDTH = 12, 0.12  # chips kept per workload, step around them in the unit box
METRICS = ("usd_per_token", "energy_per_token_server")


@dataclass(frozen=True)
class Workload:
    """A case on the base chip, the kind of its pass, its sizes and its limit.

    ``extra`` holds one tuple per batch to choose from: sequences, length, context.
    ``slowest`` is the largest duration of a pass.
    """

    name: str
    case: Case
    kind: str
    sizes: tuple[tuple[float, float, float], ...]
    slowest: float = np.inf


def decode_pass(design: Design, extra: jax.Array) -> dict[str, jax.Array]:
    """A decode step of ``extra[0]`` sequences with ``extra[2]`` tokens of context."""
    zero = 0.0 * extra[0]
    step = StepTokens(
        sequences=extra[0],
        context=extra[2],
        prefill_tokens=zero,
        prompts=zero,
        prefill_context=zero,
        queries=zero + 1.0,
    )
    return _facts(design, pass_cost(design, step))


def prefill_pass(design: Design, extra: jax.Array) -> dict[str, jax.Array]:
    """A pass over ``extra[0]`` prompts of ``extra[1]`` tokens."""
    step = prompt_pass(extra[1], prompts=extra[0])
    return _facts(design, pass_cost(design, step))


def video_pass(design: Design, extra: jax.Array) -> dict[str, jax.Array]:
    """A denoising pass over ``extra[0]`` samples of ``extra[1]`` tokens."""
    step = denoising_pass(extra[1], samples=extra[0])
    return _facts(design, pass_cost(design, step))


def training_pass(design: Design, extra: jax.Array) -> dict[str, jax.Array]:
    """A training step of ``extra[0]`` sequences of ``extra[1]`` tokens a replica."""
    plan = Training(sequences=extra[0], length=extra[1])
    return _facts(design, training_cost(design, plan))


KINDS = {
    "decode": decode_pass,
    "prefill": prefill_pass,
    "video": video_pass,
    "training": training_pass,
}


def _facts(design: Design, cost: PassCost) -> dict[str, jax.Array]:
    """Metrics of a pass and how far the chip is from what can be built."""
    chip, built = design.chip, cost.chip
    density = power_density_limit(chip, design.technology)
    limits = jnp.stack(
        [
            built.die_area / design.technology.fab.reticle_area,
            built.edge_used / built.edge_available,
            chip.tdp / built.area / density,
        ]
    )
    return {
        "usd_per_token": cost.usd_per_token,
        "energy_per_token_server": cost.energy_per_token_server,
        "duration": cost.duration,
        "memory": cost.memory_used / cost.memory_available,
        "limit": jnp.max(limits),
        "price": built.price,
        "area": built.area,
    }


def chip_changes(design: Design, values: Mapping[str, float]) -> dict[str, float]:
    """Parameters of a chip of the pool: HBM at full pins, SRAM as fast as its size."""
    growth = values["chip.sram.capacity"] / float(design.chip.sram.capacity)
    pins = values["chip.dram.stacks"] * float(design.chip.dram.stack_bandwidth)
    return {
        **values,
        "chip.sram.bandwidth": float(design.chip.sram.bandwidth) * growth,
        "chip.dram.bandwidth": pins,
        "deployment.power_limit": values["chip.tdp"],
    }


def with_chip(case: Case, values: Mapping[str, float]) -> Case:
    """The case on a chip of the pool."""
    design = case.design
    for path, value in chip_changes(design, values).items():
        design = set_path(design, path, value=np.asarray(float(value)))
    return replace(case, design=design)


def chips_at(unit: Floats) -> list[dict[str, float]]:
    """Chips at points of the unit box; stacks are whole."""
    found = []
    for row in unit:
        values = {
            path: low * (high / low) ** u
            for (path, (low, high)), u in zip(RANGES.items(), row, strict=True)
        }
        values["chip.dram.stacks"] = float(round(values["chip.dram.stacks"]))
        found.append(values)
    return found


def price_chips(
    chips: Sequence[Mapping[str, float]],
    workload: Workload,
    *,
    draws: int = 0,
) -> dict[str, Floats]:
    """Metrics of each chip at its best batch: chips x draws; infinite where illegal."""
    found = _drawn(chips, workload, draws=draws) if draws else _lanes(chips, workload)
    central = {k: found[k][..., :1] for k in ("memory", "limit", "duration")}
    legal = (
        (central["memory"] <= 1 + SLACK)
        & (central["limit"] <= 1 + SLACK)
        & (central["duration"] <= workload.slowest)
    )
    done = {m: np.where(legal, found[m], np.inf).min(axis=1) for m in METRICS}
    return {**done, "price": found["price"][:, 0], "area": found["area"][:, 0]}


def _drawn(
    chips: Sequence[Mapping[str, float]], workload: Workload, *, draws: int
) -> dict[str, Floats]:
    """Facts of every chip and size under draws: chips x sizes x draws."""
    cases = [
        replace(with_chip(workload.case, chip), extra=size)
        for chip in chips
        for size in workload.sizes
    ]
    found = evaluate_cases(cases, draws=draws, function=KINDS[workload.kind])
    shape = (len(chips), len(workload.sizes), -1)
    return {k: np.stack([f[k] for f in found]).reshape(shape) for k in found[0]}


def _lanes(
    chips: Sequence[Mapping[str, float]], workload: Workload
) -> dict[str, Floats]:
    """Facts of every chip and size at the central constants, as one batch of lanes."""
    count, design = len(chips), as_float64(workload.case.design)
    whole: Design = jax.tree.map(
        lambda leaf: np.broadcast_to(np.asarray(leaf), (count, *leaf.shape)), design
    )
    columns = [chip_changes(design, chip) for chip in chips]
    for path in columns[0]:
        whole = set_path(whole, path, value=np.array([c[path] for c in columns]))
    function = KINDS[workload.kind]
    found = [
        evaluate_lanes(whole, np.tile(size, (count, 1)), function=function)
        for size in workload.sizes
    ]
    return {k: np.stack([f[k] for f in found], axis=1)[..., None] for k in found[0]}


@dataclass(frozen=True)
class Pool:
    """Chips, and a column of costs per workload for each of two metrics."""

    workloads: tuple[Workload, ...]
    chips: list[dict[str, float]]
    costs: dict[str, Floats]

    def best(self, metric: str, column: int) -> int:
        """The specialist of a workload."""
        return int(np.argmin(self.costs[metric][:, column]))

    def flexible(self, metric: str, columns: Sequence[int] | None = None) -> int:
        """The chip of least mean ln(cost) over workloads."""
        chosen = list(columns) if columns else list(range(len(self.workloads)))
        return int(np.argmin(self.scores(metric, chosen)))

    def scores(self, metric: str, columns: Sequence[int]) -> Floats:
        """Mean ln(cost over the best) of every chip."""
        costs = self.costs[metric][:, list(columns)]
        least = costs.min(axis=0)
        return np.where(
            np.isfinite(costs).all(axis=1),
            np.log(np.where(np.isfinite(costs), costs, 1.0) / least).mean(axis=1),
            np.inf,
        )


def build_pool(
    workloads: Sequence[Workload], *, chips: int, rounds: int, seed: int = 0
) -> Pool:
    """A pool: first all over the box, then around the best of each workload."""
    sampler: Any = qmc.Sobol(len(RANGES), scramble=True, rng=seed)
    generator = np.random.default_rng(seed)
    unit = sampler.random_base2(int(np.log2(chips)))
    known = np.zeros((0, len(RANGES)))
    costs: dict[str, Floats] = {m: np.zeros((0, len(workloads))) for m in METRICS}
    for turn in range(rounds + 1):
        built = chips_at(unit)
        priced = [price_chips(built, workload) for workload in workloads]
        for metric in METRICS:
            fresh = np.stack([each[metric][:, 0] for each in priced], axis=1)
            costs[metric] = np.concatenate([costs[metric], fresh])
        known = np.concatenate([known, unit])
        pool = Pool(tuple(workloads), chips_at(known), costs)
        unit = _around(known, pool, count=chips // 2, generator=generator, turn=turn)
    return pool


def _around(
    known: Floats,
    pool: Pool,
    *,
    count: int,
    generator: np.random.Generator,
    turn: int,
) -> Floats:
    """Points around the best chips of each workload and the best all-rounders."""
    elite: list[int] = []
    for metric in METRICS:
        columns = range(len(pool.workloads))
        ranked = [pool.costs[metric][:, i] for i in columns]
        ranked.append(pool.scores(metric, list(columns)))
        for values in ranked:
            elite += list(np.argsort(values)[:ELITE])
    chosen = generator.choice(np.array(elite), size=count)
    step = WIDTH / 2**turn * generator.standard_normal((count, known.shape[1]))
    return np.clip(known[chosen] + step, 0.0, 1.0)
