"""``codesign sensitivity``: what does one percent more of a parameter change?"""

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
Top = Annotated[int, typer.Option("--top", min=1, help="Rows of the table.")]


@design_flags
def sensitivity(
    flags: DesignFlags,
    *,
    of: Of = "energy_per_token",
    wrt: Wrt = None,
    top: Top = 25,
    as_json: Json = False,
) -> None:
    """Exact elasticities of a metric, d ln metric / d ln parameter.

    Example: codesign sensitivity --chip h100-sxm --num-chips 8 --model llama-3-70b
    --batch 64 --prompt-length 1024 --output-length 256 --of usd_per_token
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import console, print_json, show_table, versions
    from codesign.optimize.sensitivity import elasticities
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
        columns=("parameter", "change [%]"),
        rows=tuple((path, number(found[path])) for path in order[:top]),
        note=f"{len(order)} parameters are not zero; --json prints all.",
    )
    show_table(console(), table)
