"""``codesign validate``: how wrong is the model on measured serving runs?"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.app.flags import Json

if TYPE_CHECKING:
    from codesign.calibrate.deltas import Delta
    from codesign.report.tables import Table

Rows = Annotated[
    Path,
    typer.Option(
        "--rows",
        metavar="ROWS.csv",
        help="Measured runs, in the columns of serving.csv.",
        show_default=False,
    ),
]
Models = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="MODELS.csv",
        help="Models that the rows name. Default: the presets.",
        show_default=False,
    ),
]
PredictionsFile = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        metavar="FILE.csv",
        help="Also write the prediction and error of every row.",
        show_default=False,
    ),
]


SomeRows = Annotated[
    Path | None,
    typer.Option(
        "--rows",
        metavar="ROWS.csv",
        help="Measured runs, in the columns of serving.csv.",
        show_default=False,
    ),
]
Kernels = Annotated[
    list[Path] | None,
    typer.Option(
        "--kernels",
        metavar="KERNELS.csv",
        help="Measured kernels: products, attention, experts, links. Repeatable.",
        show_default=False,
    ),
]
Deltas = Annotated[
    bool,
    typer.Option(
        "--deltas",
        help="Also score the ratio between runs that differ in one thing.",
    ),
]


def validate(
    *,
    rows: SomeRows = None,
    models: Models = None,
    predictions: PredictionsFile = None,
    kernels: Kernels = None,
    with_deltas: Deltas = False,
    as_json: Json = False,
) -> None:
    """Score the model on measured serving runs, by chip and kind of model.

    Errors are MAPE, median and bias of inter-token latency, step time, power and
    J/token. Rows that cannot be predicted are listed with their line. Kernels are
    predicted by the same roofline as shipped, and again with rates fitted to
    half of the shapes and scored on the other half.

    Example: codesign validate --rows serving.csv --models models.csv --json
    """
    from codesign.app.output import print_json, versions
    from codesign.app.start import start_jax
    from codesign.core.errors import InputError

    if rows is None and not kernels:
        raise InputError("nothing to score: give --rows, --kernels or both.")
    start_jax()
    data: dict[str, Any] = {}
    if rows is not None:
        data |= _score_runs(
            rows,
            models,
            predictions=predictions,
            with_deltas=with_deltas,
            quiet=as_json,
        )
    if kernels:
        data["kernels"] = _score_kernels(kernels, quiet=as_json)
    if as_json:
        print_json({**data, "versions": versions()})


def _score_runs(
    rows: Path,
    models: Path | None,
    *,
    predictions: Path | None,
    with_deltas: bool,
    quiet: bool,
) -> dict[str, Any]:
    from codesign.app.output import console, show_table, write_whole
    from codesign.calibrate.deltas import deltas
    from codesign.calibrate.validate import (
        report_dict,
        report_text,
        write_predictions,
    )
    from codesign.calibrate.validate import (
        validate as run,
    )

    found = run(rows, models)
    if predictions is not None:
        write_whole(predictions, lambda part: write_predictions(found, part))
    pairs = deltas(found.predictions) if with_deltas else ()
    if not quiet:
        typer.echo(report_text(found))
        if with_deltas:
            show_table(console(), _delta_table(pairs))
    listed = {"deltas": [asdict(pair) for pair in pairs]} if with_deltas else {}
    return {**report_dict(found), **listed}


def _score_kernels(files: list[Path], *, quiet: bool) -> dict[str, Any]:
    from codesign.app.output import console, show_table
    from codesign.calibrate.kernel_report import (
        kernel_cells,
        kernel_dict,
        validate_kernels,
    )
    from codesign.report.tables import Table

    found = validate_kernels(files)
    if not quiet:
        header, *rows = kernel_cells(found)
        table = Table(
            "Single kernels",
            tuple(header),
            tuple(map(tuple, rows)),
            note="MAPE / median / bias in percent; factors on the parts of the time.",
        )
        screen = console()
        show_table(screen, table)
        for file, fault in found.faults:
            line = f"not predicted, {file}, line {fault.line}: {fault.message}"
            screen.print(line, markup=False)
    return kernel_dict(found)


def _delta_table(pairs: Sequence["Delta"]) -> "Table":
    from codesign.calibrate.validate import HEADINGS
    from codesign.report.tables import Table
    from codesign.report.texts import number, percent

    return Table(
        "Ratios between runs that differ in one thing",
        ("change", "metric", "pairs", "measured", "predicted", "median error"),
        tuple(
            (
                pair.change,
                HEADINGS[pair.metric],
                str(pair.pairs),
                number(pair.measured),
                number(pair.predicted),
                percent(pair.error),
            )
            for pair in pairs
        ),
        note="Error is |ln(predicted ratio / measured ratio)|.",
    )
