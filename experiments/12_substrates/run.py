"""What do analog cells and weights in mask ROM gain, end to end?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/12_substrates/run.py            # the page
    python experiments/12_substrates/run.py --small    # fewer draws
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from codesign.config.units import format_quantity
from codesign.core.paths import get_path, path_units
from codesign.serving.design import Design
from experiments.common import figure as fig
from experiments.common.draws import Case, at, build_case, elasticity, evaluate_cases
from experiments.common.page import (
    Run,
    band,
    clause,
    elasticity_table,
    interval,
    log,
    main,
    table,
)
from experiments.common.verdict import part

COMMAND = "python experiments/12_substrates/run.py"
FORMATS = ("model.weight_bits", "model.activation_bits", "model.kv_bits")
SYSTEMS = {
    "digital, HBM": ("inhouse-asic", 1, 1, 1),
    "analog arrays": ("analog-in-memory", 16, 8, 2),
    "weights in ROM": ("weights-in-rom", 2, 2, 1),
    "H100": ("h100-sxm", 1, 1, 1),
}
"""Chip, how many hold the whole model, tensor and pipeline parallelism."""
COLORS = dict(zip(SYSTEMS, (fig.BLUE, fig.PURPLE, fig.ORANGE, fig.GREY), strict=True))
DIGITAL, ANALOG, ROM, GPU = SYSTEMS
MATRIX = ("compute", "converter")
PARTS = {
    "matrix products, converters": ("compute", "converter"),
    "DRAM and its path": ("dram", "path"),
    "SRAM": ("sram",),
    "links, vector units": ("link", "vector"),
    "clocks and control": ("active",),
    "static": ("static",),
}
LIFETIME = "technology.datacenter.model_lifetime"
YEAR = 365.0 * 86400


def on(run: Run, name: str, *, stack: str | None) -> Case:
    """The study's model on a substrate."""
    chip, chips, tensor, stages = SYSTEMS[name]
    base, units = run.study.baseline, path_units(Design)
    return build_case(
        name,
        chip=chip,
        stack=stack,
        num_chips=chips,
        tensor_parallel=tensor,
        pipeline_parallel=stages,
        model=str(run.study.resolved["baseline"]["model"]),
        batch=float(base.deployment.batch),
        prompt_length=float(base.request.prompt_length),
        output_length=float(base.request.output_length),
        overrides=[
            f"{path}={format_quantity(float(get_path(base, path)), units[path])}"
            for path in FORMATS
        ],
    )


def parts_of(cost: Any) -> dict[str, np.ndarray]:
    """Joules per token by group of components."""
    energy = cost.breakdown.energy
    return {
        title: np.sum([np.asarray(getattr(energy, n)) for n in names], axis=0)
        for title, names in PARTS.items()
    }


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    batches = run.values("deployment.batch")
    found: dict[str, dict[str, list[Any]]] = {}
    for stack in ("ideal", None):
        log.info("stack %s", stack or "own")
        found[stack or "own"] = {
            name: evaluate_cases(
                [at(on(run, name, stack=stack), deployment__batch=b) for b in batches],
                draws=run.draws,
            )
            for name in SYSTEMS
        }
    lives = run.values(LIFETIME)
    life = {
        years: evaluate_cases(
            [
                at(
                    Case(**{**vars(on(run, ROM, stack="ideal")), "fixed": (LIFETIME,)}),
                    technology__datacenter__model_lifetime=years,
                    deployment__batch=batch,
                )
                for batch in (batches[0], batches[-1])
            ],
            draws=run.draws,
        )
        for years in lives
    }
    place = batches.index(float(run.study.baseline.deployment.batch))
    draw(run, found["ideal"], place=place)
    run.add("# 12 What do other substrates gain, end to end?")
    claim_analog(run, found["ideal"], place=place)
    claim_rom(run, found, batches=batches, life=life)
    page(run, found, batches=batches, life=life)


def claim_analog(run: Run, ideal: dict[str, list[Any]], *, place: int) -> None:
    """Analog arrays against digital multipliers under one perfect software."""
    digital, analog = ideal[DIGITAL][place], ideal[ANALOG][place]
    own, theirs = parts_of(digital), parts_of(analog)
    key = next(iter(PARTS))
    products = theirs[key] / own[key]
    whole = analog.energy_per_token / digital.energy_per_token
    ceiling = digital.energy_per_token / (digital.energy_per_token - own[key])
    still = clause(
        whole > 1,
        ": cells, converters and their leakage stand still while other layers work",
    )
    run.claim(
        19,
        "Analog substrates could be far more efficient.",
        parts=[
            part("matrix products, converters included, take less than half the joules",
                 products < 0.5),
            part("a token takes fewer joules end to end", whole < 1),
            part("free matrix products would halve the joules of the digital chip",
                 ceiling > 2),
        ],
        gist=f"""At 4-bit weights analog products with their converters take
        {band(products)} of the digital ones' joules, but a token takes {band(whole)}
        times as many end to
        end{still}. Even with free products the digital chip would gain a factor
        {band(ceiling)}: that is the ceiling.""",
        surprise=f"""Analog products, converters included, take {band(products)} of the
        digital ones' joules, and the chip around them {band(whole)} times the joules
        per token.""",
    )  # fmt: skip


def claim_rom(
    run: Run,
    found: dict[str, dict[str, list[Any]]],
    *,
    batches: Sequence[float],
    life: dict[float, list[Any]],
) -> None:
    """Fixed weights against a programmable chip."""
    ideal = found["ideal"]

    def ratio(metric: str, batch: int) -> np.ndarray:
        return getattr(ideal[ROM][batch], metric) / getattr(
            ideal[DIGITAL][batch], metric
        )

    one, many = ratio("usd_per_token", 0), ratio("usd_per_token", -1)
    energy, energy_many = (
        ratio("energy_per_token_server", 0),
        ratio("energy_per_token_server", -1),
    )
    fast = 1 / ratio("time_per_output_token", 0)
    best = {
        name: np.min([c.usd_per_token for c in ideal[name]], axis=0)
        for name in (ROM, DIGITAL)
    }
    short = life[min(life)][0].usd_per_token / life[max(life)][0].usd_per_token
    shared = clause(
        many > 1,
        ", since weights that need not be fetched save nothing where fetching is "
        "shared, and the chip has little arithmetic and slow memory for the cache",
    )
    run.claim(
        20,
        "Burning the model into a chip will be far cheaper.",
        parts=[
            part("one user's token costs less than half the dollars", one < 0.5),
            part("one user's token takes less than half the joules", energy < 0.5),
            part("at the cheapest batch of each a token costs less than half",
                 best[ROM] / best[DIGITAL] < 0.5),
        ],
        gist=f"""With perfect software and one user two ROM chips are {band(fast)} times
        as fast as the programmable chip, at {band(one)} of the dollars and
        {band(energy)} of the joules per token; at {batches[-1]:g} sequences they take
        {band(many)} and {band(energy_many)} times as
        much{shared}. A model that lives three months
        instead
        of three years costs {band(short)} times as much per token.""",
    )  # fmt: skip


def draw(run: Run, ideal: dict[str, list[Any]], *, place: int) -> None:
    """Joules by component per substrate."""
    colors = (fig.RED, fig.BLUE, fig.SKY, fig.GREEN, fig.ORANGE, "#bbbbbb")
    with fig.figure(run, "joules", size=(7.4, 4.2)) as axes:
        places = np.arange(len(SYSTEMS))[::-1]
        left = np.zeros(len(SYSTEMS))
        cells = [parts_of(ideal[name][place]) for name in SYSTEMS]
        for color, title in zip(colors, PARTS, strict=True):
            width = np.array([interval(cell[title])[0] for cell in cells]) * 1e3
            axes.barh(places, width, left=left, color=color, label=title, height=0.6)
            left += width
        for y, name in zip(places, SYSTEMS, strict=True):
            _, low, high = interval(ideal[name][place].energy_per_token * 1e3)
            axes.plot([low, high], [y - 0.38, y - 0.38], color=fig.BLACK, lw=1.6)
        axes.set_yticks(places, list(SYSTEMS))
        axes.grid(visible=False, axis="y")
        axes.set(
            xscale="symlog",
            xlabel="energy per token, chips [mJ]; line: 5–95 % of the total",
        )
        axes.set_xscale("linear")
        axes.legend(fontsize=9, loc="lower right")


def page(
    run: Run,
    found: dict[str, dict[str, list[Any]]],
    *,
    batches: Sequence[float],
    life: dict[float, list[Any]],
) -> None:
    """Tables and caveats."""
    run.add("![Joules per token by component](joules.svg)", "## Numbers")
    titles = {"ideal": "Perfect software:", "own": "Each with its own software:"}
    for stack, title in titles.items():
        rows = [
            [
                name,
                f"{batch:g}",
                band(1 / cost.time_per_output_token),
                band(cost.energy_per_token_server * 1e3),
                band(cost.usd_per_token, scale=1e-6),
            ]
            for name, costs in found[stack].items()
            for batch, cost in zip(batches, costs, strict=True)
        ]
        head = ["substrate", "sequences", "token/s per user", "mJ/token, server"]
        run.add(title, *table([*head, "USD/Mtoken"], rows))
    rows = [
        [f"{years / YEAR:.2g}", *(band(c.usd_per_token, scale=1e-6) for c in costs)]
        for years, costs in life.items()
    ]
    run.add("Weights in ROM, dollars per million tokens by the life of the model:")
    head = ["years", "one sequence", f"{batches[-1]:g} sequences"]
    analog, rom = on(run, ANALOG, stack="ideal"), on(run, ROM, stack="ideal")
    run.add(
        *table(head, rows),
        """The lifetime tokens follow: the system is fully used for the life of the
        model. At a tenth of the use a token costs ten times as much on every
        substrate.""",
        "## What matters most",
        *elasticity_table(
            [
                ("J/token, analog", elasticity(analog, of="energy_per_token")),
                ("J/token, ROM", elasticity(rom, of="energy_per_token")),
                ("USD/token, ROM", elasticity(rom, of="usd_per_token")),
            ]
        ),
        "## What would change the verdict",
        """- Claim 19: static power of the arrays. All cells of other layers wait while
        one works; a chip that powers them off at no cost would come near the ceiling.
        Noise and drift are not priced in quality.""",
        """- Claim 20: latency per layer. The software of static chips takes tens of
        microseconds per layer; the one announced chip of this kind claims under two.
        More arithmetic and HBM beside the ROM would help batches.""",
        """Neither substrate exists at this size with public measurements: archetypes,
        whose constants are assumed with wide spreads.""",
    )


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    change = "request.prompt_length=4096"
    return main(__file__, write, change=change, arguments=arguments)


if __name__ == "__main__":
    run_experiment()
