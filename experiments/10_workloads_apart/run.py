"""Do workloads want chips of their own, and what do an all-rounder and a pair cost?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/10_workloads_apart/run.py            # the page
    python experiments/10_workloads_apart/run.py --small    # fewer chips and draws
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import figure as fig
from experiments.common.draws import (
    SOFTWARE,
    Case,
    at,
    build_case,
    case_of,
    elasticity,
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
    table,
    two,
)
from experiments.common.pool import Pool, Workload, build_pool, price_chips
from experiments.common.verdict import part

DEARER = 1.2  # dollars over the own chip's that count as dearer
COMMAND = "python experiments/10_workloads_apart/run.py"
USD, JOULE = "usd_per_token", "energy_per_token_server"
VIDEO = str(Path(__file__).resolve().parent / "video-dit.yaml")
FRAME_TOKENS = 32760.0  # 81 frames of 480 x 832: 21 x 30 x 52 latent patches
FASTEST = 0.05  # s per token that a reader waits at most
TRAINING_LENGTH = 4096.0
LONG = 32768.0  # tokens of context of the hybrid
DECODE, PREFILL, TRAIN, WORLD, HYBRID, SPARSE = range(6)
PERFECT = "ideal"
"""Software that every chip and workload shares: constants fitted to serving on GPUs
say nothing of training and video."""
RATIOS = np.geomspace(0.25, 64, 9)  # prompt over output tokens


def serving(run: Run, model: str) -> Case:
    """A model on eight chips of the study's kind."""
    given, request = run.study.resolved["baseline"], run.study.baseline.request
    return build_case(
        model,
        chip=str(given["chip"]),
        stack=PERFECT,
        num_chips=float(given["num_chips"]),
        tensor_parallel=float(given["tensor_parallel"]),
        model=model,
        batch=1,
        prompt_length=float(request.prompt_length),
        output_length=float(request.output_length),
    )


def workloads(run: Run) -> list[Workload]:
    """Six workloads, each with the batches that it may choose from."""
    base = serving(run, str(run.study.resolved["baseline"]["model"]))
    request = run.study.baseline.request
    prompt = float(request.prompt_length)
    context = prompt + float(request.output_length) / 2
    batches = run.values("deployment.batch")
    chips = 8.0 * float(base.design.system.num_chips)
    cluster = at(base, system__num_chips=chips, system__domain_size=chips)
    decode = tuple((b, 1.0, context) for b in batches)
    long = tuple((b, 1.0, LONG) for b in batches)
    hybrid = serving(run, "nemotron-nano-12b-v2")
    sparse = at(serving(run, "qwen3-235b-a22b"), deployment__tensor_parallel=8.0)
    sparse = at(sparse, deployment__expert_parallel=8.0)
    return [
        Workload("decode, dense 70B", base, "decode", decode, slowest=FASTEST),
        Workload("prefill, dense 70B", base, "prefill", ((4.0, prompt, 0.0),)),
        Workload("training, dense 70B", cluster, "training",
                 ((0.25, TRAINING_LENGTH, 0.0), (1.0, TRAINING_LENGTH, 0.0))),
        Workload("world model, video 14B", serving(run, VIDEO), "video",
                 ((1.0, FRAME_TOKENS, 0.0),)),
        Workload("decode, SSM hybrid 12B at 32k", hybrid, "decode", long,
                 slowest=FASTEST),
        Workload("decode, experts 235B", sparse, "decode", decode, slowest=FASTEST),
    ]  # fmt: skip


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    tasks = workloads(run)
    log.info("pool of chips")
    size, rounds = (64, 1) if run.small else (512, 4)
    pool = build_pool(tasks, chips=size, rounds=rounds)
    found = {
        metric: matrix(pool, metric, draws=run.draws // 2) for metric in (USD, JOULE)
    }
    log.info("software")
    software = {
        title: by_software(pool, found[USD], stack=stack, draws=run.draws // 4)
        for title, stack in SOFTWARE.items()
    }
    pairs = pair_gains(pool, draws=run.draws // 2)
    run.add("# 10 Do workloads want chips of their own?")
    claims(run, pool, found=found, pairs=pairs)
    draw(run, regret=found[USD]["regret"], pairs=pairs)
    page(run, pool, found=found, pairs=pairs)
    software_table(run, software)
    closing(run)


def by_software(
    pool: Pool, chosen: dict[str, Any], *, stack: str | None, draws: int
) -> dict[str, np.ndarray]:
    """Dollars over the own chip's of the same chips under a software.

    Training and video are left out: what is known of software is of serving.
    """
    places = [DECODE, PREFILL, HYBRID, SPARSE]
    chips = [chosen["chips"][i] for i in (*places, len(pool.workloads))]
    tasks = [pool.workloads[i] for i in places]
    tasks = [replace(task, case=on_stack(task.case, stack)) for task in tasks]
    costs = np.stack([price_chips(chips, t, draws=draws)[USD] for t in tasks], axis=1)
    regret = costs / np.stack([costs[i, i] for i in range(len(places))])[None]
    serving = np.exp(np.log(regret[-1]).mean(axis=0))
    pairs = pair_gains(pool, draws=draws, stack=stack)
    return {
        "decode on prefill's chip": regret[1, 0],
        "prefill on decode's chip": regret[0, 1],
        "experts on dense decode's chip": regret[0, 3],
        "all-rounder, mean of the four": serving,
        "saved by a pair of chips at its best mix [%]": pairs[USD].max(axis=0),
    }


def software_table(run: Run, found: dict[str, dict[str, np.ndarray]]) -> None:
    """Regrets by software."""
    names = list(next(iter(found.values())))
    rows = [[name, *(band(each[name]) for each in found.values())] for name in names]
    run.add(
        """Dollars over those of the own chip by software; the chips are those of least
        dollars with perfect software, as on the rest of the page:""",
        *table(["", *found], rows),
    )


def matrix(pool: Pool, metric: str, *, draws: int) -> dict[str, Any]:
    """Specialists and the all-rounder on every workload, over the specialist's cost."""
    count = len(pool.workloads)
    rows = [pool.best(metric, i) for i in range(count)] + [pool.flexible(metric)]
    chips = [pool.chips[i] for i in rows]
    priced = [price_chips(chips, task, draws=draws) for task in pool.workloads]
    costs = np.stack([each[metric] for each in priced], axis=1)
    own = np.stack([costs[i, i] for i in range(count)])
    return {
        "rows": rows,
        "chips": chips,
        "regret": costs / own[None],
        "price": priced[0]["price"][:, 0],
        "area": priced[0]["area"][:, 0],
    }


def pair_gains(
    pool: Pool, *, draws: int, stack: str | None = PERFECT
) -> dict[str, np.ndarray]:
    """Percent that a chip for each phase saves against one for both: mixes x draws.

    Chips are those that are best for a phase or a mix at the central constants; of
    them each draw takes its best.
    """
    chosen: set[int] = set()
    for costs in pool.costs.values():
        prefill, decode = costs[:, PREFILL], costs[:, DECODE]
        chosen |= {int(np.argmin(prefill)), int(np.argmin(decode))}
        chosen |= {int(np.argmin(ratio * prefill + decode)) for ratio in RATIOS}
    chips = [pool.chips[i] for i in sorted(chosen)]
    prefill, decode = (
        price_chips(chips, replace(task, case=on_stack(task.case, stack)), draws=draws)
        for task in (pool.workloads[PREFILL], pool.workloads[DECODE])
    )
    found = {}
    for metric in (USD, JOULE):
        ratio = RATIOS[:, None, None]
        one = np.min(ratio * prefill[metric] + decode[metric], axis=1)
        pair = RATIOS[:, None] * prefill[metric].min(axis=0)
        found[metric] = 100 * (1 - (pair + decode[metric].min(axis=0)) / one)
    return found


def claims(
    run: Run, pool: Pool, *, found: dict[str, Any], pairs: dict[str, np.ndarray]
) -> None:
    """Verdicts on claims 13, 14 and 15."""
    usd, joule = found[USD]["regret"], found[JOULE]["regret"]
    flops = [balance_of(pool, chip) for chip in found[USD]["chips"]]
    best = {metric: values.max(axis=0) for metric, values in pairs.items()}
    worst = {metric: values.min(axis=0) for metric, values in pairs.items()}
    usual = (RATIOS >= 1) & (RATIOS <= 16)
    mix = RATIOS[np.argmax(pairs[USD], axis=0)]
    flat = clause(
        np.max([usd[DECODE, WORLD], usd[WORLD, DECODE]], axis=0) < DEARER,
        " The optimum is flat: multipliers are a small part of the price of a chip in "
        "its server.",
    )
    run.claim(
        13,
        "World models need far more FLOP per byte, so their chips diverge from LLM "
        "chips.",
        parts=[
            part("the world model's best chip has twice the FLOP per byte of decode's",
                 [flops[WORLD] > 2 * flops[DECODE]]),
            part("a video on decode's chip costs over 20 % more dollars",
                 usd[DECODE, WORLD] > DEARER),
            part("decode on the world model's chip costs over 20 % more dollars",
                 usd[WORLD, DECODE] > DEARER),
            part("a video on prefill's chip costs over 10 % more dollars",
                 usd[PREFILL, WORLD] > 1.1),
        ],
        gist=f"""Its best chip has {two(flops[WORLD])} FLOP per byte, that of decode
        {two(flops[DECODE])}, of prefill {two(flops[PREFILL])}, of training
        {two(flops[TRAIN])}. Video on decode's chip costs {band(usd[DECODE, WORLD])}
        times
        its own chip's dollars and {band(joule[DECODE, WORLD])} times the joules, decode
        on video's {band(usd[WORLD, DECODE])} and {band(joule[WORLD, DECODE])}; video on
        prefill's chip {band(usd[PREFILL, WORLD])}.{flat}""",
    )  # fmt: skip
    run.claim(
        14,
        "Data centres will disaggregate: different chips for prefill and decode.",
        parts=[
            part("at equal dollars a pair of chips saves over 10 % at the best mix",
                 best[USD] > 10),
            part("at equal power it saves over 10 % at the best mix",
                 best[JOULE] > 10),
            part("it saves over 10 % of dollars at every mix from 1:1 to 16:1",
                 pairs[USD][usual].min(axis=0) > 10),
        ],
        gist=f"""Against the best single chip for both phases, a chip for each saves
        {band(best[USD], "%")} of the dollars and {band(best[JOULE], "%")} of the joules
        per request at its best mix ({band(mix)} prompt tokens per output token for
        dollars), {band(worst[USD], "%")} and {band(worst[JOULE], "%")} at its worst.
        Demand for both has to keep its ratio: one chip can change sides, a pair
        cannot.""",
        surprise=f"""Splitting prefill and decode over two designs of one memory saves
        {band(best[USD], "%")} of the dollars and {band(best[JOULE], "%")} of the joules
        at the best mix from {two(RATIOS[0])} to {two(RATIOS[-1])} prompt tokens per
        output token.""",
    )  # fmt: skip
    count = len(pool.workloads)
    flexible = usd[count]
    others = np.stack([usd[i, j] for i in range(count) for j in range(count) if i != j])
    fitting = others[np.isfinite(others).all(axis=1)]
    run.claim(
        15,
        "Flexible chips are the better bet since models change (100x from dense to "
        "sparse).",
        parts=[
            part("an all-rounder costs less than 20 % over the specialist on average",
                 np.exp(np.log(flexible).mean(axis=0)) < 1.2),
            part("a specialist on another's work costs more than that on average",
                 np.exp(np.log(fitting).mean(axis=0))
                 > np.exp(np.log(flexible).mean(axis=0))),
            part("dense decode's chip is within 10 % of the expert model's own",
                 usd[DECODE, SPARSE] < 1.1),
        ],
        gist=f"""The best all-rounder costs
        {band(np.exp(np.log(flexible).mean(axis=0)))}
        times the specialist over the six workloads, at worst
        {band(flexible.max(axis=0))}; a specialist on another workload
        {band(np.exp(np.log(fitting).mean(axis=0)))} on average and up to
        {band(fitting.max(axis=0))} where it fits at all, which it does not in
        {len(others) - len(fitting)} of {len(others)} cases. The chip of dense
        decode runs the expert model at {band(usd[DECODE, SPARSE])} times the dollars of
        that model's own chip.""",
    )  # fmt: skip


def balance_of(pool: Pool, chip: dict[str, float]) -> float:
    """16-bit FLOP per byte of HBM."""
    design = pool.workloads[0].case.design
    pins = chip["chip.dram.stacks"] * float(design.chip.dram.stack_bandwidth)
    clock = float(design.chip.style.reference_clock)
    return 2 * chip["chip.compute.macs"] * clock / pins


def draw(run: Run, *, regret: np.ndarray, pairs: dict[str, np.ndarray]) -> None:
    """The matrix of regrets, and what a pair saves."""
    short = ["decode", "prefill", "training", "video", "hybrid", "experts"]
    middle = np.array([[interval(x)[0] for x in row] for row in regret])
    with fig.figure(run, "regret", size=(7.0, 5.2)) as axes:
        axes.imshow(np.log(middle), cmap="Blues", vmin=0, vmax=np.log(4), aspect="auto")
        for i, row in enumerate(regret):
            for j, values in enumerate(row):
                _, low, high = interval(values)
                dark = middle[i, j] > 2.2
                axes.text(
                    j, i, f"{two(middle[i, j])}\n({two(low)}–{two(high)})",
                    ha="center", va="center", fontsize=9,
                    color="white" if dark else fig.BLACK,
                )  # fmt: skip
        axes.set_xticks(range(len(short)), short, rotation=20)
        axes.set_yticks(range(len(short) + 1), [*short, "all-rounder"])
        axes.grid(visible=False)
        axes.set(
            xlabel="workload", ylabel="best chip of",
            title="dollars per token over the workload's own chip",
        )  # fmt: skip
    with fig.figure(run, "pair") as axes:
        for metric, label, color in (
            (USD, "dollars per request", fig.BLUE),
            (JOULE, "joules per request", fig.ORANGE),
        ):
            y = list(pairs[metric])
            fig.line(axes, RATIOS, y=y, label=label, color=color, marker="o")
        axes.set_xscale("log", base=2)
        fig.plain_axis(axes.xaxis)
        axes.set(
            xlabel="prompt tokens per output token",
            ylabel="saved by a chip for each phase [%]",
            ylim=(0, None),
        )
        axes.legend()


def page(
    run: Run, pool: Pool, *, found: dict[str, Any], pairs: dict[str, np.ndarray]
) -> None:
    """Tables and caveats."""
    names = [task.name for task in pool.workloads]
    run.add("![Dollars per token of each chip on each workload](regret.svg)")
    run.add("## Numbers")
    for metric, title in ((USD, "dollars"), (JOULE, "joules")):
        got = found[metric]
        rows = []
        for i, name in enumerate([*names, "all of them"]):
            chip = got["chips"][i]
            rows.append(
                [
                    name,
                    two(balance_of(pool, chip)),
                    two(chip["chip.compute.macs"] / 1e3),
                    two(chip["chip.sram.capacity"] / 1e6),
                    two(chip["chip.dram.stacks"]),
                    two(chip["chip.link.bandwidth"] / 1e9),
                    two(chip["chip.tdp"]),
                    two(got["area"][i] * 1e6),
                    two(got["price"][i]),
                ]
            )
        head = ["best chip for", "FLOP/byte", "kMAC", "SRAM [MB]", "HBM stacks"]
        head += ["links [GB/s]", "TDP [W]", "die [mm²]", "price [USD]"]
        run.add(f"Chips of least {title} per token:", *table(head, rows))
        rows = [
            [name, *(band(x) for x in got["regret"][i])]
            for i, name in enumerate([*names, "all-rounder"])
        ]
        run.add(f"{title.capitalize()} per token over the workload's own chip:")
        run.add(*table(["chip of", *names], rows))
    run.add("![What a chip for each phase saves](pair.svg)")
    rows = [
        [two(r), *(band(pairs[m][i]) for m in (USD, JOULE))]
        for i, r in enumerate(RATIOS)
    ]
    head = ["prompt per output token", "dollars saved [%]", "joules saved [%]"]
    run.add(
        *table(head, rows),
        f"""{len(pool.chips)} chips were priced on every workload, each at the best of
        its batches and with the voltage that its power allows; illegal ones (reticle,
        shoreline, power density, memory) are out. The draws re-price the chosen chips;
        the choice itself is that of the central constants.""",
    )


def closing(run: Run) -> None:
    """What matters most and what would change the verdicts."""
    base = case_of(run.study)
    run.add(
        "## What matters most",
        *elasticity_table(
            [
                ("J/token, decode", elasticity(base, of="energy_per_token_server")),
                ("USD/token, decode", elasticity(base, of="usd_per_token")),
            ]
        ),
        "## What would change the verdict",
        """- Claim 13: a denoiser that keeps most of its latent tokens between passes
        would turn memory-bound as decode is.""",
        """- Claim 14: chips of other memory for each phase (no HBM for prefill) would
        widen the gap; the pool shares one memory generation and one style. Moving the
        KV cache between chips is free here; it is kilobytes per token.""",
        """- Claim 15: specialists that leave things out (formats, vector units, a
        program) would gain more than the same parts in other numbers do here.""",
        """No pair of such chips is measured: the pool is the model's alone, under one
        software without overheads.""",
    )


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    change = "request.prompt_length=8192"
    return main(__file__, write, change=change, arguments=arguments)


if __name__ == "__main__":
    run_experiment()
