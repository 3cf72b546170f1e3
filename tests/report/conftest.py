"""A result made by hand from evaluated designs: no search, every field filled."""

from pathlib import Path

import numpy as np
import pytest

from codesign.config.design import build_design
from codesign.config.limits import Limit
from codesign.config.overrides import apply_overrides
from codesign.config.quality import load_quality_constants
from codesign.config.question import Search, Study
from codesign.config.variables import Variable
from codesign.core.paths import get_path
from codesign.cost.evaluate import evaluate
from codesign.optimize.result import Binding, Evidence, Result, Rung, Waterfall
from codesign.quality.evaluate import quality
from codesign.serving.design import Design
from codesign.study.service import service

FREE = (
    Variable("chip.dram.bandwidth", "B/s", 1e12, 12e12),
    Variable("chip.compute.macs", "MAC", 50e3, 2e6),
    Variable("model.num_kv_heads", "1", 1.0, 16.0, choices=(1.0, 2.0, 4.0, 8.0, 16.0)),
    Variable("model.weight_bits", "bit", 4.0, 16.0, choices=(4.0, 8.0, 16.0)),
    Variable("deployment.batch", "1", 1.0, 4096.0, integer=True),
    Variable("deployment.power_limit", "W", 150.0, 1400.0, high_path="chip.tdp"),
)
TUNED = ("deployment.batch=128", "deployment.power_limit=450 W")
CHANGED = (
    "chip.dram.bandwidth=6 TB/s",
    "chip.dram.stacks=7",
    "chip.compute.macs=200e3",
    "model.weight_bits=8",
    "model.num_kv_heads=4",
    "deployment.power_limit=500 W",
)


def build_study(baseline: Design, *, name: str) -> Study:
    return Study(
        name=name,
        path=Path("hand_made.yaml"),
        baseline=baseline,
        baseline_text={"chip": "h100-sxm", "model": "llama-3-70b"},
        tune=("deployment.",),
        free=FREE,
        minimize="energy_per_token_server",
        limits=(
            Limit(
                "time_per_output_token", "<=", "time_per_output_token <= 30 ms", 0.03
            ),
            Limit("chip.area", "<=", "chip.area <= baseline", baseline=True),
        ),
        off=("shoreline",),
        search=Search(starts=64, seed=7),
    )


def build_rung(name: str, design: Design, *, reference: Design, number: int) -> Rung:
    cost = evaluate(design)
    objective = float(cost.energy_per_token_server)
    stages = ("relaxed", "look", "integers", "polish")
    trace = [
        {
            "stage": stage,
            "seconds": 4.0 + 2.5 * index,
            "best": objective * (1.03 - 0.01 * index if index else 0.95),
            "feasible": 0.9 - 0.1 * index,
        }
        for index, stage in enumerate(stages)
    ]
    return Rung(
        name=name,
        design=design,
        cost=cost,
        quality=quality(
            design.model,
            reference=reference.model,
            constants=load_quality_constants(),
        ),
        service=service(design, cost),
        objective=objective,
        violation=-1e-4,
        worst="limits.decode_power",
        values=np.array([float(get_path(design, v.path)) for v in FREE]),
        relaxed=objective * 0.95 if number else np.nan,
        agreement=0.42 if number else np.nan,
        trace=tuple(trace) if number else (),
    )


def build_evidence(design: Design) -> Evidence:
    paths = {
        "chip.dram.bandwidth": -0.31,
        "chip.tdp": -0.02,
        "stack.dram_efficiency": -0.41,
        "stack.layer_time": 0.05,
        "technology.datacenter.host_power": 0.22,
        "technology.datacenter.conversion_efficiency": -1.0,
        "chip.style.path_energy": 0.18,
        "chip.style.static_power_density": 0.16,
        "chip.dram.device_energy": 0.12,
        "request.prompt_length": 0.27,
        "request.output_length": -0.14,
        "model.hidden_size": 0.9,
    }
    assert all(get_path(design, path) is not None for path in paths)
    return Evidence(
        binding=(
            Binding("time_per_output_token <= 30 ms", 1e-5, 0.37),
            Binding("limits.decode_power", 0.0, 0.08),
            Binding("quality.gap <= 0", 2e-4, 0.6),
        ),
        kkt=3.2e-4,
        relaxed=float(evaluate(design).energy_per_token_server),
        at_bound=("model.weight_bits at its lower bound",),
        elasticities=paths,
    )


def build_result(designs: dict[str, Design], *, name: str = "hand made") -> Result:
    given = next(iter(designs.values()))
    rungs = [
        build_rung(rung, design, reference=given, number=index)
        for index, (rung, design) in enumerate(designs.items())
    ]
    return Result(
        study=build_study(given, name=name),
        rungs=tuple(rungs),
        evidence=build_evidence(given),
        status="All limits are kept; made by hand.",
        seconds=31.4,
        timings={"compile": 12.5},
        waterfall=build_waterfall(rungs) if len(rungs) > 1 else None,
    )


def build_waterfall(rungs: list[Rung]) -> Waterfall:
    """A gain of which half belongs to the shape, and a tenth to rounding."""
    gain = float(np.log(rungs[-1].objective / rungs[1].objective))
    parts = (0.3 * gain, 0.5 * gain, 0.1 * gain)
    return Waterfall(
        groups=("formats", "shape", "memory"),
        start=float(np.log(rungs[1].objective)),
        steps=parts,
        shares=parts,
        rounding=0.1 * gain,
    )


def three_designs() -> dict[str, Design]:
    given = build_design(
        chip="h100-sxm",
        num_chips=8,
        model="llama-3-70b",
        prompt_length=1024,
        output_length=256,
        batch=16,
    )
    tuned = apply_overrides(given, TUNED)
    best = apply_overrides(tuned, CHANGED)
    return {"as given": given, "tuned": tuned, "co-designed": best}


@pytest.fixture(scope="session")
def result() -> Result:
    return build_result(three_designs())


@pytest.fixture(scope="session")
def long_ladder(result: Result) -> Result:
    designs = {rung.name: rung.design for rung in result.rungs}
    names = ("as given", "tuned", "formats", "model", "hardware", "joint")
    sources = ("as given", "tuned", "tuned", "tuned", "co-designed", "co-designed")
    return build_result(
        {n: designs[s] for n, s in zip(names, sources, strict=True)},
        name="<script>alert(1)</script> & ladder",
    )
