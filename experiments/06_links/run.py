"""How much link bandwidth do a trillion weights, dense decode and training need?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/06_links/run.py            # the page
    python experiments/06_links/run.py --small    # fewer draws
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

import codesign as cd
from codesign.config.catalogue import list_presets
from codesign.config.chips import chip_info
from codesign.core.paths import get_path
from codesign.cost.passes import PassCost, pass_cost, training_cost
from codesign.model.parameters import count_parameters
from codesign.serving.design import Design
from codesign.serving.training import Training, prompt_pass
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
    table,
    two,
)
from experiments.common.verdict import part

COMMAND = "python experiments/06_links/run.py"
NVLINK, PCIE = 450e9, 64e9
LENGTH = 4096.0
REPLICAS = 8
SLOWER = 1.1  # time over that with the best link that counts as slower
ANNOUNCED = ("rubin", "mi455x")
COLORS = (fig.BLUE, fig.SKY, fig.GREEN, fig.ORANGE, fig.RED)


def one_prompt(design: Design, extra: jax.Array) -> PassCost:
    """A pass over a number of prompts."""
    return pass_cost(design, prompt_pass(LENGTH, prompts=extra[0]))


def one_training_step(design: Design, extra: jax.Array) -> PassCost:
    """A step of training with a number of sequences per replica."""
    return training_cost(design, Training(sequences=extra[0], length=LENGTH))


def workloads(stack: str | None) -> dict[str, tuple[Case, Any, str]]:
    """Cases on H100 with NVLink, what evaluates them, and the metric of their time."""
    common = {"chip": "h100-sxm", "stack": stack, "tensor_parallel": 8}
    common |= {"prompt_length": 2048, "output_length": 512}
    dense = {"model": "llama-3-70b", "num_chips": 8}
    decode = "time_per_output_token"
    one, many = (
        build_case("", batch=batch, **dense, **common) for batch in (1.0, 64.0)
    )
    moe = build_case(
        "",
        model="qwen3-235b-a22b",
        num_chips=8,
        expert_parallel=8,
        batch=256.0,
        **{**common, "tensor_parallel": 4},
    )
    prompt = replace(many, extra=(1.0,))
    train = build_case(
        "", model="llama-3-70b", num_chips=8 * REPLICAS, batch=1.0, **common
    )
    train = at(train, system__domain_size=8.0 * REPLICAS)
    return {
        "dense decode, one user": (one, None, decode),
        "dense decode, 64 sequences": (many, None, decode),
        "expert decode, 256 sequences": (moe, None, decode),
        "dense prefill": (prompt, one_prompt, "duration"),
        "training step": (replace(train, extra=(4.0,)), one_training_step, "duration"),
    }


def slowdown(run: Run, stack: str | None) -> dict[str, np.ndarray]:
    """Time over bandwidth relative to the best link, a row per bandwidth."""
    sizes = run.values("chip.link.bandwidth")
    found = {}
    for name, (case, function, metric) in workloads(stack).items():
        cases = [at(case, chip__link__bandwidth=size) for size in [*sizes, NVLINK]]
        costs = evaluate_cases(cases, draws=run.draws, function=function)
        times = column(costs, metric)
        found[name] = times[:-1] / times[-1]
    return found


def largest_package() -> tuple[str, float]:
    """The HBM package on sale with the most memory, in bytes."""
    sizes: dict[str, float] = {}
    for name in list_presets("chips"):
        info, chip = chip_info(name), cd.load_chip(name)
        if info.memory.startswith("hbm3") and name not in ANNOUNCED:
            sizes[name] = float(chip.dram.stacks) * float(chip.dram.stack_capacity)
    best = max(sizes, key=lambda name: sizes[name])
    return best, sizes[best]


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    base = case_of(run.study)
    sizes = run.values("chip.link.bandwidth")
    log.info("a trillion weights")
    batches = (1.0, 64.0, 512.0)
    moe = {
        batch: evaluate_cases(
            [at(base, chip__link__bandwidth=s, deployment__batch=batch) for s in sizes],
            draws=run.draws,
        )
        for batch in batches
    }
    halves = {}
    for what, path in (
        ("links", "chip__link__bandwidth"),
        ("HBM", "chip__dram__bandwidth"),
        ("latency of a message", "stack__collective_time"),
    ):
        place = path.replace("__", ".")
        now = float(get_path(base.design, place))
        worse = now * 2 if "time" in place else now / 2
        fixed = replace(at(base, **{path: worse}), fixed=(place,))
        pair = evaluate_cases([replace(base, fixed=(place,)), fixed], draws=run.draws)
        halves[what] = pair[1].time_per_output_token / pair[0].time_per_output_token
    log.info("workloads")
    slow = slowdown(run, "vllm-0.11-h100")
    ideal = slowdown(run, "ideal")
    with fig.figure(run, "links") as axes:
        for color, (name, values) in zip(COLORS, slow.items(), strict=True):
            x = np.asarray(sizes) / 1e9
            fig.line(axes, x, y=list(values), label=name, color=color, marker="o")
        axes.axhline(1, color=fig.GREY, lw=1)
        axes.axvline(PCIE / 1e9, color=fig.GREY, lw=1, ls=":")
        axes.annotate("PCIe 5", (PCIE / 1e9, 0.55), fontsize=10, rotation=90)
        axes.axvline(NVLINK / 1e9, color=fig.GREY, lw=1, ls=":")
        axes.annotate("NVLink 4", (NVLINK / 1e9, 0.55), fontsize=10, rotation=90)
        fig.log_axes(axes)
        axes.set(
            xlabel="link bandwidth per direction [GB/s]",
            ylabel="time over that with NVLink 4",
            ylim=(0.5, None),
        )
        axes.legend(fontsize=10)
    page(run, base, got={"moe": moe, "halves": halves, "slow": slow, "ideal": ideal})


def page(run: Run, base: Case, *, got: dict[str, Any]) -> None:
    """The text around the numbers."""
    sizes = run.values("chip.link.bandwidth")
    slow, ideal, halves = got["slow"], got["ideal"], got["halves"]
    pcie = int(np.argmin(np.abs(np.asarray(sizes) - 50e9)))
    model = base.design.model
    count = count_parameters(model)
    weights = float(count.total) * (4 + float(model.scale_bits)) / 8
    name, room = largest_package()
    moe = got["moe"][64.0]
    factor = moe[0].time_per_output_token / moe[-2].time_per_output_token
    names = list(slow)
    overkill = clause(
        slow[names[0]][pcie] < SLOWER, " For one user the link is overkill."
    )
    prefill = clause(
        slow[names[3]][pcie] >= slow[names[4]][pcie],
        " Tensor-parallel prefill needs it as much as training does.",
    )
    run.add("# 06 How much do chips have to say to each other?")
    run.claim(
        8,
        "A 1T model at INT4 needs >500 GB, so inter-chip bandwidth decides.",
        parts=[
            part("the weights take more than 500 GB", [weights > 500e9]),
            part("no HBM package on sale holds them", [weights > room]),
            part("half the link bandwidth costs over 10 % of decode speed",
                 halves["links"] > 1.1),
            part("half the link bandwidth costs more than half the HBM bandwidth",
                 halves["links"] > halves["HBM"]),
        ],
        gist=f"""{two(float(count.total) / 1e12)}T weights take {two(weights / 1e9)} GB,
        {two(weights / room)} times the memory of the largest HBM package on sale
        ({name},
        {two(room / 1e9)} GB). On eight B200 half the link bandwidth makes a token
        {band(100 * (halves["links"] - 1), "%")} slower, half the HBM bandwidth
        {band(100 * (halves["HBM"] - 1), "%")}, twice the latency of a message
        {band(100 * (halves["latency of a message"] - 1), "%")}. At
        {two(sizes[0] / 1e9)} GB/s decode takes {band(factor)} times as long as at
        {two(sizes[-2] / 1e9)}.""",
    )  # fmt: skip
    run.claim(
        9,
        "NVLink's 900 GB/s is overkill for inference (point-to-point is enough) while "
        "training needs all-reduce.",
        parts=[
            part("at 50 GB/s per direction dense decode of one user is less than 10 % "
                 "slower", slow[names[0]][pcie] < SLOWER),
            part("so is dense decode of 64 sequences", slow[names[1]][pcie] < SLOWER),
            part("so is expert decode", slow[names[2]][pcie] < SLOWER),
            part("so is prefill", slow[names[3]][pcie] < SLOWER),
            part("training is more than 10 % slower", slow[names[4]][pcie] > SLOWER),
        ],
        gist=f"""With 50 GB/s instead of 450 GB/s per direction (NVLink's 900 counts
        both), dense decode of one user takes {band(slow[names[0]][pcie])} times as
        long,
        of 64 sequences {band(slow[names[1]][pcie])}, expert decode
        {band(slow[names[2]][pcie])}, prefill {band(slow[names[3]][pcie])}, a training
        step {band(slow[names[4]][pcie])}.{overkill}{prefill}""",
    )  # fmt: skip
    run.add("![Time over link bandwidth by workload](links.svg)", "## Numbers")
    run.add("Time over that with NVLink 4, on H100 with vLLM 0.11:")
    rows = [
        [two(s / 1e9), *(band(values[i]) for values in slow.values())]
        for i, s in enumerate(sizes)
    ]
    run.add(*table(["GB/s per direction", *slow], rows))
    run.add("The same with perfect software:")
    rows = [
        [two(s / 1e9), *(band(values[i]) for values in ideal.values())]
        for i, s in enumerate(sizes)
    ]
    run.add(*table(["GB/s per direction", *ideal], rows))
    run.add("A trillion weights on eight B200:")
    rows = [
        [two(s / 1e9), *(cell(got["moe"][b][i]) for b in got["moe"])]
        for i, s in enumerate(sizes)
    ]
    head = ["GB/s per direction", *(f"{b:g} sequences: ms; J" for b in got["moe"])]
    run.add(*table(head, rows))
    run.add(
        "## What matters most",
        *elasticity_table(
            [
                ("time, 1T model", elasticity(base, of="time_per_output_token")),
                ("J/token, 1T model", elasticity(base, of="energy_per_token")),
            ]
        ),
        "## What would change the verdict",
        """- Claim 8: several servers. Inside one server of eight packages the exchange
        of experts is small; across servers at 50 GB/s per chip it is the first row of
        the table.""",
        """- Claim 9: parallelism. Prefill with pipeline or data parallelism instead of
        tensor parallelism needs a fraction of the bytes; training with small
        per-replica batches needs more. Here training runs on 64 chips in one domain,
        four sequences per replica, four fifths of the gradient exchange hidden.""",
        """No measurement of one model at several link bandwidths is public; the
        measured
        collectives of up to eight H100 and B200 are inside the constants of the
        stacks.""",
    )


def cell(cost: Any) -> str:
    """Time and energy per token."""
    time = band(cost.time_per_output_token, scale=1e-3)
    return f"{time}; {band(cost.energy_per_token)}"


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    return main(__file__, write, change="baseline.batch=512", arguments=arguments)


if __name__ == "__main__":
    run_experiment()
