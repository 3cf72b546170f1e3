"""Which node does an inference chip need?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/09_nodes/run.py            # the page
    python experiments/09_nodes/run.py --small    # fewer draws
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import numpy as np

from codesign.core.paths import get_path, set_path
from codesign.hardware.silicon import silicon
from codesign.serving.design import Design
from experiments.common import figure as fig
from experiments.common.draws import (
    Case,
    build_case,
    column,
    elasticity,
    evaluate_cases,
)
from experiments.common.page import Run, band, elasticity_table, log, main, table
from experiments.common.verdict import part

COMMAND = "python experiments/09_nodes/run.py"
KINDS = {
    "SRAM only, LPU-like": ("groqchip1", fig.RED),
    "HBM, operator's chip": ("inhouse-asic", fig.BLUE),
    "HBM, GPU": ("h100-sxm", fig.ORANGE),
}
MEMORY, BALANCED, COMPUTE = KINDS
SCALED = ("chip.compute.macs", "chip.sram.capacity", "chip.sram.bandwidth")
LPU_CHIPS = 576
GROUP = 8
STEPS = 24
NANO = 1e-9


@cache
def area_of() -> Any:
    """Compiled area of a chip."""
    return jax.jit(lambda design: silicon(design.chip, design.technology).area)


def scaled(design: Design, factor: float) -> Design:
    """The design with more multipliers and SRAM on each chip."""
    for path in SCALED:
        design = set_path(design, path, value=get_path(design, path) * factor)
    return design


def at_node(case: Case, node: float, *, area: float) -> Case:
    """The chip made at a node with the same die area, filled by what fits.

    Chips without DRAM are as many as hold the model, in stages of eight.
    """
    moved = set_path(case.design, "chip.node", value=np.asarray(node))
    low, high = 0.02, 60.0
    for _ in range(STEPS):
        middle = math.sqrt(low * high)
        above = float(area_of()(scaled(moved, middle))) > area
        low, high = (low, middle) if above else (middle, high)
    design = scaled(moved, low)
    if float(design.chip.dram.stacks) == 0:
        stages = math.ceil(LPU_CHIPS / GROUP / low)
        for path, value in (
            ("system.num_chips", GROUP * stages),
            ("system.domain_size", GROUP * stages),
            ("deployment.pipeline_parallel", stages),
        ):
            design = set_path(design, path, value=np.asarray(float(value)))
    return replace(case, design=design)


def kind_cases(run: Run, kind: str, *, stack: str | None) -> list[Case]:
    """One kind of chip at every node."""
    base = run.study.baseline
    chip, _ = KINDS[kind]
    dry = chip == "groqchip1"
    case = build_case(
        kind,
        chip=chip,
        stack=stack,
        num_chips=LPU_CHIPS if dry else 8,
        tensor_parallel=GROUP,
        pipeline_parallel=LPU_CHIPS // GROUP if dry else 1,
        model=str(run.study.resolved["baseline"]["model"]),
        batch=float(base.deployment.batch),
        prompt_length=float(base.request.prompt_length),
        output_length=float(base.request.output_length),
        overrides=["model.weight_bits=8 bit", "model.activation_bits=8 bit"],
    )
    area = float(area_of()(case.design))
    return [at_node(case, node, area=area) for node in run.values("chip.node")]


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    nodes = run.values("chip.node")
    found: dict[str, dict[str, list[Any]]] = {}
    cases: dict[str, list[Case]] = {}
    for stack in ("ideal", None):
        log.info("stack %s", stack or "own")
        group = {}
        for kind in KINDS:
            cases[kind] = kind_cases(run, kind, stack=stack)
            group[kind] = evaluate_cases(cases[kind], draws=run.draws)
        found[stack or "own"] = group
    draw(run, nodes, found=found["ideal"])
    run.add("# 09 Which node does an inference chip need?")
    claim(run, nodes, found=found)
    page(run, nodes, found=found, cases=cases)


def draw(run: Run, nodes: Sequence[float], *, found: dict[str, list[Any]]) -> None:
    """Joules and dollars per token over the node."""
    with fig.figure(run, "nodes", columns=2, size=(8.2, 4.4)) as both:
        for axes, path, scale, title in (
            (both[0], "energy_per_token_server", 1.0, "energy per token, server [J]"),
            (both[1], "usd_per_token", 1e-6, "dollars per million tokens"),
        ):
            for kind, (_, color) in KINDS.items():
                fig.line(
                    axes,
                    np.asarray(nodes) / NANO,
                    y=list(column(found[kind], path)),
                    label=kind,
                    color=color,
                    scale=scale,
                    marker="o",
                )
            fig.log_axes(axes)
            axes.set_xticks([28, 16, 12, 7, 5, 3, 2], [28, 16, 12, 7, 5, 3, 2])
            axes.invert_xaxis()
            axes.set(xlabel="node [nm]", ylabel=title)
        fig.legend_above(both[0], columns=3)


def claim(
    run: Run, nodes: Sequence[float], *, found: dict[str, dict[str, list[Any]]]
) -> None:
    """Older nodes against newer ones, and against the other kind of chip."""
    place = {round(node / NANO): i for i, node in enumerate(nodes)}
    ideal = found["ideal"]
    usd = {kind: column(ideal[kind], "usd_per_token") for kind in KINDS}
    joule = {kind: column(ideal[kind], "energy_per_token_server") for kind in KINDS}

    def over(values: np.ndarray, old: int, *, new: int) -> np.ndarray:
        return values[place[old]] / values[place[new]]

    best = np.asarray(nodes)[usd[MEMORY].argmin(axis=0)] / NANO
    best_hbm = np.asarray(nodes)[usd[BALANCED].argmin(axis=0)] / NANO
    cross = usd[MEMORY][place[16]] / usd[COMPUTE][place[4]]
    cross_joule = joule[MEMORY][place[16]] / joule[COMPUTE][place[4]]
    own = found["own"]
    own_cross = (
        own[MEMORY][place[16]].usd_per_token / own[COMPUTE][place[4]].usd_per_token
    )
    run.claim(
        12,
        "Memory-centric inference chips can be made on 7-14 nm nodes and still win.",
        parts=[
            part("at 7 nm a memory-centric chip costs at most 1.2 times the dollars "
                 "per token of the same at 3 nm", over(usd[MEMORY], 7, new=3) < 1.2),
            part("at 16 nm too", over(usd[MEMORY], 16, new=3) < 1.2),
            part("at 7 nm it takes at most 1.2 times the joules",
                 over(joule[MEMORY], 7, new=3) < 1.2),
            part("at 16 nm it beats a 4 nm GPU in dollars per token", cross < 1),
            part("at 16 nm it beats a 4 nm GPU in joules per token", cross_joule < 1),
        ],
        gist=f"""Per die area the memory-centric chip at 7 nm costs
        {band(over(usd[MEMORY], 7, new=3))} times the dollars and
        {band(over(joule[MEMORY], 7, new=3))} times the joules of 3 nm, at 16 nm
        {band(over(usd[MEMORY], 16, new=3))} and
        {band(over(joule[MEMORY], 16, new=3))}; its
        dollars are least at {band(best, "nm")}, those of the operator's HBM chip at
        {band(best_hbm, "nm")}. Against a GPU at 4 nm the one at 16 nm takes
        {band(cross)} times the dollars and {band(cross_joule)} times the joules with
        perfect software, {band(own_cross)} times the dollars with their own.""",
    )  # fmt: skip


def page(
    run: Run,
    nodes: Sequence[float],
    *,
    found: dict[str, dict[str, list[Any]]],
    cases: dict[str, list[Case]],
) -> None:
    """Tables and caveats."""
    run.add("![Joules and dollars per token over the node](nodes.svg)", "## Numbers")
    titles = {"ideal": "Perfect software:", "own": "Each with its own software:"}
    for stack, title in titles.items():
        rows = [
            [f"{node / NANO:.2g}"]
            + [
                f"{band(cost.energy_per_token_server)}; "
                f"{band(cost.usd_per_token, scale=1e-6)}"
                for cost in (found[stack][kind][i] for kind in KINDS)
            ]
            for i, node in enumerate(nodes)
        ]
        head = ["node [nm]", *(f"{kind}: J; USD/M" for kind in KINDS)]
        run.add(title, *table(head, rows))
    rows = [
        [f"{node / NANO:.2g}"]
        + [
            f"{float(c.design.chip.sram.capacity) / 1e6:.0f} MB; "
            f"{float(c.design.system.num_chips):g}"
            for c in (cases[kind][i] for kind in KINDS)
        ]
        for i, node in enumerate(nodes)
    ]
    middle = len(nodes) // 2
    run.add(
        "SRAM per chip and chips, at equal die area:",
        *table(["node [nm]", *KINDS], rows),
        "## What matters most",
        *elasticity_table(
            [
                (f"USD/token, {kind}", elasticity(cases[kind][middle], of=metric))
                for kind in (MEMORY, BALANCED)
                for metric in ("usd_per_token",)
            ]
        ),
        "## What would change the verdict",
        """- Wafer prices: what a wafer of the newest node costs over one of 7 nm
        decides
        the dollars; SRAM hardly shrinks, so it pays the price without the density.""",
        """- The design cost of a node, which falls on few chips for a small maker,
        speaks
        for older nodes and is counted only for the operator's chip.""",
        """- The clock is that of the style at every node; faster transistors would help
        compute-centric chips more.""",
        """Not measured: no chip is sold at two nodes with the same design. The model's
        areas over nodes were checked on 20 dies (benchmarks/results/silicon.md).""",
    )


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    return main(__file__, write, change="baseline.batch=16", arguments=arguments)


if __name__ == "__main__":
    run_experiment()
