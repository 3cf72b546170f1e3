"""How many bits does a weight, an activation or a cached value deserve?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/05_precision/run.py            # the page
    python experiments/05_precision/run.py --small    # fewer draws
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from codesign.model.parameters import count_parameters
from codesign.serving.design import set_parameter
from experiments.common import figure as fig
from experiments.common.draws import (
    COMMON_STACK,
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
    elasticity_table,
    log,
    main,
    table,
    two,
)
from experiments.common.quality import closing_growth
from experiments.common.verdict import part

COMMAND = "python experiments/05_precision/run.py"
GROWTH = np.geomspace(0.97, 2.6, 24)  # layers over the reference's
BATCHES = (1.0, 16.0, 256.0)
OPERANDS = {
    "weights": ("model.weight_bits",),
    "weights and activations": ("model.weight_bits", "model.activation_bits"),
    "KV cache": ("model.kv_bits",),
}
CHIPS = {"h100-sxm": fig.BLUE, "b200-sxm": fig.ORANGE}
ROOM = 48e9  # bytes of the card that the claim names


def formats(case: Case, paths: Sequence[str], *, bits: float) -> Case:
    """The case with some operands at a width."""
    return at(case, **{path.replace(".", "__"): bits for path in paths})


def grown(case: Case, factor: float) -> Case:
    """The case with more layers of the same shape."""
    layers = float(case.design.model.num_layers) * factor
    return at(case, model__num_layers=layers)


def needed_growth(case: Case, paths: Sequence[str], *, bits: float) -> np.ndarray:
    """Layers over the reference's that make up for a width, per quality draw."""
    narrow = formats(case, paths, bits=bits).design
    models = [
        set_parameter(
            narrow,
            "model.num_layers",
            value=np.asarray(float(narrow.model.num_layers) * factor),
        ).model
        for factor in GROWTH
    ]
    return closing_growth(models, GROWTH, reference=case.design.model)


def at_equal_quality(
    run: Run, case: Case, *, paths: Sequence[str], growth: dict[float, np.ndarray]
) -> dict[float, np.ndarray]:
    """Joules per token over those of 16 bit, by width; a lane pairs both draws."""
    base = evaluate_cases([case], draws=run.draws)[0].energy_per_token
    found = {}
    for bits, needed in growth.items():
        grid = np.array([1.0, 1.5, 2.5])
        cases = [grown(formats(case, paths, bits=bits), f) for f in grid]
        joules = column(evaluate_cases(cases, draws=run.draws), "energy_per_token")
        reached = needed[np.isfinite(needed)]
        middle = np.median(reached) if reached.size else np.nan
        lanes = np.concatenate([[middle], np.resize(needed, run.draws)])
        ratio = [
            np.interp(size, grid, joules[:, i]) if np.isfinite(size) else np.nan
            for i, size in enumerate(lanes)
        ]
        found[bits] = np.asarray(ratio) / base
    return found


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    widths = run.values("model.weight_bits")
    base = case_of(run.study)
    log.info("quality")
    growth = {
        name: {b: needed_growth(base, paths, bits=b) for b in widths}
        for name, paths in OPERANDS.items()
    }
    log.info("joules")
    given = run.study.resolved["baseline"]
    request = run.study.baseline.request
    cases = {
        chip: build_case(
            chip,
            chip=chip,
            stack=COMMON_STACK,
            num_chips=float(given["num_chips"]),
            tensor_parallel=float(given["tensor_parallel"]),
            model=str(given["model"]),
            batch=float(given["batch"]),
            prompt_length=float(request.prompt_length),
            output_length=float(request.output_length),
        )
        for chip in CHIPS
    }
    joules = {
        (chip, name): at_equal_quality(run, case, paths=paths, growth=growth[name])
        for chip, case in cases.items()
        for name, paths in OPERANDS.items()
    }
    batches = {
        batch: at_equal_quality(
            run,
            at(cases["h100-sxm"], deployment__batch=batch),
            paths=OPERANDS["weights"],
            growth=growth["weights"],
        )
        for batch in BATCHES
    }
    software = {
        f"{chip}, {title}": at_equal_quality(
            run,
            on_stack(case, stack),
            paths=OPERANDS["weights"],
            growth=growth["weights"],
        )
        for chip, case in cases.items()
        for title, stack in SOFTWARE.items()
    }
    draw(run, widths, joules=joules)
    page(
        run,
        {
            "widths": widths,
            "growth": growth,
            "joules": joules,
            "batches": batches,
            "software": software,
            "base": base,
            "cases": cases,
        },
    )


def draw(run: Run, widths: Sequence[float], *, joules: dict[Any, Any]) -> None:
    """Joules at equal quality over the width."""
    with fig.figure(run, "bits", columns=2, size=(8.2, 4.4)) as both:
        colors = (fig.BLUE, fig.ORANGE, fig.GREEN)
        for axes, chip in zip(both, CHIPS, strict=True):
            for color, name in zip(colors, OPERANDS, strict=True):
                values = joules[chip, name]
                known = [b for b in widths if np.mean(np.isfinite(values[b])) > 0.5]
                fig.line(
                    axes,
                    known,
                    y=[values[b] for b in known],
                    label=name,
                    color=color,
                    marker="o",
                )
            axes.axhline(1, color=fig.GREY, lw=1)
            axes.set(
                xlabel="bits",
                ylabel="J/token over 16 bit, equal quality",
                title=chip,
                ylim=(0, 2),
                xticks=[2, 4, 6, 8, 16],
            )
        fig.legend_above(both[0], columns=3)


def best_width(found: dict[float, np.ndarray]) -> np.ndarray:
    """Width of least joules in every draw."""
    widths = np.array(list(found))
    values = np.stack(list(found.values()))
    return widths[np.nanargmin(np.where(np.isfinite(values), values, 9.0), axis=0)]


def memory_share(run: Run, case: Case) -> np.ndarray:
    """Share of a decode step's time on the chip in which memory is waited for."""
    cost = evaluate_cases([case], draws=run.draws)[0].breakdown.decode_seconds
    whole = cost.memory + cost.compute + cost.vector
    return cost.memory / whole


def page(run: Run, got: dict[str, Any]) -> None:
    """The text around the numbers."""
    base, weights = got["base"], got["joules"]["h100-sxm", "weights"]
    best = best_width(weights)
    four = formats(base, OPERANDS["weights and activations"], bits=4.0)
    wall = memory_share(run, formats(base, OPERANDS["weights"], bits=4.0))
    count = count_parameters(base.design.model)
    bits = 4.0 + float(base.design.model.scale_bits)
    linear = float(count.total - count.embedding - count.head)
    tables = float(count.embedding + count.head) * float(base.design.model.head_bits)
    stored = (linear * bits + tables) / 8
    run.add("# 05 How many bits does a number deserve?")
    run.claim(
        7,
        "Quantisation helps down to INT4, then quality falls; it does not remove the "
        "memory wall; 70B at INT4 fits 48 GB.",
        parts=[
            part("4-bit weights take fewer joules than 8-bit ones at equal quality",
                 weights[4.0] < weights[8.0]),
            part("3-bit weights take more joules than 4-bit ones at equal quality",
                 np.where(np.isfinite(weights[3.0]), weights[3.0], 9.0) > weights[4.0]),
            part("with 4-bit weights decode still waits for memory over half of its "
                 "time on the chip", wall > 0.5),
            part("70B weights at 4 bit fit in 48 GB", [stored < ROOM]),
        ],
        gist=f"""At equal quality the least joules per token on H100 are at
        {band(best, "bit")} weights: {band(weights[4.0])} of 16 bit at 4 bit,
        {band(weights[8.0])} at 8 bit, {band(weights[3.0])} at 3. Scales and a 16-bit
        head included, a 70B model at 4 bit takes {two(stored / 1e9)} GB. Decode then
        still waits for memory {band(wall, "%", scale=0.01)} of its time.""",
        surprise=f"""At equal quality weights want {band(best, "bit")}: what narrower
        ones lose has to be bought back with layers.""",
    )  # fmt: skip
    run.add("![Joules at equal quality over bits](bits.svg)", "## Numbers")
    run.add(
        """Layers over the reference's that make up for a width (the gap to 16 bit is
        then zero; – where no growth within the range does), over the draws of the
        quality law:"""
    )
    rows = [
        [f"{b:g}", *(quantiles(got["growth"][name][b]) for name in OPERANDS)]
        for b in got["widths"]
    ]
    run.add(*table(["bits", *OPERANDS], rows))
    run.add("J/token over 16 bit at equal quality:")
    head = ["bits", *(f"{chip}, {name}" for chip, name in got["joules"])]
    rows = [
        [f"{b:g}", *(band(found[b]) for found in got["joules"].values())]
        for b in got["widths"]
    ]
    run.add(*table(head, rows))
    run.add("How the best width moves, weights alone unless said:")
    rows = [
        [f"{batch:g} sequences", band(best_width(found), "bit"), band(found[4.0])]
        for batch, found in got["batches"].items()
    ]
    rows += [
        [title, band(best_width(found), "bit"), band(found[4.0])]
        for title, found in got["software"].items()
    ]
    rows += [
        [
            f"{chip}, weights and activations",
            band(best_width(got["joules"][chip, "weights and activations"]), "bit"),
            band(got["joules"][chip, "weights and activations"][4.0]),
        ]
        for chip in CHIPS
    ]
    run.add(*table(["case", "best width", "J/token at 4 bit over 16"], rows))
    run.add(
        "## What matters most",
        *elasticity_table(
            [
                ("J/token, 16 bit", elasticity(base, of="energy_per_token")),
                ("J/token, 4 bit", elasticity(four, of="energy_per_token")),
            ]
        ),
        """The lost quality is bought back with layers of the same shape, which the law
        taxes as they grow deep; a wider model would need a little less.""",
        """Beside these, `lambda`: what a nat of a text benchmark is worth in nats of
        the law, known to a factor of two; it moves the growth needed at 3 and 4 bit in
        proportion.""",
        "## What would change the verdict",
        """- Training in low precision instead of rounding after training; a recipe that
        loses less moves the best width down.""",
        """- Fewer training tokens: rounding costs more the longer a model was
        trained.""",
        """- Batches where compute binds: there weights alone save little, and only
        formats with their own rate in hardware do.""",
        "No measured run of one model at several widths on one chip is public with its "
        "power, so the joules stand without measurement; quality rests on 569 measured "
        "perplexities.",
    )


def quantiles(values: np.ndarray) -> str:
    """Median and band of quality draws, of which none is central."""
    return band(np.concatenate([[np.nan], values]))


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    return main(__file__, write, change="baseline.batch=64", arguments=arguments)


if __name__ == "__main__":
    run_experiment()
