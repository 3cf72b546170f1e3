"""``codesign rerun``: does a run give the same best value again?"""

from pathlib import Path
from typing import Annotated

import typer

from codesign.app.errors import BUG, complain
from codesign.app.flags import Json

Folder = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/....")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder of the repetition. Default: the run's name with -again.",
        show_default=False,
    ),
]


def rerun(run: Folder, *, out: Out = None, as_json: Json = False) -> None:
    """Answer the question of a run again, in a new folder, and compare.

    The same machine and versions give the same best value to the last bit; exit
    code 1 if they do not.

    Example: codesign rerun runs/joint-chat-20261120T120000Z-1a2b3c
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import print_json, versions
    from codesign.app.progress import run_progress
    from codesign.study.rerun import rerun as again
    from codesign.study.runs import check_free

    target = out or run.with_name(f"{run.name}-again")
    check_free(target)
    progress = run_progress(as_json=as_json, quiet=False)
    found = again(run, target, progress=progress, versions=versions())
    if as_json:
        print_json(
            {
                "run": str(target),
                "before": found.before,
                "after": found.after,
                "same": found.same,
                "versions_differ": list(found.versions_differ),
            }
        )
    else:
        typer.echo(f"before {found.before!r}\nafter  {found.after!r}\nrun    {target}")
    if not found.same:
        why = "; ".join(found.versions_differ) or "the same versions: report it"
        complain(f"The best value differs ({why}).")
        raise typer.Exit(BUG)
