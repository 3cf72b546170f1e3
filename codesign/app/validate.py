"""``codesign validate``: how wrong is the model on measured serving runs?"""

from pathlib import Path
from typing import Annotated

import typer

from codesign.app.flags import Json

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


def validate(
    *,
    rows: Rows,
    models: Models = None,
    predictions: PredictionsFile = None,
    as_json: Json = False,
) -> None:
    """Score the model on measured serving runs, by chip and kind of model.

    Errors are MAPE, median and bias of inter-token latency, step time, power and
    J/token. Rows that cannot be predicted are listed with their line.

    Example: codesign validate --rows serving.csv --models models.csv --json
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import print_json, versions, write_whole
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
    if as_json:
        print_json({**report_dict(found), "versions": versions()})
    else:
        typer.echo(report_text(found))
