"""What did a chip generation gain, and what would closing software gaps gain?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/04_generations_and_software/run.py            # the page
    python experiments/04_generations_and_software/run.py --small    # fewer draws
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import codesign as cd
from codesign.core.paths import set_path
from experiments.common import figure as fig
from experiments.common.draws import (
    Case,
    at,
    build_case,
    case_of,
    column,
    elasticity,
    evaluate_cases,
)
from experiments.common.page import (
    Run,
    band,
    clause,
    elasticity_table,
    log,
    main,
    measured,
    table,
    two,
)
from experiments.common.verdict import part

COMMAND = "python experiments/04_generations_and_software/run.py"
OLD, NEW, TPU = "h100-sxm", "b200-sxm", "tpu-v4"
NEAR = 1.15  # batches this close are equal
TPU_NODE, GPU_NODE = 7e-9, 4e-9
GAPS = {
    "launches and host": ("kernel_time", "layer_time", "step_time", "sequence_time"),
    "collectives": ("collective_time", "link_efficiency"),
    "achieved bandwidth": ("dram_efficiency", "attention_factor", "time_factor_16bit"),
    "achieved FLOP/s": ("compute_efficiency",),
    "sampling": ("sampling_traffic",),
    "wasted energy": ("compute_energy_factor", "traffic_energy_factor"),
}
"""Constants of the stack that a better kernel or runtime would bring to the ideal."""


def case(run: Run, chip: str, *, stack: str | None = None) -> Case:
    """The study's baseline on another chip."""
    given, request = run.study.resolved["baseline"], run.study.baseline.request
    return build_case(
        chip,
        chip=chip,
        stack=stack,
        num_chips=float(given["num_chips"]),
        tensor_parallel=float(given["tensor_parallel"]),
        model=str(given["model"]),
        batch=float(given["batch"]),
        prompt_length=float(request.prompt_length),
        output_length=float(request.output_length),
    )


def over_batch(run: Run, one: Case) -> dict[str, np.ndarray]:
    """Joules, step time, throughput and power over batch."""
    batches = run.values("deployment.batch")
    costs = evaluate_cases(
        [at(one, deployment__batch=b) for b in batches], draws=run.draws
    )
    names = ("energy_per_token", "time_per_output_token", "throughput", "power")
    return {name: column(costs, name) for name in names}


def measured_ratios(folder: Path) -> dict[str, Any]:
    """B200 over H100 at equal model, task and batch; and newer over older software."""
    groups: defaultdict[tuple[str, ...], list[dict[str, float]]] = defaultdict(list)
    with (folder / "serving.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == "mlenergy-v3" and not row["quality_flag"]:
                key = row["gpu"], row["arch"], row["task"], row["weight_bits"]
                groups[key].append(
                    {
                        "batch": float(row["batch"]) / float(row["num_gpus"]),
                        "joule": float(row["j_per_token"]),
                        "watt": float(row["power_per_gpu_w"]),
                    }
                )
    pairs = [
        (old["batch"], new["joule"] / old["joule"], new["watt"] / old["watt"])
        for key, rows in groups.items()
        if key[0] == "H100"
        for old in rows
        for new in groups.get(("B200", *key[1:]), [])
        if 1 / NEAR < new["batch"] / old["batch"] < NEAR
    ]
    found: dict[str, Any] = {}
    for name, low, high in (
        ("to 16", 0, 16),
        ("17 to 256", 16, 256),
        ("above", 256, 1e9),
    ):
        chosen = [p for p in pairs if low < p[0] <= high]
        if chosen:
            ratios = [p[1] for p in chosen]
            found[name] = {
                "pairs": len(chosen),
                "joule": float(np.median(ratios)),
                "low": float(np.quantile(ratios, 0.05)),
                "high": float(np.quantile(ratios, 0.95)),
                "watt": float(np.median([p[2] for p in chosen])),
            }
    return {"generations": found, "software": releases(folder)}


def releases(folder: Path) -> list[dict[str, Any]]:
    """Time per token of a newer over an older release, all else equal."""
    known: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    names = ("arch", "gpu", "framework", "precision", "tp", "attn_dp", "moe_ep")
    names = (*names, "concurrency", "isl", "osl")
    with (folder / "serving_latency.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = tuple(row[name] for name in names)
            known[key][row["framework_version"]] = float(row["tpot_ms"])
    ratios: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for key, times in known.items():
        versions = sorted(v for v in times if v)
        if len(versions) > 1:
            name = (*key[:3], versions[0], versions[-1])
            ratios[name].append(times[versions[0]] / times[versions[-1]])
    return [
        {"what": ", ".join(name), "pairs": len(r), "faster": float(np.median(r))}
        for name, r in sorted(ratios.items())
        if len(r) >= 5
    ]


def closed(one: Case, names: Sequence[str]) -> Case:
    """The case with some constants of its stack at their ideal."""
    ideal, design = cd.load_stack("ideal"), one.design
    for name in names:
        value = np.asarray(getattr(ideal, name))
        design = set_path(design, f"stack.{name}", value=value)
    fixed = tuple(f"stack.{name}" for name in names)
    return replace(one, design=design, fixed=fixed)


def closed_ratios(run: Run, one: Case) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Time and joules per token with each gap closed, over those with none."""
    every = tuple(name for names in GAPS.values() for name in names)
    gaps = {**GAPS, "all of them": every}
    cases = [one, *(closed(one, names) for names in gaps.values())]
    base, *others = evaluate_cases(cases, draws=run.draws)
    return {
        name: (
            cost.time_per_output_token / base.time_per_output_token,
            cost.energy_per_token / base.energy_per_token,
        )
        for name, cost in zip(gaps, others, strict=True)
    }


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    log.info("generations")
    batches = run.values("deployment.batch")
    old, new = (over_batch(run, case(run, chip)) for chip in (OLD, NEW))
    same = over_batch(run, case(run, NEW, stack="vllm-0.11-h100"))
    ideal = [over_batch(run, case(run, chip, stack="ideal")) for chip in (OLD, NEW)]
    key = "energy_per_token"
    ratios = {
        "own software": new[key] / old[key],
        "H100's software": same[key] / old[key],
        "perfect software": ideal[1][key] / ideal[0][key],
    }
    speed = {
        "own software": new["throughput"] / old["throughput"],
        "perfect software": ideal[1]["throughput"] / ideal[0]["throughput"],
    }
    data, source = measured(run, "measured_ratios", summarise=measured_ratios)
    with fig.figure(run, "generations") as axes:
        colors = (fig.RED, fig.ORANGE, fig.BLUE)
        for color, (name, values) in zip(colors, ratios.items(), strict=True):
            fig.line(axes, batches, y=list(values), label=f"model, {name}", color=color)
        places = {"to 16": 1.5, "17 to 256": 8.0, "above": 64.0}
        for name, entry in data["generations"].items():
            x = 8 * places[name]
            spread = [[entry["joule"] - entry["low"]], [entry["high"] - entry["joule"]]]
            axes.errorbar(x, entry["joule"], yerr=spread, fmt="ko", capsize=3)
        axes.plot([], [], "ko", label="measured, median and 5–95 % of pairs")
        axes.axhline(1, color=fig.GREY, lw=1)
        axes.set_xscale("log", base=2)
        fig.plain_axis(axes.xaxis)
        axes.set(
            xlabel="running sequences on eight chips",
            ylabel="J/token, B200 over H100",
            ylim=(0, None),
        )
        axes.legend(fontsize=10)
    log.info("causes")
    why = cd.compare(
        case(run, OLD, stack="ideal").design,
        case(run, NEW, stack="ideal").design,
        of="energy_per_token",
    )
    log.info("gaps")
    gaps = {chip: closed_ratios(run, case(run, chip)) for chip in (OLD, NEW)}
    middle = batches.index(float(run.study.baseline.deployment.batch))
    log.info("tpu")
    tpu = tpu_ratios(run)
    run.add("# 04 What did a chip generation gain, and what is software worth?")
    claim_four(run, ratios, speed=speed, data=data)
    claim_seventeen(run, tpu)
    claim_gaps(
        run, gaps, own=ratios["own software"][middle], old=old, new=new, at=middle
    )
    run.add("![J/token of B200 over H100](generations.svg)")
    draw_gaps(run, gaps)
    tables(run, ratios, why=why, gaps=gaps, tpu=tpu, data=data, source=source)


def tpu_ratios(run: Run) -> dict[str, dict[str, np.ndarray]]:
    """TPU v4 over H100 at equal model, batch and number of chips."""
    base = case_of(run.study)
    variants = {
        "own software": (base, case(run, TPU)),
        "H100's software": (base, case(run, TPU, stack="vllm-0.11-h100")),
        "perfect software": (
            case(run, OLD, stack="ideal"),
            case(run, TPU, stack="ideal"),
        ),
        "perfect software, TPU at 4 nm": (
            case(run, OLD, stack="ideal"),
            at(case(run, TPU, stack="ideal"), chip__node=GPU_NODE),
        ),
    }
    found = {}
    for name, pair in variants.items():
        gpu, tpu = evaluate_cases(list(pair), draws=run.draws)
        found[name] = {
            "speed": tpu.throughput / gpu.throughput,
            "joule": tpu.energy_per_token / gpu.energy_per_token,
            "usd": tpu.usd_per_token / gpu.usd_per_token,
            "watt": tpu.power,
        }
    return found


def claim_four(
    run: Run,
    ratios: dict[str, np.ndarray],
    *,
    speed: dict[str, np.ndarray],
    data: dict[str, Any],
) -> None:
    """Hopper to Blackwell."""
    few, many = 1, -1
    seen = data["generations"]
    perfect, own = ratios["perfect software"][many], ratios["own software"][many]
    taken = clause(
        (perfect < 1) & (perfect < own),
        ": silicon did gain, and young software took it away",
    )
    run.claim(
        4,
        "Hopper to Blackwell: gains come from size and power, not efficiency; "
        "perf/W is plateauing.",
        parts=[
            part("at 16 sequences J/token falls by less than a tenth",
                 ratios["own software"][few] > 0.9),
            part("at 512 sequences it falls by less than a tenth",
                 ratios["own software"][many] > 0.9),
            part("with perfect software it falls by less than a quarter",
                 ratios["perfect software"][many] > 0.75),
            part("the chip's speed grew more than tokens per joule, perfect software",
                 speed["perfect software"][many]
                 > 1 / ratios["perfect software"][many]),
        ],
        gist=f"""At equal batch a B200 takes {band(ratios["own software"][few])} of the
        H100's J/token at 16 sequences and {band(ratios["own software"][many])} at 512;
        measured {two(seen["to 16"]["joule"])} up to 16 sequences per GPU and
        {two(seen["above"]["joule"])} above 256. With perfect software on both the ratio
        is {band(ratios["perfect software"][many])} at
        {band(speed["perfect software"][many])} times the
        speed{taken}.""",
    )  # fmt: skip


def claim_seventeen(run: Run, tpu: dict[str, dict[str, np.ndarray]]) -> None:
    """TPU v4 against H100."""
    own, perfect = tpu["own software"], tpu["perfect software"]
    shrunk = tpu["perfect software, TPU at 4 nm"]
    near = (own["joule"] > 0.67) & (own["joule"] < 1.5) & (own["speed"] < 0.67)
    equal = clause(near, " It is about equal per joule, not per chip.")
    run.claim(
        17,
        "TPU v4 at ~170 W equals an H100 on its workloads.",
        parts=[
            part("a TPU v4 is as fast as an H100", own["speed"] >= 0.95),
            part("it takes no more joules per token, own software",
                 own["joule"] <= 1.05),
            part("it takes no more joules per token, perfect software",
                 perfect["joule"] <= 1.05),
            part("it draws at most 190 W", own["watt"] <= 190),
        ],
        gist=f"""At equal model and batch a TPU v4 runs at {band(own["speed"])} of the
        H100's rate, draws {band(own["watt"], "W")} and takes {band(own["joule"])} times
        its joules per token ({band(perfect["joule"])} with perfect software,
        {band(shrunk["joule"])} if its design were made at 4
        nm).{equal}""",
    )  # fmt: skip


def claim_gaps(
    run: Run,
    gaps: dict[str, Any],
    *,
    own: np.ndarray,
    old: dict[str, np.ndarray],
    new: dict[str, np.ndarray],
    at: int,
) -> None:
    """Software against a generation."""
    time, joule = gaps[OLD]["all of them"]
    generation = (
        new["time_per_output_token"][at] / old["time_per_output_token"][at],
        own,
    )
    largest = min(GAPS, key=lambda name: float(np.median(gaps[OLD][name][0])))
    run.claim(
        25,
        "Waiting for the next GPU is the wrong plan: kernels written for the hardware "
        "at hand give the edge.",
        parts=[
            part("closing the H100's software gaps speeds a token up more than moving "
                 "to B200 with its software does", time < generation[0]),
            part("it also saves more joules per token", joule < generation[1]),
            part("one gap alone is worth a tenth of the time",
                 gaps[OLD][largest][0] < 0.9),
        ],
        gist=f"""On H100 perfect software would take {band(time)} of today's time per
        token and {band(joule)} of its joules; the step to B200 with the software that
        it
        came with takes {band(generation[0])} and {band(generation[1])}. The largest
        single gap is *{largest}* ({band(gaps[OLD][largest][0])} of the time).""",
    )  # fmt: skip


def draw_gaps(run: Run, gaps: dict[str, Any]) -> None:
    """Time saved by closing each gap, per chip."""
    with fig.figure(run, "gaps", columns=2, size=(8.2, 4.4)) as both:
        for axes, (chip, found) in zip(both, gaps.items(), strict=True):
            fig.bars(
                axes,
                list(found),
                values=[100 * (1 - time) for time, _ in found.values()],
                colors=fig.BLUE if chip == OLD else fig.SKY,
            )
            axes.set(xlabel="time per token saved [%]", title=chip)
        both[1].set_yticklabels([])
    run.add("![Time saved by closing each software gap](gaps.svg)")


def tables(
    run: Run,
    ratios: dict[str, np.ndarray],
    *,
    why: Any,
    gaps: dict[str, Any],
    tpu: dict[str, Any],
    data: dict[str, Any],
    source: str,
) -> None:
    """Numbers, causes, measurements."""
    batches = run.values("deployment.batch")
    rows = [
        [f"{b:g}", *(band(values[i]) for values in ratios.values())]
        for i, b in enumerate(batches)
    ]
    run.add(
        "## Numbers",
        "J/token of B200 over H100, eight chips each:",
        *table(["sequences", *ratios], rows),
    )
    ranked = sorted(why.why.items(), key=lambda item: -abs(item[1]))[:8]
    run.add(
        f"""What changed from H100 to B200 with perfect software at the study's batch,
        as shares of ln(J/token), {two(why.total)} in all (Shapley value over orders of
        change, central constants):""",
        *table(["what", "share of ln J"], [[f"`{k}`", f"{v:+.2f}"] for k, v in ranked]),
    )
    rows = [
        [name, *(band(x) for chip in gaps for x in gaps[chip][name])]
        for name in gaps[OLD]
    ]
    head = ["gap closed", "H100 time", "H100 J", "B200 time", "B200 J"]
    run.add("Time and joules per token with a gap closed, over today's:")
    run.add(*table(head, rows))
    rows = [[name, *(band(v) for v in found.values())] for name, found in tpu.items()]
    run.add("TPU v4 over H100, eight chips each, at the study's batch:")
    head = ["software", "token/s", "J/token", "USD/token", "TPU power [W]"]
    run.add(*table(head, rows))
    rows = [
        [n, str(e["pairs"]), f"{two(e['joule'])} ({two(e['low'])}–{two(e['high'])})",
         two(e["watt"])]
        for n, e in data["generations"].items()
    ]  # fmt: skip
    run.add(
        "## Beside measurement",
        f"""Pairs of runs of one model and task with batches per GPU within
        {two(100 * (NEAR - 1))} % ({source}), B200 over H100:""",
        *table(["sequences per GPU", "pairs", "J/token", "power"], rows),
    )
    rows = [[e["what"], str(e["pairs"]), two(e["faster"])] for e in data["software"]]
    run.add(
        "Newer over older releases of one framework, same model and chip:",
        *table(["model, chip, framework, versions", "pairs", "times faster"], rows),
    )
    base = case_of(run.study)
    run.add(
        "## What matters most",
        *elasticity_table(
            [
                ("J/token, H100", elasticity(base, of="energy_per_token")),
                ("J/token, B200", elasticity(case(run, NEW), of="energy_per_token")),
                ("J/token, TPU v4", elasticity(case(run, TPU), of="energy_per_token")),
            ]
        ),
        "## What would change the verdict",
        """- Claim 4: a year of kernels on Blackwell. The measured runs are those of its
        first vLLM release; with mature software joules fall at every batch.""",
        """- Claim 17: TPU v4 has no 8-bit rate; at 8 bit the H100 doubles. Its measured
        170 W are a mean over mixed work.""",
        """- Claim 25: gaps close one by one and interact; perfect software is a bound,
        not a forecast.""",
    )


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    return main(__file__, write, change="baseline.batch=16", arguments=arguments)


if __name__ == "__main__":
    run_experiment()
