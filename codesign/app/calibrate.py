"""``codesign calibrate``: fit a serving stack to measured runs."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesign.app.flags import Json, complete
from codesign.app.validate import Models, Rows

if TYPE_CHECKING:
    from codesign.calibrate.calibrate import Calibration
    from codesign.report.tables import Table

Chip = Annotated[
    str,
    typer.Option(
        "--chip",
        help="Chip of the runs, as their table names it.",
        show_default=False,
        autocompletion=complete("chips"),
    ),
]
Source = Annotated[
    str, typer.Option("--source", help="Only rows of this source.", show_default=False)
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Only rows of this serving engine, such as vllm.",
        show_default=False,
    ),
]
Constants = Annotated[
    str,
    typer.Option(
        "--constants",
        metavar="FILE.yaml",
        help="Constants to fit, with priors: a preset or a file.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="STACK.yaml",
        help="Also write the calibrated stack.",
        show_default=False,
    ),
]


def calibrate(
    *,
    rows: Rows,
    chip: Chip,
    models: Models = None,
    source: Source = "",
    engine: Engine = "",
    constants: Constants = "serving",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Fit the constants of a serving stack to measured runs on one chip.

    Every model is also predicted by a fit that has not seen it; those errors are
    the ones to quote. Prints the constants with their uncertainty, which of them
    the runs cannot tell apart, the errors by kind of model, and how many runs
    the 80 % intervals hold.

    Example: codesign calibrate --rows serving.csv --models models.csv --chip H100
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import (
        console,
        print_json,
        show_table,
        versions,
        write_output,
    )
    from codesign.calibrate.calibrate import (
        calibrate as run,
    )
    from codesign.calibrate.calibrate import calibration_dict, stack_document
    from codesign.config.yaml import yaml_text

    def progress(text: str) -> None:
        typer.echo(text, err=True)

    found = run(
        rows,
        models,
        chip=chip,
        source=source,
        engine=engine,
        constants=constants,
        progress=progress,
    )
    if out is not None:
        words = ["codesign", "calibrate", "--rows", rows.name, "--chip", chip]
        words += ["--models", models.name] if models else []
        words += ["--source", source] if source else []
        words += ["--engine", engine] if engine else []
        words += ["--constants", Path(constants).name, "--out", out.name]
        document = stack_document(found, name=out.stem, command=shlex.join(words))
        write_output(out, yaml_text(document))
    if as_json:
        print_json({**calibration_dict(found), "versions": versions()})
        return
    screen = console()
    for table in _tables(found):
        show_table(screen, table)
    ends = [c.label for c in found.constants if c.at_end]
    if ends:
        screen.print(
            "At the end of their priors, so neither model nor priors fit these runs: "
            + ", ".join(ends),
            markup=False,
        )
    for fault in found.faults:
        screen.print(f"not used, line {fault.line}: {fault.message}", markup=False)
    if out is not None:
        screen.print(f"stack   {out}", markup=False)


def _tables(found: "Calibration") -> list["Table"]:
    from codesign.calibrate.validate import HEADINGS, score_cells
    from codesign.core.quantities import Unit
    from codesign.report.tables import Table
    from codesign.report.texts import percent, quantity

    constants = tuple(
        (
            c.label,
            *(quantity(v, Unit(c.unit)) for v in (c.before, c.prior, c.value)),
            f"{quantity(c.low, Unit(c.unit))} to {quantity(c.high, Unit(c.unit))}",
        )
        for c in found.constants
    )
    pairs = tuple((a, b, f"{value:+.2f}") for a, b, value in found.correlations)
    headings = tuple(HEADINGS.values())
    intervals = tuple(
        (
            HEADINGS[name],
            f"{percent(interval.around(1.0)[0] - 1)} to "
            f"{percent(interval.around(1.0)[1] - 1)}",
            percent(found.covered[name]) if name in found.covered else "-",
        )
        for name, interval in found.errors.items()
    )
    subject = f"{found.stack}: {found.runs} runs of {found.models} models"
    return [
        Table(
            f"Constants of {subject}",
            ("constant", "shipped", "prior", "fitted", "+- one sigma over models"),
            constants,
            note="Prompt lengths of a task are factors on those in the file.",
        ),
        Table("Constants that the runs tell apart badly", ("", "", "r"), pairs),
        Table(
            "Errors on models left out of the fit",
            ("models", "rows", *headings),
            tuple(map(tuple, score_cells(found.groups))),
            note="MAPE / median / bias in percent.",
        ),
        Table(
            "Errors in sample",
            ("models", "rows", *headings),
            tuple(map(tuple, score_cells(found.in_sample))),
        ),
        Table(
            "80 % interval of a measurement around its prediction",
            ("metric", "interval", "runs inside"),
            intervals,
            note="Counted with intervals from the other models alone.",
        ),
    ]
