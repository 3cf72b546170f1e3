"""Which roof binds prefill and decode, and what does SRAM do for attention?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/02_roofline_of_phases/run.py            # the page
    python experiments/02_roofline_of_phases/run.py --small    # fewer draws
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codesign.core.paths import set_path
from codesign.cost.detail import operator_costs
from codesign.serving.design import Design
from experiments.common import figure as fig
from experiments.common.draws import Case, at, case_of, elasticity, evaluate_cases
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
from experiments.common.verdict import part

SLOWER = 1.1  # time over the other that counts as slower
COMMAND = "python experiments/02_roofline_of_phases/run.py"
PARTS = {
    "memory": ("HBM and SRAM", fig.BLUE),
    "compute": ("matrix units", fig.RED),
    "vector": ("vector units", fig.PURPLE),
    "link": ("links", fig.GREEN),
    "launch": ("launches", fig.ORANGE),
    "host": ("host", fig.GREY),
    "eager": ("uncaptured steps", fig.BLACK),
}
LONG = 32768.0  # tokens of the prompt for attention
SCORE_PASSES = 4.0  # scores and probabilities, each written and read, unfused
SCORE_BYTES = 2.0
LARGE = 5e7  # weights of a product that does not fit in the cache of an H100
RISE = 1.5  # over the time of one token: from here on more tokens cost time


def shares(bill: Any) -> dict[str, np.ndarray]:
    """Share of each component in a step."""
    columns = {name: np.asarray(getattr(bill, name)) for name in PARTS}
    whole = sum(columns.values())
    return {name: value / whole for name, value in columns.items()}


def on_chip(share: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Share of a resource in the time that operators spend on the chip."""
    return share[name] / (share["compute"] + share["memory"] + share["vector"])


def useful(case: Case, cost: Any) -> np.ndarray:
    """Share of the peak of 16-bit compute that decode of useful tokens takes."""
    model = case.design.model
    shape = float(model.hidden_size), float(model.num_layers)
    heads = float(model.num_heads) + 2 * float(model.num_kv_heads)
    attention = (heads + float(model.num_heads)) * float(model.head_size)
    weights = shape[1] * shape[0] * (attention + 3 * float(model.ffn_size))
    chips = float(case.design.system.num_chips)
    peak = 2 * float(case.design.chip.compute.macs) * np.asarray(cost.chip.clock)
    step = sum(np.asarray(getattr(cost.breakdown.decode_seconds, n)) for n in PARTS)
    return 2 * weights * np.asarray(cost.batch) / step / (chips * peak)


def crossover(folder: Path) -> dict[str, Any]:
    """Tokens at which 16-bit products become slower than one token's, measured."""
    times: defaultdict[tuple[str, str, str], dict[float, float]] = defaultdict(dict)
    with (folder / "kernels_gemm.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            large = float(row["n"]) * float(row["k"]) >= LARGE
            if row["gemm_dtype"] == "bfloat16" and row["gpu"] == "H100" and large:
                key = row["kernel_source"], row["n"], row["k"]
                times[key][float(row["m"])] = float(row["latency_us"])
    found = []
    for each in times.values():
        sizes = sorted(each)
        slow = [m for m in sizes if each[m] > RISE * each[sizes[0]]]
        if slow:
            found.append(slow[0])
    return {
        "shapes": len(found),
        "median": float(np.median(found)),
        "low": float(np.quantile(found, 0.05)),
        "high": float(np.quantile(found, 0.95)),
    }


def first_above(batches: Sequence[float], excess: np.ndarray) -> np.ndarray:
    """Batch at which an excess crosses zero, log-linear, per draw; NaN if never."""
    logs = np.log(np.asarray(batches))
    found = np.full(excess.shape[1], np.nan)
    for lane in range(excess.shape[1]):
        above = np.flatnonzero(excess[:, lane] > 0)
        if not len(above):
            continue
        place = above[0]
        if place == 0:
            found[lane] = batches[0]
            continue
        low, high = excess[place - 1, lane], excess[place, lane]
        weight = -low / (high - low)
        found[lane] = np.exp(logs[place - 1] + weight * (logs[place] - logs[place - 1]))
    return found


def attention_traffic(design: Design, sizes: Sequence[float]) -> dict[str, list[float]]:
    """HBM bytes and times of prefill attention of one long prompt over SRAM size."""
    found: dict[str, list[float]] = {"bytes": [], "share": [], "seconds": []}
    design = set_path(design, "request.prompt_length", value=np.asarray(LONG))
    whole = set_path(design, "stack.chunk_tokens", value=np.asarray(LONG))
    for size in sizes:
        one = set_path(whole, "chip.sram.capacity", value=np.asarray(size))
        costs = operator_costs(one, kind="prompt")
        row = costs["prefill attention"]
        total = sum(float(each.seconds) for each in costs.values())
        found["bytes"].append(float(row.dram_bytes))
        found["seconds"].append(total)
        found["share"].append(float(row.seconds) / total)
    return found


def unfused_bytes(design: Design) -> float:
    """HBM bytes per chip of attention that writes all scores, N^2 per head."""
    model = design.model
    heads = float(model.num_heads) / float(design.deployment.tensor_parallel)
    scores = SCORE_PASSES * SCORE_BYTES * LONG * LONG / 2
    return float(model.num_layers) * heads * scores


def draw_shares(run: Run, batches: Sequence[float], *, costs: Sequence[Any]) -> None:
    """Share of decode time that each resource binds, over batch."""
    with fig.figure(run, "roofs") as axes:
        cells = [shares(c.breakdown.decode_seconds) for c in costs]
        for name, (title, color) in PARTS.items():
            values = [cell[name] for cell in cells]
            if max(interval(v)[0] for v in values) > 0.03:
                fig.line(axes, batches, y=values, label=title, color=color, scale=0.01)
        axes.set_xscale("log", base=2)
        fig.plain_axis(axes.xaxis)
        axes.set(
            xlabel="running sequences",
            ylabel="share of decode step [%]",
            title="Decode waits for memory at every batch",
            ylim=(0, 100),
        )
        axes.legend()


def draw_sram(
    run: Run,
    sizes: Sequence[float],
    *,
    traffic: dict[str, list[float]],
    naive: float,
    here: int,
) -> None:
    """HBM traffic of prefill attention over SRAM, and time of the whole prompt."""
    mega = np.asarray(sizes) / 2**20
    with fig.figure(run, "attention", columns=2, size=(8.6, 4.2)) as (left, right):
        left.plot(mega, np.asarray(traffic["bytes"]) / 1e9, color=fig.BLUE, marker="o")
        left.axhline(naive / 1e9, color=fig.RED, ls="--")
        left.annotate(
            "all scores in HBM", (mega[0], naive / 1e9), va="bottom", color=fig.RED
        )
        fig.log_axes(left)
        left.set(
            xlabel="SRAM of the chip [MiB]", ylabel="HBM traffic of attention [GB]"
        )
        slow = np.asarray(traffic["seconds"])
        right.plot(mega, slow / slow[here], color=fig.BLUE, marker="o")
        right.set_xscale("log")
        fig.plain_axis(right.xaxis)
        right.set(
            xlabel="SRAM of the chip [MiB]",
            ylabel="time of the prompt over today's",
            ylim=(0, None),
        )


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    case = case_of(run.study)
    batches = run.values("deployment.batch")
    cases = [at(case, deployment__batch=b) for b in batches]
    log.info("batches")
    costs = evaluate_cases(cases, draws=run.draws)
    ideal = evaluate_cases(
        [at(case_of(run.study, stack="ideal"), deployment__batch=b) for b in batches],
        draws=run.draws,
    )
    quoted = float(case.design.deployment.batch)
    place = int(np.argmin(np.abs(np.log(np.asarray(batches) / quoted))))
    decode = shares(costs[place].breakdown.decode_seconds)
    prompt = shares(costs[place].breakdown.prompt_seconds)
    step = shares(costs[place].breakdown.step_seconds)
    whole_memory = step["memory"]
    idle = useful(cases[place], costs[place])
    excess = np.stack(
        [
            np.asarray(c.breakdown.decode_seconds.compute)
            - np.asarray(c.breakdown.decode_seconds.memory)
            for c in ideal
        ]
    )
    turn = first_above(batches, excess)
    draw_shares(run, batches, costs=costs)
    # claim 22
    log.info("attention")
    sizes = run.values("chip.sram.capacity")
    traffic = attention_traffic(case.design, sizes)
    naive = unfused_bytes(case.design)
    sram_cases = [
        at(case, chip__sram__capacity=s, request__prompt_length=LONG / 4) for s in sizes
    ]
    priced = evaluate_cases(sram_cases, draws=run.draws)
    usd = np.stack([np.asarray(c.usd_per_token) for c in priced])
    joule = np.stack([np.asarray(c.energy_per_token_server) for c in priced])
    best_usd = np.asarray(sizes)[usd.argmin(axis=0)] / 2**20
    best_joule = np.asarray(sizes)[joule.argmin(axis=0)] / 2**20
    own = float(case.design.chip.sram.capacity)
    here = int(np.argmin(np.abs(np.log(np.asarray(sizes) / own))))
    ten = int(np.argmin(np.abs(np.log(np.asarray(sizes) / (own / 10)))))
    draw_sram(run, sizes, traffic=traffic, naive=naive, here=here)
    slower = traffic["seconds"][ten] / traffic["seconds"][here]
    run.numbers["prompt slower with a tenth of the SRAM"] = slower
    kernels, source = measured(run, "measured_gemm", summarise=crossover)
    page(
        run,
        {
            "case": case,
            "costs": costs,
            "place": place,
            "batches": batches,
            "decode": decode,
            "prompt": prompt,
            "memory": whole_memory,
            "idle": idle,
            "turn": turn,
            "traffic": traffic,
            "naive": naive,
            "here": here,
            "slower": slower,
            "best_usd": best_usd,
            "best_joule": best_joule,
            "kernels": kernels,
            "source": source,
        },
    )


def page(run: Run, got: dict[str, Any]) -> None:
    """The text around the numbers."""
    traffic, here = got["traffic"], got["here"]
    saved = got["naive"] / traffic["bytes"][here]
    quoted = got["batches"][got["place"]]
    quoted_prompt = float(got["case"].design.request.prompt_length)
    run.add("# 02 Which roof binds prefill and decode?")
    run.claim(
        2,
        "Prefill is compute-bound, decode is memory-bound; most of inference lies "
        "under the bandwidth roof, H100 compute sits idle.",
        parts=[
            part(
                "matrix units bind more than half of a prompt's time on the chip",
                on_chip(got["prompt"], "compute") > 0.5,
            ),
            part(
                f"memory binds more than half of a decode step of {quoted:g} sequences",
                on_chip(got["decode"], "memory") > 0.5,
            ),
            part(
                "with prefill mixed in, memory still binds more than half of all time",
                got["memory"] > 0.5,
            ),
            part("decode uses less than a fifth of the FLOP/s", got["idle"] < 0.2),
        ],
        gist=f"""On eight H100 at {quoted:g} sequences matrix units bind
        {band(on_chip(got["prompt"], "compute"), "%", scale=0.01)} of the time that a
        prompt of {quoted_prompt:g} tokens spends on the chip (not in launches, host and
        links), memory {band(on_chip(got["decode"], "memory"), "%", scale=0.01)} of a
        decode step. Of all time, prefill mixed in and waiting included, memory takes
        {band(got["memory"], "%", scale=0.01)}; decode reaches
        {band(got["idle"], "%", scale=0.01)} of the peak FLOP/s.""",
    )
    hidden = clause(
        got["slower"] < SLOWER,
        ": the traffic stays hidden behind compute. The kernel has to know the SRAM; "
        "the chip does not have to be built for the kernel",
    )
    run.claim(
        22,
        "Kernels such as FlashAttention are co-designed with one chip's SRAM.",
        parts=[
            part(
                "keeping tiles in SRAM saves more than ten times the HBM traffic of "
                "attention",
                [saved > 10],
            ),
            part(
                "a tenth of the SRAM makes a long prompt more than 10 % slower",
                [got["slower"] > SLOWER],
            ),
        ],
        gist=f"""Tiles in SRAM save a factor {two(saved)} of the HBM traffic at
        {two(LONG / 1024)}k tokens, but a chip with a tenth of the H100's SRAM takes
        {two(100 * (got["slower"] - 1))} % longer for the
        prompt{hidden}.""",
    )
    run.add("![Share of decode time that each resource binds](roofs.svg)")
    rows = []
    for batch, cost in zip(got["batches"], got["costs"], strict=True):
        cell = shares(cost.breakdown.decode_seconds)
        rows.append(
            [
                f"{batch:g}",
                *(band(cell[n], scale=0.01) for n in ("memory", "compute", "launch")),
                band(cell["host"], scale=0.01),
                band(cost.time_per_output_token, scale=1e-3),
                band(cost.energy_per_token),
            ]
        )
    head = ["sequences", "memory [%]", "compute [%]", "launches [%]", "host [%]"]
    head += ["time per token [ms]", "energy per token [J]"]
    run.add("## Numbers", *table(head, rows))
    run.add("## Operators")
    run.add(*operator_rows(got["case"].design))
    turn = got["turn"]
    reached = 100 * np.mean(np.isfinite(turn))
    kernels = got["kernels"]
    run.add(
        "## Beside measurement",
        f"""With perfect software, products overtake memory in a decode step in
        {two(reached)} % of the draws before {got["batches"][-1]:g} sequences, at
        {two(float(np.nanmedian(turn)))} of them in the middle of those draws; attention
        over the cache never does. Of
        {kernels["shapes"]} measured 16-bit products on an H100 that do not fit in its
        cache, the median takes {RISE:g} times the time of one token from
        {two(kernels["median"])} tokens on ({two(kernels["low"])} to
        {two(kernels["high"])}): {got["source"]}. The balance of the chip, 295 FLOP per
        byte, lies between.""",
        "![HBM traffic of attention over SRAM, and time of the prompt](attention.svg)",
        f"""Of the SRAM sizes tried with prompts of {two(LONG / 4096)}k tokens, dollars
        per token are least at {band(got["best_usd"], "MiB")} and joules at
        {band(got["best_joule"], "MiB")}: bulk SRAM beyond the tiles earns nothing on a
        chip with HBM.""",
        "## What matters most",
        *elasticity_table(
            [
                (name, elasticity(got["case"], of=name))
                for name in ("time_per_output_token", "energy_per_token")
            ]
        ),
        "## What would change the verdict",
        """- Claim 2: more sequences than about 256 with short contexts (products turn
        to compute), or small models on many chips (launches and links take over).""",
        """- Claim 22: SRAM below 1 MiB per tile level, or chips whose compute outgrows
        HBM by a further factor of ten. The model has one level of tiles with the IO
        bound N²d²/S; what a kernel needs of registers and shared memory per core is
        below its resolution.""",
    )


def operator_rows(design: Design) -> list[str]:
    """Intensity and binding resource of the largest operators of both phases."""
    names = ("compute", "dram", "sram", "vector", "link")
    rows = []
    for kind in ("decode", "prompt"):
        costs = operator_costs(design, kind=kind)
        total = sum(float(c.seconds) for c in costs.values())
        ranked = sorted(costs.items(), key=lambda item: -float(item[1].seconds))
        for name, cost in ranked[:5]:
            traffic = float(cost.dram_bytes)
            ratio = two(float(cost.flops) / traffic) if traffic > 0 else "–"
            share = two(100 * float(cost.seconds) / total)
            rows.append([kind, name, ratio, share, names[int(cost.binding)]])
    head = [
        "step",
        "operator",
        "FLOP per HBM byte",
        "share of operators [%]",
        "bound by",
    ]
    return table(head, rows)


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    change = '"baseline.batch=128"'
    return main(__file__, write, change=change, arguments=arguments)


if __name__ == "__main__":
    run_experiment()
