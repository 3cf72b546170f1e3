"""``codesign sensitivity``: what does one percent more of a parameter change?"""

from pathlib import Path
from typing import Annotated

import typer

from codesign.app.flags import DesignFlags, Json, design_flags, read_design

Of = Annotated[
    str, typer.Option("--of", help="Metric: a field of Cost, such as power.")
]
Wrt = Annotated[
    list[str] | None,
    typer.Option(
        "--wrt",
        metavar="PATH",
        help="Parameter or group, such as chip.dram. Repeatable. Default: all.",
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="Folder of a search: how does its best design move with constants of "
        "technology, stack and quality, and with the limits that bind?",
        show_default=False,
    ),
]
Top = Annotated[int, typer.Option("--top", min=1, help="Rows of the table.")]


@design_flags
def sensitivity(
    flags: DesignFlags,
    *,
    of: Of = "energy_per_token",
    wrt: Wrt = None,
    run: Run = None,
    top: Top = 25,
    as_json: Json = False,
) -> None:
    """Exact elasticities of a metric, d ln metric / d ln parameter.

    With --run: d ln variable / d ln constant of the optimum of a search.

    Example: codesign sensitivity --chip h100-sxm --num-chips 8 --model llama-3-70b
    --batch 64 --prompt-length 1024 --output-length 256 --of usd_per_token
    """
    from codesign.app.start import start_jax

    start_jax()
    if run is not None:
        design_moves(run, wrt=wrt, top=top, as_json=as_json)
        return
    from codesign.app.output import console, print_json, show_table, versions
    from codesign.optimize.sensitivity import elasticities
    from codesign.report.natural import COLUMN, NOTE, ratio_error
    from codesign.report.tables import Table
    from codesign.report.texts import number

    design = read_design(flags)
    found = elasticities(design, of=of, wrt=wrt or None)
    if as_json:
        print_json({"of": of, "elasticities": found, "versions": versions()})
        return
    order = sorted(found, key=lambda path: -abs(found[path]))
    table = Table(
        title=f"{flags.text()}\n{of}: change per 1 % more of a parameter",
        columns=("parameter", "change [%]", COLUMN),
        rows=tuple((p, number(found[p]), ratio_error(p)) for p in order[:top]),
        note=f"{len(order)} parameters are not zero; --json prints all. {NOTE}",
    )
    show_table(console(), table)


def design_moves(run: Path, *, wrt: list[str] | None, top: int, as_json: bool) -> None:
    """Print how the best design of a run moves with constants and limits."""
    from dataclasses import asdict

    from codesign.app.output import console, print_json, show_table, versions
    from codesign.optimize.implicit import design_sensitivity
    from codesign.report.tables import Table
    from codesign.report.texts import number
    from codesign.study.plain import finite_or_none
    from codesign.study.runs import load_run

    found = design_sensitivity(load_run(run), wrt=wrt or None)
    if as_json:
        print_json({**finite_or_none(asdict(found)), "versions": versions()})
        return
    table = Table(
        title=f"{run.name}: how the best design moves per 1 % more",
        columns=("of", "variable", "change [%]"),
        rows=tuple((a, b, number(slope)) for a, b, slope in found.strongest(top)),
        note=f"Listed choices held. {found.note()}",
    )
    show_table(console(), table)
