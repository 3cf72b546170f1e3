"""Do expert models need other chips?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/08_moe_and_chip/run.py            # the page
    python experiments/08_moe_and_chip/run.py --small    # fewer chips and draws
"""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import codesign as cd
from codesign.core.paths import set_path
from codesign.model.parameters import count_parameters
from codesign.operators.experts import touched_experts
from codesign.serving.design import set_parameter
from experiments.common import figure as fig
from experiments.common.draws import (
    SOFTWARE,
    Case,
    at,
    build_case,
    case_of,
    column,
    elasticity,
    evaluate_cases,
    on_stack,
)
from experiments.common.page import (
    Run,
    band,
    clause,
    elasticity_table,
    interval,
    log,
    main,
    measured,
    table,
    two,
)
from experiments.common.pool import Workload, build_pool, price_chips
from experiments.common.quality import closing_growth
from experiments.common.verdict import part

COMMAND = "python experiments/08_moe_and_chip/run.py"
DENSE = "qwen3-14b"
LARGE, LARGE_DENSE = "qwen3-235b-a22b", "llama-3-70b"
KNOWN = {"experts": (18.0, 43.0), "dense": (63.0, 63.0)}
"""Measured shares in percent that came with the claim: expert-parallel on H100."""
FACTORS = np.geomspace(0.3, 2.0, 24)
EXPERT_COSTS = ("expert_kernel_time", "expert_layer_time", "eager_expert_layer_time")
BANDWIDTH = {"H100": 3.35e12, "B200": 8.0e12}
FEW = (6.0, 20.0)  # measured batches that count as few
PERFECT = "perfect software"
DEARER = 1.1  # cost over the best that counts as dearer
FASTEST = 0.02  # s per token
USD, JOULE = "usd_per_token", "energy_per_token_server"


def equal_dense(run: Run) -> tuple[Case, float]:
    """The dense model with as many layers as make it as good as the expert model."""
    base, request = run.study.baseline, run.study.baseline.request
    case = build_case(
        "dense",
        chip=str(run.study.resolved["baseline"]["chip"]),
        num_chips=float(base.system.num_chips),
        tensor_parallel=float(base.deployment.tensor_parallel),
        model=DENSE,
        batch=float(base.deployment.batch),
        prompt_length=float(request.prompt_length),
        output_length=float(request.output_length),
    )
    layers = float(case.design.model.num_layers)
    grown = [
        set_parameter(
            case.design, "model.num_layers", value=np.asarray(layers * factor)
        ).model
        for factor in FACTORS
    ]
    needed = float(np.nanmedian(closing_growth(grown, FACTORS, reference=base.model)))
    return at(case, model__num_layers=max(1.0, round(layers * needed))), needed


def step_bytes(case: Case, batch: float) -> float:
    """Weight bytes that a decode step must read, all chips together."""
    model = case.design.model
    count = count_parameters(model)
    touched = touched_experts(
        batch,
        num_experts=model.num_experts,
        num_active=model.num_active_experts,
        skew=0.0,
    )
    share = float(touched) / float(model.num_experts)
    weights = float(count.total - count.embedding - count.experts)
    return 2 * (weights + float(count.experts) * share)


def bandwidth_share(case: Case, cost: Any) -> np.ndarray:
    """Share of the HBM bandwidth that useful weight bytes take in a decode step."""
    names = ("compute", "memory", "vector", "link", "launch", "host", "eager")
    seconds = cost.breakdown.decode_seconds
    step = sum(np.asarray(getattr(seconds, name)) for name in names)
    chips = float(case.design.system.num_chips)
    whole = chips * float(case.design.chip.dram.bandwidth)
    return step_bytes(case, float(cost.batch[0])) / step / whole


def measured_shares(folder: Path) -> dict[str, Any]:
    """The same share of measured 16-bit runs at few sequences, by GPU and kind."""
    models = {}
    with (folder / "models.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            models[row["arch"]] = row
    found: dict[str, list[float]] = {}
    with (folder / "serving.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            known = row["source"] == "mlenergy-v3" and row["gpu"] in BANDWIDTH
            batch = float(row["batch"])
            if not known or row["weight_bits"] != "16" or not FEW[0] < batch < FEW[1]:
                continue
            model = models[row["arch"]]
            body = float(model["params_dense_body_b"])
            body += float(model["params_lm_head_b"])
            experts = float(model["params_all_experts_b"])
            if experts:
                ratio = float(model["top_k"]) / float(model["experts"])
                body += experts * (1 - (1 - ratio) ** batch)
            kind = "experts" if experts else "dense"
            step = float(row["itl_ms"]) * 1e-3
            whole = float(row["num_gpus"]) * BANDWIDTH[row["gpu"]]
            found.setdefault(f"{row['gpu']}, {kind}", []).append(
                2e9 * body / step / whole
            )
    return {
        name: {
            "runs": len(values),
            "share": float(np.median(values)),
            "low": float(np.min(values)),
            "high": float(np.max(values)),
        }
        for name, values in sorted(found.items())
    }


def variants(run: Run, experts: Case, *, dense: Case) -> dict[str, Case]:
    """One assumption changed at a time, towards the runs that the claim rests on."""
    base, request = run.study.baseline, run.study.baseline.request
    asked = {
        "chip": experts.chip,
        "batch": float(base.deployment.batch),
        "prompt_length": float(request.prompt_length),
        "output_length": float(request.output_length),
    }
    chips = float(base.system.num_chips)
    experts_name = run.study.resolved["baseline"]["model"]
    spread = at(experts, deployment__expert_parallel=chips)
    many = build_case(
        "", model=LARGE, num_chips=8, tensor_parallel=4, expert_parallel=8, **asked
    )
    whole = build_case("", model=DENSE, num_chips=chips, tensor_parallel=chips, **asked)
    alone = build_case("", model=DENSE, num_chips=1, tensor_parallel=1, **asked)
    large = build_case("", model=LARGE_DENSE, num_chips=8, tensor_parallel=8, **asked)
    return {
        f"{experts_name}, experts cut over {chips:g} chips (the page's)": experts,
        f"{experts_name}, experts dealt to {chips:g} chips": spread,
        f"{LARGE}, experts dealt to 8 chips": many,
        f"dense as good (the page's), {chips:g} chips": dense,
        f"{DENSE}, {chips:g} chips": whole,
        f"{DENSE}, one chip": alone,
        f"{LARGE_DENSE}, 8 chips": large,
    }


def without_expert_costs(case: Case) -> Case:
    """The case with experts that launch for nothing."""
    ideal, design = cd.load_stack("ideal"), case.design
    for name in EXPERT_COSTS:
        value = np.asarray(getattr(ideal, name))
        design = set_path(design, f"stack.{name}", value=value)
    fixed = tuple(f"stack.{name}" for name in EXPERT_COSTS)
    return replace(case, design=design, fixed=fixed)


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    experts = case_of(run.study)
    dense, growth = equal_dense(run)
    batches = run.values("deployment.batch")
    log.info("batches")
    cells = {}
    for name, case in (
        ("experts", experts),
        ("dense", dense),
        ("experts, no overhead", without_expert_costs(experts)),
    ):
        cases = [at(case, deployment__batch=b) for b in batches]
        cells[name] = (cases, evaluate_cases(cases, draws=run.draws))
    data, source = measured(run, "measured_bandwidth", summarise=measured_shares)
    log.info("assumptions")
    tried = variants(run, experts, dense=dense)
    software = {
        title: shares_of(run, tried, stack=stack)
        for title, stack in SOFTWARE.items()
        if stack is not None
    }
    log.info("chips")
    regret, chips = best_chips(run, experts, dense=dense)
    draw(run, batches, cells=cells)
    page(
        run,
        {
            "batches": batches,
            "cells": cells,
            "growth": growth,
            "data": data,
            "source": source,
            "regret": regret,
            "chips": chips,
            "experts": experts,
            "software": software,
        },
    )


def shares_of(run: Run, cases: dict[str, Case], *, stack: str) -> dict[str, np.ndarray]:
    """Share of the HBM bandwidth of each case under a software."""
    moved = {name: on_stack(case, stack) for name, case in cases.items()}
    costs = evaluate_cases(list(moved.values()), draws=run.draws)
    return {
        name: 100 * bandwidth_share(case, cost)
        for (name, case), cost in zip(moved.items(), costs, strict=True)
    }


def best_chips(
    run: Run, experts: Case, *, dense: Case
) -> tuple[dict[tuple[str, str], np.ndarray], dict[str, Any]]:
    """Each model on the other's best chip of an operator, chosen for perfect software.

    Costs are by software and metric.
    """
    request = run.study.baseline.request
    context = float(request.prompt_length) + float(request.output_length) / 2
    sizes = tuple((b, 1.0, context) for b in (8.0, 32.0, 128.0, 512.0))
    tasks = []
    for name, case in (("experts", experts), ("dense", dense)):
        moved = build_case(
            name,
            chip="inhouse-asic",
            stack="ideal",
            num_chips=float(experts.design.system.num_chips),
            tensor_parallel=2,
            model=case.design.model,
            batch=1,
            prompt_length=float(request.prompt_length),
            output_length=float(request.output_length),
        )
        tasks.append(Workload(name, moved, "decode", sizes, slowest=FASTEST))
    size, rounds = (64, 1) if run.small else (256, 3)
    pool = build_pool(tasks, chips=size, rounds=rounds)
    chosen = {
        metric: [pool.chips[pool.best(metric, i)] for i in range(2)]
        for metric in (USD, JOULE)
    }
    found = {
        (title, metric): exchanged(run, tasks, chips=chips, metric=metric, stack=stack)
        for title, stack in SOFTWARE.items()
        for metric, chips in chosen.items()
    }
    return found, chosen


def exchanged(
    run: Run,
    tasks: Sequence[Workload],
    *,
    chips: Sequence[dict[str, float]],
    metric: str,
    stack: str | None,
) -> np.ndarray:
    """Cost of each task on the other's chip over that on its own, under a software."""
    moved = [replace(task, case=on_stack(task.case, stack)) for task in tasks]
    draws = run.draws // 2
    costs = [price_chips(chips, task, draws=draws)[metric] for task in moved]
    return np.stack([costs[0][1] / costs[0][0], costs[1][0] / costs[1][1]])


def draw(run: Run, batches: Sequence[float], *, cells: dict[str, Any]) -> None:
    """Joules per token over batch, experts against dense at equal quality."""
    colors = (fig.RED, fig.BLUE, fig.ORANGE)
    with fig.figure(run, "experts", columns=2, size=(8.2, 4.4)) as (left, right):
        for color, (name, (cases, costs)) in zip(colors, cells.items(), strict=True):
            values = list(column(costs, "energy_per_token"))
            fig.line(left, batches, y=values, label=name, color=color, marker="o")
            shares = [
                100 * bandwidth_share(case, cost)
                for case, cost in zip(cases, costs, strict=True)
            ]
            fig.line(right, batches, y=shares, label=name, color=color, marker="o")
        fig.log_axes(left)
        fig.log_axes(right, y=False)
        left.set(xlabel="running sequences", ylabel="energy per token [J]")
        right.set(
            xlabel="running sequences",
            ylabel="weights read, of HBM bandwidth [%]",
            ylim=(0, 100),
        )
        fig.legend_above(left, columns=3)


def page(run: Run, got: dict[str, Any]) -> None:
    """The text around the numbers."""
    batches, cells = got["batches"], got["cells"]
    regret = {m: got["regret"][PERFECT, m] for m in (USD, JOULE)}
    few = batches.index(float(run.study.baseline.deployment.batch))
    shares = {
        name: [bandwidth_share(c, k) for c, k in zip(*cells[name], strict=True)]
        for name in cells
    }
    joule = {name: column(cells[name][1], "energy_per_token") for name in cells}
    time = {name: column(cells[name][1], "time_per_output_token") for name in cells}
    saved = 1 - time["experts, no overhead"][few] / time["experts"][few]
    ratio = joule["experts"] / joule["dense"]
    data = got["data"]
    cheap = regret[USD][0] < DEARER
    fault = clause(
        cheap & (interval(saved)[0] > DEARER - 1),
        ": software is at fault, not silicon",
    )
    run.add("# 08 Do expert models need other chips?")
    run.claim(
        11,
        "MoE dynamism makes today's hardware inefficient; new chips must support "
        "it.",
        parts=[
            part("experts reach less than two thirds of the bandwidth that dense "
                 "models reach", shares["experts"][few] < 2 / 3 * shares["dense"][few]),
            part("cheaper experts would save over 10 % of a token's time",
                 saved > DEARER - 1),
            part("the expert model still takes fewer joules than a dense one as good",
                 ratio[few] < 1),
            part("it costs over 10 % more on the dense model's best chip",
                 regret[USD][0] > DEARER),
        ],
        gist=f"""At {batches[few]:g} sequences on {chips_of(run)} H100 weights of the
        expert model flow at {band(shares["experts"][few], "%", scale=0.01)} of the HBM
        bandwidth, those of a dense model as good ({two(got["growth"])} times the layers
        of {DENSE}) at
        {band(shares["dense"][few], "%", scale=0.01)}. Experts without launches of their
        own would save {band(100 * saved, "%")} of the time. The expert model takes
        {band(ratio[few])} of the dense one's joules, {band(ratio[-1])} at
        {batches[-1]:g}. On the dense model's best chip it costs {band(regret[USD][0])}
        times the dollars of its own best
        chip{fault}.""",
    )  # fmt: skip
    run.add("![Joules and bandwidth over batch](experts.svg)", "## Numbers")
    rows = [
        [f"{b:g}"] + [f"{band(joule[n][i])}; {band(100 * shares[n][i])}" for n in cells]
        for i, b in enumerate(batches)
    ]
    head = ["sequences", *(f"{n}: J; bandwidth [%]" for n in cells)]
    run.add("J/token, and weights read as a share of the HBM bandwidth:")
    run.add(*table(head, rows))
    rows = [
        [metric.split("_")[0], title, *(band(x) for x in values)]
        for (title, metric), values in got["regret"].items()
    ]
    run.add(
        """Each model on the other's best chip, over its own; chips are the best with
        perfect software:"""
    )
    head = ["per token", "software", "experts on dense's", "dense on experts'"]
    run.add(*table(head, rows))
    rows = []
    for metric, chips in got["chips"].items():
        for name, chip in zip(("experts", "dense"), chips, strict=True):
            rows.append(
                [
                    f"{name}, {metric.split('_')[0]}",
                    two(chip["chip.compute.macs"] / 1e3),
                    two(chip["chip.sram.capacity"] / 1e6),
                    two(chip["chip.dram.stacks"]),
                    two(chip["chip.link.bandwidth"] / 1e9),
                    two(chip["chip.tdp"]),
                ]
            )
    head = ["best chip for, least", "kMAC", "SRAM [MB]", "HBM stacks", "links [GB/s]"]
    run.add("Their chips:", *table([*head, "TDP [W]"], rows))
    rows = [
        [name, str(e["runs"]), f"{two(100 * e['share'])} ({two(100 * e['low'])}–"
         f"{two(100 * e['high'])})"]
        for name, e in data.items()
    ]  # fmt: skip
    run.add(
        "## Beside measurement",
        f"""Measured 16-bit runs at {FEW[0]:g} to {FEW[1]:g} sequences
        ({got["source"]}): weights read as a share of the HBM bandwidth, median and
        range:""",
        *table(["GPU, model", "runs", "bandwidth [%]"], rows),
        *differences(got["software"]),
        "## What matters most",
        *elasticity_table(
            [
                (
                    "time, experts",
                    elasticity(got["experts"], of="time_per_output_token"),
                ),
                ("J/token, experts", elasticity(got["experts"], of="energy_per_token")),
            ]
        ),
        "## What would change the verdict",
        """- Many small ranks: with experts on dozens of chips the busiest rank and the
        exchange weigh more than here on two.""",
        """- Quality: that a dense model of this size is as good rests on the law's
        exponent for experts, which is known to a fifth.""",
    )


def chips_of(run: Run) -> str:
    """How many chips the study's baseline has."""
    return f"{float(run.study.baseline.system.num_chips):g}"


def differences(found: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Which assumption moves the share from what the claim came with."""
    own, ideal = found.values()
    middle = {name: interval(share)[0] for name, share in own.items()}
    groups = {
        kind: [n for n in own if ("dense" in n or DENSE in n or LARGE_DENSE in n) == d]
        for kind, d in (("experts", False), ("dense", True))
    }
    words = []
    for kind, names in groups.items():
        page, *others = names
        far = max(others, key=lambda n: abs(middle[n] - middle[page]))
        low, high = KNOWN[kind]
        known = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        words.append(
            f"{kind} {known} % were known, the page has {band(own[page], '%')}; what "
            f"moves it most is *{far}*, at {band(own[far], '%')}"
        )
    rows = [
        [name, band(own[name]), band(ideal[name])]
        for names in groups.values()
        for name in names
    ]
    text = "; ".join(words)
    return [
        f"""Why this is not what came with the claim: {text}. One assumption at a time
        [% of the HBM bandwidth]:""",
        *table(["at as many sequences", *found], rows),
    ]


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    return main(__file__, write, change="baseline.batch=32", arguments=arguments)


if __name__ == "__main__":
    run_experiment()
