"""``codesign init``: a study to start from."""

from pathlib import Path
from typing import Annotated

import typer

from codesign.app.flags import Json
from codesign.core.errors import InputError

Target = Annotated[
    Path, typer.Argument(metavar="FILE.yaml", help="Where to write the study.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")]


def init(
    target: Target = Path("study.yaml"), *, force: Force = False, as_json: Json = False
) -> None:
    """Write a commented study file, ready to run and to change.

    Example: codesign init my_study.yaml
    """
    if target.exists() and not force:
        raise InputError(f"{target}: is there already. --force overwrites it.")
    from codesign.app.output import print_json, write_output
    from codesign.config.study import init_study_text

    write_output(target, init_study_text())
    if as_json:
        print_json({"study": str(target)})
        return
    typer.echo(f"wrote {target}\nnext  codesign optimize {target}")
