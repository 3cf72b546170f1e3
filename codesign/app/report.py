"""``codesign report``: the page of a run, drawn again from what was saved."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesign.app.flags import Json
from codesign.core.errors import InputError

if TYPE_CHECKING:
    from codesign.optimize.result import Result

PAGE, FRONT = "report.html", "front.json"
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/....")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE.html",
        help="Where to write it. Default: report.html in the run's folder.",
        show_default=False,
    ),
]


Front = Annotated[
    Path | None,
    typer.Option(
        "--front",
        metavar="DIR",
        help="Show the front that codesign pareto wrote into this folder.",
        show_default=False,
    ),
]


def report(
    run: Run, *, out: Out = None, front: Front = None, as_json: Json = False
) -> None:
    """Write the report of a run again; nothing is computed anew.

    Example: codesign report runs/joint-chat-20261120T120000Z-1a2b3c
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import print_json
    from codesign.study.folder import is_swept
    from codesign.study.runs import load_run

    if is_swept(run):
        if front is not None:
            raise InputError(f"--front: {run} is a sweep; its page has a front.")
        page = render_sweep(run, page=out)
    else:
        page = render_report(load_run(run), run, page=out, front=front)
    if as_json:
        print_json({"run": str(run), "report": str(page)})
    else:
        typer.echo(str(page))


def render_report(
    result: "Result",
    folder: Path,
    *,
    page: Path | None = None,
    front: Path | None = None,
) -> Path:
    """Write the page of a result, whole or not at all; its path."""
    from codesign.app.output import write_whole
    from codesign.report.page import write_report
    from codesign.study.runs import read_json

    target, command = page or folder / PAGE, _command(folder)
    data = None if front is None else read_json(front / FRONT)
    write_whole(
        target, lambda part: write_report(result, part, command=command, front=data)
    )
    return target


def render_sweep(folder: Path, *, page: Path | None = None) -> Path:
    """Write the page of a sweep's run, whole or not at all; its path."""
    from codesign.app.output import write_whole
    from codesign.report.sweep import write_sweep
    from codesign.study.folder import open_run

    run, target, command = open_run(folder), page or folder / PAGE, _command(folder)
    write_whole(target, lambda part: write_sweep(run, part, command=command))
    return target


def _command(folder: Path) -> str:
    from codesign.study.runs import read_manifest

    return shlex.join(["codesign", *read_manifest(folder)["argv"]])
