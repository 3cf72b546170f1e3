"""What does joint design gain over tuning, formats, model or hardware alone?

Study beside this file -> README.md and ladder.svg beside this file.

    python experiments/01_joint_design/run.py            # the page
    python experiments/01_joint_design/run.py --small    # mechanics, few starts
"""

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

import codesign as cd
from codesign.config.study import Study
from codesign.config.units import format_quantity
from codesign.core.paths import get_path, path_units
from codesign.core.quantities import Unit
from codesign.cost.record import Cost
from codesign.optimize import Result, ladder
from codesign.optimize.result import Rung
from codesign.serving.design import Design

HERE = Path(__file__).resolve().parent
ROUNDS = 2
COSTS = (
    "energy_per_token_server",
    "time_per_output_token",
    "time_to_first_token",
    "usd_per_token",
    "chip.area",
)
FREE = {
    "as given": "nothing",
    "tuned": "deployment",
    "formats": "deployment, weight and KV formats",
    "model": "deployment, model",
    "hardware": "deployment, chip",
    "alternating": f"model and chip in turn, {ROUNDS} rounds of two searches",
    "joint": "everything at once",
}
log = logging.getLogger("ladder")


def page(result: Result, *, small: bool) -> str:
    """The experiment's page; every number comes from the result."""
    study, tuned = result.study, result.baseline
    joint = change(result.best, tuned)
    command = "python experiments/01_joint_design/run.py" + (
        " --small" if small else ""
    )
    return "\n".join(
        [
            "# 01 What does joint design gain?",
            "",
            "**No verdict is given before constants and quality are calibrated**;",
            "this page shows the mechanics of the ladder on an interactive chat. With",
            f"today's constants the joint design needs {joint} energy per output token",
            "(server) against the *tuned* baseline, at equal latency, dollars per",
            "token, die area and model quality.",
            "",
            "![Energy per output token of every rung](ladder.svg)",
            "",
            *cost_table(result),
            "",
            "Percentages refer to the tuned baseline. What a rung may change:",
            "",
            *(f"- **{r.name}**: {FREE[r.name]}" for r in result.rungs),
            "",
            f"Every search has {study.search.starts} starts, seed",
            f"{study.search.seed}; *alternating* spends four searches, every other",
            "rung one. No rung is worse than the one it starts from; the joint search",
            "starts from all of them.",
            "",
            "## Designs",
            "",
            *variable_table(result),
            "",
            "## What to keep in mind",
            "",
            "- Constants of stack, power and technology are starting values with",
            "  the sources named in `configs/`; they are not fitted yet.",
            "- Quality is the mean scaling law, and no band is drawn yet.",
            "- Rounding to legal values leaves a gap to the relaxed optimum of the",
            f"  chosen formats and experts of {result.gap:.1%}.",
            "",
            f"Run again with `{command}`; change a number in `study.yaml` first if you",
            f"like. This run took {result.seconds:.0f} s.",
            "",
        ]
    )


def change(rung: Rung, tuned: Rung) -> str:
    """Relative change of the objective against the tuned baseline, two digits."""
    return f"{rung.objective / tuned.objective - 1:+.0%}"


def cost_table(result: Result) -> list[str]:
    """One line per rung: metrics with units, change, quality, worst limit."""
    units = path_units(Cost)
    names = [name.replace("_", " ").replace("chip.", "chip ") for name in COSTS]
    lines = [
        f"| rung | {' | '.join(names)} | against tuned | quality gap | limits kept |",
        "|---" * (len(COSTS) + 4) + "|",
    ]
    for rung in result.rungs:
        cells = [shown(get_path(rung.cost, path), units[path]) for path in COSTS]
        kept = "yes" if rung.feasible else f"no: {rung.worst}"
        gap = float(rung.quality.gap)
        lines.append(
            f"| {rung.name} | {' | '.join(cells)} | {change(rung, result.baseline)} "
            f"| {gap:+.2f} | {kept} |"
        )
    return lines


def variable_table(result: Result) -> list[str]:
    """The free variables of the study in every rung."""
    units = path_units(Design)
    names = " | ".join(rung.name for rung in result.rungs)
    lines = [f"| variable | {names} |", "|---" * (len(result.rungs) + 1) + "|"]
    for variable in result.study.free:
        path = variable.path
        cells = [shown(get_path(r.design, path), units[path]) for r in result.rungs]
        lines.append(f"| `{path}` | {' | '.join(cells)} |")
    return lines


def shown(value: object, unit: Unit) -> str:
    """A quantity with its unit, two digits."""
    return format_quantity(float(str(value)), unit, digits=2)


def chart(result: Result) -> str:
    """Bars of the objective over the rungs, as an SVG."""
    tuned = result.baseline.objective
    top = max(rung.objective for rung in result.rungs)
    bar, left, width = 34, 110, 420
    rows = []
    for index, rung in enumerate(result.rungs):
        y = 34 + index * bar
        length = width * rung.objective / top
        colour = "#0072B2" if rung.name != "as given" else "#999999"
        label = f"{rung.objective:.2g} J ({rung.objective / tuned - 1:+.0%})"
        rows.append(
            f'<text x="{left - 8}" y="{y + 17}" text-anchor="end">{rung.name}</text>'
            f'<rect x="{left}" y="{y}" width="{length:.0f}" height="24" '
            f'fill="{colour}"/>'
            f'<text x="{left + length + 6:.0f}" y="{y + 17}">{label}</text>'
        )
    height = 44 + bar * len(result.rungs)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="680" height="{height}" '
        f'font-family="sans-serif" font-size="13">'
        f'<rect width="680" height="{height}" fill="white"/>'
        f'<text x="{left}" y="20">energy per output token, server [J]; '
        f"change against tuned</text>{''.join(rows)}</svg>\n"
    )


def smaller(study: Study) -> Study:
    """The study with few starts, for a look at the mechanics."""
    return dataclasses.replace(
        study, search=dataclasses.replace(study.search, starts=16)
    )


def main(arguments: list[str] | None = None) -> Result:
    """Climb the ladder and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few starts")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the page")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    cd.enable_x64()
    study = cd.load_study(str(HERE / "study.yaml"))
    if options.small:
        study = smaller(study)
    result = ladder(study, rounds=ROUNDS, progress=log.info)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "ladder.svg").write_text(chart(result), encoding="utf-8")
    text = page(result, small=options.small)
    (options.out / "README.md").write_text(text, encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
