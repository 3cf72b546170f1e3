"""Does it pay to choose the hidden size for the hardware's tiles?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/07_shape_and_tiles/run.py            # the page
    python experiments/07_shape_and_tiles/run.py --small    # fewer draws
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from codesign.cost.passes import PassCost, pass_cost
from codesign.model.parameters import count_parameters
from codesign.serving.design import Design
from codesign.serving.training import prompt_pass
from experiments.common import figure as fig
from experiments.common.draws import (
    SOFTWARE,
    Case,
    at,
    build_case,
    column,
    elasticity,
    evaluate_cases,
    on_stack,
)
from experiments.common.page import (
    Run,
    band,
    elasticity_table,
    interval,
    log,
    main,
    table,
)
from experiments.common.verdict import part

COMMAND = "python experiments/07_shape_and_tiles/run.py"
CHIPS = {
    "h100-sxm": (1, fig.BLUE),
    "tpu-v4": (1, fig.ORANGE),
    "inhouse-asic": (1, fig.GREEN),
    "groqchip1": (128, fig.RED),
}
ALIGNED = 128.0
PROMPT = 2048.0
STACK = "ideal"


def one_prompt(design: Design, extra: jax.Array) -> PassCost:
    """A pass over one prompt."""
    return pass_cost(design, prompt_pass(extra[0], prompts=extra[0] * 0 + 1.0))


def chip_cases(run: Run, chip: str) -> list[Case]:
    """The study's model at every hidden size on a chip."""
    base, (chips, _) = run.study.baseline, CHIPS[chip]
    case = build_case(
        chip,
        chip=chip,
        stack=STACK,
        num_chips=chips,
        tensor_parallel=8 if chips > 1 else 1,
        pipeline_parallel=chips // 8 if chips > 1 else 1,
        model=str(run.study.resolved["baseline"]["model"]),
        batch=float(base.deployment.batch),
        prompt_length=float(base.request.prompt_length),
        output_length=float(base.request.output_length),
        extra=(PROMPT,),
    )
    return [at(case, model__hidden_size=d) for d in run.values("model.hidden_size")]


def weights(case: Case) -> float:
    """Weights that a token meets."""
    return float(count_parameters(case.design.model).active)


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    sizes = np.asarray(run.values("model.hidden_size"))
    found: dict[str, dict[str, np.ndarray]] = {}
    cases: dict[str, list[Case]] = {}
    for chip in CHIPS:
        log.info(chip)
        cases[chip] = chip_cases(run, chip)
        each = np.array([weights(c) for c in cases[chip]])[:, None]
        prompt = evaluate_cases(cases[chip], draws=run.draws, function=one_prompt)
        serve = evaluate_cases(cases[chip], draws=run.draws)
        times = {
            "prefill": column(prompt, "duration"),
            "decode": column(serve, "time_per_output_token"),
            "joule": column(serve, "energy_per_token"),
        }
        found[chip] = {name: relative(each / t, sizes) for name, t in times.items()}
    log.info("software")
    software = {
        title: {chip: prefill_lost(run, cases[chip], stack=stack) for chip in CHIPS}
        for title, stack in SOFTWARE.items()
    }
    draw(run, sizes, found=found)
    page(run, sizes, got={"found": found, "cases": cases, "software": software})


def prefill_lost(run: Run, cases: Sequence[Case], *, stack: str | None) -> np.ndarray:
    """Worst loss of prefill of a size off the tiles, under a software."""
    sizes = np.asarray(run.values("model.hidden_size"))
    each = np.array([weights(case) for case in cases])[:, None]
    moved = [on_stack(case, stack) for case in cases]
    costs = evaluate_cases(moved, draws=run.draws, function=one_prompt)
    line = relative(each / column(costs, "duration"), sizes)
    return 1 - line[sizes % ALIGNED != 0].min(axis=0)


def relative(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Work per time over the straight line through the multiples of 128.

    The line takes out that larger models share fixed costs among more weights.
    """
    aligned = sizes % ALIGNED == 0
    slope, level = np.polyfit(sizes[aligned], values[aligned], 1)
    return values / (sizes[:, None] * slope + level)


def draw(run: Run, sizes: np.ndarray, *, found: dict[str, Any]) -> None:
    """Useful work per time over the hidden size, prefill and decode."""
    with fig.figure(run, "tiles", columns=2, size=(8.2, 4.4)) as both:
        for axes, phase in zip(both, ("prefill", "decode"), strict=True):
            for chip, (_, color) in CHIPS.items():
                fig.line(
                    axes,
                    sizes,
                    y=list(found[chip][phase]),
                    label=chip,
                    color=color,
                    scale=0.01,
                )
            for size in sizes[sizes % 512 == 0]:
                axes.axvline(size, color=fig.GREY, lw=0.6, ls=":")
            axes.set(
                xlabel="hidden size; dots: multiples of 512",
                ylabel="weights per second over the line [%]",
                title=phase,
                ylim=(90, 104),
            )
        fig.legend_above(both[0], columns=4)


def page(run: Run, sizes: np.ndarray, *, got: dict[str, Any]) -> None:
    """The text around the numbers."""
    found = got["found"]
    odd = sizes % ALIGNED != 0
    loss = {
        chip: {p: 1 - values[p][odd].min(axis=0) for p in values}
        for chip, values in found.items()
    }
    power = {
        chip: values["prefill"][sizes == 4096][0] - 1 for chip, values in found.items()
    }
    worst = np.max([x["prefill"] for x in loss.values()], axis=0)
    decode = np.max([loss[c]["decode"] for c in CHIPS if c != "groqchip1"], axis=0)
    run.add("# 07 Should the hidden size fit the tiles?")
    run.claim(
        10,
        "Choosing the hidden size to match the hardware (powers of two, tiles) pays "
        "from day one.",
        parts=[
            part("a size off the tiles loses over 1 % of prefill on some chip",
                 worst > 0.01),
            part("a size off the tiles loses over 5 % of decode on a chip with HBM",
                 decode > 0.05),
            part("a power of two beats multiples of 128 by 1 % on a chip with HBM",
                 np.max([power[c] for c in CHIPS if c != "groqchip1"], axis=0) > 0.01),
        ],
        gist=f"""The worst size off the multiples of 128 loses
        {band(100 * loss["h100-sxm"]["prefill"], "%")} of prefill on H100,
        {band(100 * loss["tpu-v4"]["prefill"], "%")} on TPU v4 and
        {band(100 * loss["groqchip1"]["prefill"], "%")} on the LPU; decode loses at most
        {band(100 * decode, "%")} where HBM is waited for. A power of two lies
        {band(100 * power["h100-sxm"], "%")} above the line through the multiples of 128
        on H100 and {band(100 * power["tpu-v4"], "%")} on TPU v4.""",
    )  # fmt: skip
    run.add("![Work per time over the hidden size](tiles.svg)", "## Numbers")
    rows = [
        [
            chip,
            *(band(100 * loss[chip][p]) for p in ("prefill", "decode", "joule")),
            band(100 * power[chip]),
        ]
        for chip in CHIPS
    ]
    head = ["chip", "prefill lost [%]", "decode lost [%]", "joules lost [%]"]
    head += ["power of two gains [%]"]
    run.add(
        """Largest loss of sizes off the tiles, against the line through multiples of
        128:""",
        *table(head, rows),
    )
    rows = [
        [title, *(band(100 * lost[chip]) for chip in CHIPS)]
        for title, lost in got["software"].items()
    ]
    run.add(
        "The same loss of prefill [%] by software; the rest of the page is perfect's:",
        *table(["software", *CHIPS], rows),
    )
    rows = [
        [f"{size:g}", *(share(found[c]["prefill"][i]) for c in CHIPS)]
        for i, size in enumerate(sizes)
    ]
    case = got["cases"]["h100-sxm"][0]
    run.add(
        "Weights per second of prefill over that line [%]:",
        *table(["hidden size", *CHIPS], rows),
        "## What matters most",
        *elasticity_table(
            [("time to first token, H100", elasticity(case, of="time_to_first_token"))]
        ),
        "## What would change the verdict",
        """- Tiles: those of a style are assumed, and drawn within their spread; kernels
        choose among several tile shapes, which softens every step.""",
        """- Tensor parallelism cuts the FFN and heads, not the hidden size: a size that
        fits one chip may not fit eight shares of its FFN.""",
        """Beside measurement: the calibration found that tile and wave quantisation
        changes the error on unseen serving runs by less than half a point, so what is
        seen in kernels drowns in serving.""",
    )


def share(values: np.ndarray) -> str:
    """Percent with one digit more than the rest: the differences are small."""
    middle, low, high = (100 * x for x in interval(values))
    return f"{middle:.0f} ({low:.0f}–{high:.0f})"


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    return main(__file__, write, change="baseline.batch=256", arguments=arguments)


if __name__ == "__main__":
    run_experiment()
