"""``codesign validate``: how wrong is the model on measured serving runs?"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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


Deltas = Annotated[
    bool,
    typer.Option(
        "--deltas",
        help="Also score the ratio between runs that differ in one thing.",
    ),
]


def validate(
    *,
    rows: Rows,
    models: Models = None,
    predictions: PredictionsFile = None,
    with_deltas: Deltas = False,
    as_json: Json = False,
) -> None:
    """Score the model on measured serving runs, by chip and kind of model.

    Errors are MAPE, median and bias of inter-token latency, step time, power and
    J/token. Rows that cannot be predicted are listed with their line.

    Example: codesign validate --rows serving.csv --models models.csv --json
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import (
        console,
        print_json,
        show_table,
        versions,
        write_whole,
    )
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
    if as_json:
        listed = {"deltas": [asdict(pair) for pair in pairs]} if with_deltas else {}
        print_json({**report_dict(found), **listed, "versions": versions()})
        return
    typer.echo(report_text(found))
    if with_deltas:
        show_table(console(), _delta_table(pairs))


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
