"""``codesign merge``: parts that were computed apart become one run."""

from pathlib import Path
from typing import Annotated

import typer

from codesign.app.flags import Json
from codesign.core.errors import InputError

Parts = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Folders of runs of one study."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder of the whole. Needed for several; one run is completed in place.",
        show_default=False,
    ),
]


def merge(parts: Parts, *, out: Out = None, as_json: Json = False) -> None:
    """Check that all shards of a run are there, collected from one folder or many.

    Shards are copied only if they belong to the same study, values and versions,
    and are whole; one that several folders hold counts once.

    Example: codesign merge node1/run node2/run --out runs/whole
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.sweep_run import conclude
    from codesign.study.merge import merge_runs

    if out is None and len(parts) > 1:
        raise InputError("--out: name the folder of the whole run.")
    target = out or parts[0]
    merge_runs(parts, target)
    conclude(target, as_json=as_json)
