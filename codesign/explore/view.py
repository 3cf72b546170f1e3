"""What does the page draw? Plain numbers in SI of one frame.

Frame, pinned frame, intervals -> metrics with ends, breakdowns, roofline, die.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from codesign.calibrate.intervals import stack_intervals
from codesign.config.limits import metric_units
from codesign.config.units import display_units
from codesign.core.paths import get_path, path_units
from codesign.explore.frame import Frame, slope
from codesign.explore.limits import Use
from codesign.explore.sliders import Slider
from codesign.quality.validity import Validity
from codesign.report.breakdown import (
    COMPONENTS,
    DURATIONS,
    HOST,
    area_parts,
    energy_parts,
    memory_roofs,
    peak_roofs,
    step_operators,
    time_parts,
)
from codesign.report.tables import BETTER, METRICS, metric_title
from codesign.study.plain import finite_or_none

TILES = (
    ("energy_per_token_server", "energy", "J/token at the server's plug"),
    ("energy_per_token", "energy, chips", "J/token of the chips alone"),
    ("time_per_output_token", "TPOT", "mean time per output token"),
    ("time_to_first_token", "TTFT", "time to first token"),
    ("throughput", "throughput", "output tokens per second, all chips"),
    ("usd_per_token", "price", "USD per million output tokens, facility"),
    ("power", "power", "mean power per chip"),
    ("quality.gap", "quality gap", "ln of training compute to the reference"),
)
"""Metric, heading and explanation of every tile, in their order."""

MEASURED = {
    "time_per_output_token": ("step_time", 1.0),
    "inter_token_latency": ("inter_token_latency", 1.0),
    "throughput": ("step_time", -1.0),
    "power": ("power", 1.0),
    "energy_per_token": ("energy_per_token", 1.0),
}
"""Interval of each metric that was held against measurements; -1: the inverse."""


def metric_choices(minimize: str) -> list[dict[str, Any]]:
    """Metrics that a slope may be taken of, the study's objective among them."""
    tiles = {path: (title, words) for path, title, words in TILES}
    paths = [*tiles, *(path for path, _, _ in METRICS if path not in tiles)]
    paths += [] if minimize in paths else [minimize]
    units = metric_units()
    return [
        {
            "path": path,
            "title": tiles.get(path, (metric_title(path), ""))[0],
            "words": tiles.get(path, ("", metric_title(path)))[1],
            "units": display_units(units[path]),
            "tile": path in tiles,
            "better": BETTER.get(path, -1),
            "signed": path.startswith("quality.") and path != "quality.loss",
        }
        for path in paths
    ]


def metrics_view(
    frame: Frame, *, pinned: Frame, stack: str, paths: Sequence[str]
) -> dict[str, Any]:
    """Value, value of the pinned design, and ends of the 80 % interval by metric.

    Quality has the 5 to 95 % band over the draws of its constants instead.
    """
    found: dict[str, Any] = {}
    for path in paths:
        value, old = frame.metric(path), pinned.metric(path)
        low, high = _ends(path, frame, stack=stack)
        found[path] = {"value": value, "pinned": old, "low": low, "high": high}
    return finite_or_none(found)


def _ends(path: str, frame: Frame, *, stack: str) -> tuple[float, float]:
    value = frame.metric(path)
    if path == "quality.gap" and frame.judged:
        return float(frame.band.gap.low), float(frame.band.gap.high)
    if path not in MEASURED or not stack:
        return math.nan, math.nan
    name, power = MEASURED[path]
    interval = stack_intervals(stack)[name]
    ends = [value * math.exp(power * end) for end in (interval.low, interval.high)]
    return min(ends), max(ends)


def elasticity_view(
    frame: Frame, sliders: Sequence[Slider], *, tied: Mapping[str, tuple[str, ...]]
) -> dict[str, float | None]:
    """d ln metric / d ln parameter of every slider; None where it stands at zero.

    Of metrics that may be negative, d metric / d ln parameter.
    """
    signed = frame.of.startswith("quality.")
    size = 1.0 if signed else frame.value
    found: dict[str, float | None] = {}
    for slider in sliders:
        at = float(get_path(frame.design, slider.path))
        slopes = slope(frame, slider.path, tied=tied.get(slider.path, ()))
        known = at > 0 and size != 0 and (frame.judged or not signed)
        found[slider.path] = float(slopes / size) if known else None
    return finite_or_none(found)


def limits_view(uses: Sequence[Use]) -> list[dict[str, Any]]:
    """Every limit with its use; what is not finite is broken."""
    return [
        {
            "title": use.title,
            "asked": use.asked,
            "broken": use.broken,
            "difference": use.asked and use.difference,
            "excess": finite_or_none(float(use.excess)),
        }
        for use in uses
    ]


def breakdown_view(frame: Frame) -> dict[str, Any]:
    """Joules per token and seconds per step by part, memory and die of a chip."""
    cost, design = frame.cost, frame.design
    built, dram = cost.chip, design.chip.dram
    energy = energy_parts(frame)
    order = [*COMPONENTS.values(), HOST]
    return finite_or_none(
        {
            "energy": [
                {
                    "name": name,
                    "decode": energy["decode"].get(name, 0.0),
                    "prefill": energy["prefill"].get(name, 0.0),
                    "server": energy["server"].get(name, 0.0),
                }
                for name in order
            ],
            "time": [
                {"name": name, **{s: parts[name] for s, parts in _steps(frame).items()}}
                for name in DURATIONS.values()
            ],
            "memory": {
                "weights": float(cost.memory.weight_bytes),
                "kv": float(cost.memory.used - cost.memory.weight_bytes),
                "available": float(cost.memory.available),
                "weight_residency": float(cost.memory.weight_residency),
                "kv_residency": float(cost.memory.kv_residency),
            },
            "die": {
                "area": float(built.area),
                "die_area": float(built.die_area),
                "dies": float(design.chip.dies),
                "reticle": float(design.technology.fab.reticle_area),
                "parts": area_parts(frame),
                "stacks": float(dram.stacks),
                "stack_capacity": float(dram.stack_capacity),
                "beside": float(dram.footprint) == 0,
                "price": float(built.price),
            },
            "voltages": {
                "decode": float(cost.decode_voltage),
                "prefill": float(cost.prefill_voltage),
            },
            "max_batch": float(cost.max_batch),
        }
    )


def _steps(frame: Frame) -> dict[str, dict[str, float]]:
    found = time_parts(frame)
    return {"decode": found["decode step"], "prompt": found["prompt step"]}


def quality_view(frame: Frame) -> dict[str, Any] | None:
    """Chance to be no worse than the reference, and what lies outside the evidence."""
    if not frame.judged:
        return None
    found = frame.outcome.quality.validity
    outside = [
        name.replace("_", " ")
        for name in path_units(Validity)
        if float(getattr(found, name)) > 0
    ]
    return {"chance": float(frame.band.no_worse), "outside": outside}


def roofline_view(frame: Frame) -> dict[str, Any]:
    """Operators of decode and prompt step, and the roofs of the chip."""
    found = [
        operator
        for step in ("decode", "prompt")
        for operator in step_operators(frame.design, name="here", step=step)
    ]
    return finite_or_none(
        {
            "peaks": [{"bits": b, "peak": p} for b, p in peak_roofs(frame).items()],
            "memories": [
                {"name": n, "bandwidth": b} for n, b in memory_roofs(frame).items()
            ],
            "operators": [
                {
                    "step": o.step,
                    "name": o.name,
                    "intensity": o.intensity,
                    "rate": o.rate,
                    "seconds": o.seconds,
                    "share": o.share,
                    "binding": o.binding,
                }
                for o in found
                if o.flops > 0 and o.traffic > 0
            ],
        }
    )
