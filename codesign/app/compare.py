"""``codesign compare``: what changed between two runs, and why?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesign.app.flags import Json

if TYPE_CHECKING:
    from codesign.study.compare import Change, Comparison

Before = Annotated[
    Path, typer.Argument(metavar="BEFORE", help="Folder of a run, or a design file.")
]
After = Annotated[
    Path, typer.Argument(metavar="AFTER", help="Folder of a run, or a design file.")
]
Of = Annotated[str, typer.Option("--of", help="Metric to explain: a field of Cost.")]
SHOWN = (
    "energy_per_token_server",
    "energy_per_token",
    "time_per_output_token",
    "time_to_first_token",
    "throughput",
    "power",
    "usd_per_token",
    "chip.area",
)


def compare(
    before: Before,
    after: After,
    *,
    of: Of = "energy_per_token_server",
    as_json: Json = False,
) -> None:
    """Variables, metrics and components of two designs, and what made the change.

    The change of one metric is shared out among the variables that differ; the
    factors multiply to the whole.

    Example: codesign compare runs/before runs/after
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import print_json, versions
    from codesign.study.compare import compare as run
    from codesign.study.compare import comparison_to_dict

    found = run(before, after, of=of)
    if as_json:
        print_json({**comparison_to_dict(found), "versions": versions()})
    else:
        _show(found)


def _show(found: "Comparison") -> None:
    import math

    from codesign.app.output import console, show_table
    from codesign.config.doubts import doubtful_paths, doubts_text
    from codesign.report.tables import Table
    from codesign.report.texts import number

    screen = console()
    metrics = [c for c in found.metrics if c.name in SHOWN]
    parts = {
        "Variables": found.variables,
        "Metrics": metrics,
        "Energy per token by component": found.components,
    }
    doubts = [doubtful_paths(each) for each in found.unsure]
    for title, changes in parts.items():
        rows = tuple(_row(change, doubts) for change in changes)
        show_table(screen, Table(title, ("name", "before", "after", "factor"), rows))
    rows = [(name, number(math.exp(share))) for name, share in found.why.items()]
    rows.append(("together", number(math.exp(found.total))))
    show_table(screen, Table(f"Why {found.of}", ("change of", "factor"), tuple(rows)))
    for side, unsure in zip(("before", "after"), found.unsure, strict=True):
        if unsure != {}:
            screen.print(f"? {side}: {doubts_text(unsure)}", markup=False)


def _row(change: "Change", doubts: "list[dict[str, str]]") -> tuple[str, ...]:
    from codesign.core.quantities import Unit
    from codesign.report.texts import number, quantity

    unit = Unit(change.unit)
    values = [
        quantity(value, unit) + (" ?" if change.name in known else "")
        for value, known in zip((change.before, change.after), doubts, strict=True)
    ]
    return (change.name, *values, number(change.ratio))
