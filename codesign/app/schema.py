"""``codesign schema``: what may stand in a file? For editors."""

from pathlib import Path
from typing import Annotated

import typer

from codesign.app.flags import Json

Kind = Annotated[
    str, typer.Argument(metavar="KIND", help="study, design, chip, model or stack.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE.json", help="Write a file.", show_default=False
    ),
]


def schema(kind: Kind = "study", *, out: Out = None, as_json: Json = False) -> None:
    """Print the JSON Schema of a kind of file; keys, units and allowed values.

    With --out the schema goes into a file, and --json prints where.

    Example: codesign schema study --out study.schema.json
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import json_text, print_json, write_output
    from codesign.config.schema import file_schema

    found = file_schema(kind)
    if out is None:
        typer.echo(json_text(found))
        return
    write_output(out, json_text(found) + "\n")
    if as_json:
        print_json({"kind": kind, "file": str(out)})
    else:
        typer.echo(f"wrote {out}\nuse   # yaml-language-server: $schema={out}")
