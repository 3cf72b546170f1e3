"""``codesign evaluate``: what does one design cost?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.app.errors import INFEASIBLE, complain
from codesign.app.flags import DesignFlags, Json, design_flags, read_design
from codesign.core.errors import InputError

if TYPE_CHECKING:
    from codesign.cost.record import Cost
    from codesign.outcome.service import Service
    from codesign.serving.design import Design

    Costs = tuple[Cost, Service]

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Also write a file: .json of the results, or .yaml of the whole design.",
        show_default=False,
    ),
]
SUFFIXES = (".json", ".yaml", ".yml")
NO_SOURCES = (
    "Sources: a design file does not keep which values of its chip were announced, "
    "recalled or assumed; the preset or study that it came from does."
)


@design_flags
def evaluate(flags: DesignFlags, *, as_json: Json = False, out: Out = None) -> None:
    """Time, energy, power, dollars and carbon of one design.

    A design is given by flags, or by a file such as best.yaml of a run, which
    flags then change. Exit code 3 if it does not fit into memory; other limits
    that it breaks, such as the area of a die, are named as warnings.

    Example: codesign evaluate --chip h100-sxm --num-chips 8 --model llama-3-70b
    --batch 64 --prompt-length 1024 --output-length 256
    """
    if out is not None and out.suffix not in SUFFIXES:
        raise InputError(f"--out {out}: end the name in .json or .yaml.")
    from codesign.app.start import start_jax

    start_jax()
    import jax

    from codesign.app.infeasible import memory_text, warnings
    from codesign.app.output import json_text, write_output
    from codesign.config.checked import beyond_checked, extrapolation_text
    from codesign.cost.evaluate import evaluate as run
    from codesign.study.line import violated_limits
    from codesign.study.service import service

    design = read_design(flags)
    cost = jax.device_get(run(design))
    served = jax.device_get(service(design, cost))
    data = _as_dict(flags, design, costs=(cost, served)) if as_json or out else {}
    if as_json:
        typer.echo(json_text(data))
    else:
        _show(flags, design, costs=(cost, served))
    if out is not None and out.suffix == ".json":
        write_output(out, json_text(data) + "\n")
    elif out is not None:
        _save(out, design, title=flags.text())
    for line in warnings(cost):
        complain(line)
    far = beyond_checked(design)
    if far:
        complain(extrapolation_text(far))
    if "memory" in violated_limits(cost):
        complain(memory_text(design, cost))
        raise typer.Exit(INFEASIBLE)


def _as_dict(flags: DesignFlags, design: "Design", *, costs: "Costs") -> dict[str, Any]:
    """Fields of ``Cost`` and ``Service`` in SI, broken limits, inputs, doubts."""
    from codesign.app.flags import unsure_values
    from codesign.app.output import versions
    from codesign.config.checked import beyond_checked
    from codesign.study.line import violated_limits
    from codesign.study.plain import to_plain

    cost, served = costs
    return {
        **to_plain(cost),
        **to_plain(served),
        "intervals": _intervals(flags, cost),
        "violated": violated_limits(cost),
        "inputs": to_plain(design),
        "extrapolated": {far.path: far.factor for far in beyond_checked(design)},
        "unsure": unsure_values(flags),
        "versions": versions(),
    }


def _intervals(flags: DesignFlags, cost: "Cost") -> dict[str, Any] | None:
    """Intervals around metrics; None for a design file, which names no stack."""
    from codesign.app.flags import given_stack
    from codesign.report.intervals import cost_intervals

    stack = given_stack(flags)
    return dict(cost_intervals(cost, stack)) if stack else None


def _save(out: Path, design: "Design", *, title: str) -> None:
    from codesign.app.output import write_whole
    from codesign.config.design import save_design

    comment = f"{title}\ncodesign evaluate {out.name}"
    write_whole(out, lambda part: save_design(design, part, comment=comment))


def _show(flags: DesignFlags, design: "Design", *, costs: "Costs") -> None:
    from codesign.app.design_tables import design_tables
    from codesign.app.flags import given_chip, given_stack
    from codesign.app.output import console, show_table
    from codesign.report.intervals import cost_intervals_table
    from codesign.report.sources import unsure_table

    screen = console()
    screen.print(flags.text(), style="bold", markup=False)
    cost, served = costs
    for table in design_tables(design, cost, served=served):
        show_table(screen, table)
    stack = given_stack(flags)
    if stack:
        show_table(screen, cost_intervals_table(cost, stack))
    chip = given_chip(flags)
    if chip:
        show_table(screen, unsure_table(chip))
    else:
        screen.print(NO_SOURCES, markup=False)
