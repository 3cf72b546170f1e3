"""``codesign runs``: which runs are there, and what do they say together?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.app.flags import Json
from codesign.core.errors import InputError

if TYPE_CHECKING:
    from codesign.report.tables import Table

VERBS = ("ls", "show", "query")
LISTED = ("run", "kind", "status", "points", "minimize", "best", "feasible")
What = Annotated[
    str, typer.Argument(metavar="[ls|show|query]", help="What to do. Default: ls.")
]
Which = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN|SQL]", help="Run to show, or query.", show_default=False
    ),
]
Parent = Annotated[
    Path, typer.Option("--in", metavar="DIR", help="Folder that holds the runs.")
]
Most = Annotated[int, typer.Option("--limit", min=1, help="Rows of a query, at most.")]


def runs(
    what: What = "ls",
    which: Which = None,
    *,
    parent: Parent = Path("runs"),
    most: Most = 1000,
    as_json: Json = False,
) -> None:
    """List runs with their best value, show one, or query all of them with SQL.

    Tables: runs (a row per run), points (a row per point of every sweep), rungs
    (a row per design that a search compared). Names with dots need quotes.

    Examples: codesign runs ls; codesign runs show NAME; codesign runs query
    'SELECT run, min(energy_per_token) FROM points WHERE feasible GROUP BY run'
    """
    if what not in VERBS:
        raise InputError(f"runs {what}: no such verb. Allowed: {', '.join(VERBS)}.")
    if what != "ls" and which is None:
        raise InputError(f"runs {what}: say which, such as runs {what} ...")
    if what == "ls":
        _list(parent, as_json=as_json)
    elif what == "show":
        _show(Path(str(which)), parent=parent, as_json=as_json)
    else:
        _query(str(which), parent=parent, most=most, as_json=as_json)


def _list(parent: Path, *, as_json: bool) -> None:
    from codesign.app.output import console, print_json, show_table
    from codesign.study.query import list_runs

    found = list_runs(parent)
    if as_json:
        print_json({"runs": found})
        return
    rows = [tuple(_cell(run[name]) for name in LISTED) for run in found]
    show_table(console(), _table(f"{parent}", LISTED, rows=rows))


def _show(folder: Path, *, parent: Path, as_json: bool) -> None:
    from codesign.app.output import print_json
    from codesign.study.query import summary
    from codesign.study.runs import MANIFEST, read_manifest

    place = folder if (folder / MANIFEST).is_file() else parent / folder.name
    manifest = read_manifest(place)
    if as_json:
        print_json({**manifest, **summary(place)})
        return
    shown = {**manifest, **summary(place)}
    for key, value in shown.items():
        if not isinstance(value, (dict, list)):
            typer.echo(f"{key:14} {_cell(value)}")
    best: dict[str, Any] = manifest.get("best") or {}
    for key, value in best.items():
        typer.echo(f"  {key:34} {_cell(value)}")


def _query(sql: str, *, parent: Path, most: int, as_json: bool) -> None:
    from codesign.app.errors import complain
    from codesign.app.output import console, print_json, show_table
    from codesign.study.query import query_runs

    found = query_runs(parent, sql, most=most)
    if as_json:
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
        print_json({"rows": rows, "cut": found.cut})
        return
    cells = [tuple(_cell(value) for value in row) for row in found.rows]
    show_table(console(), _table("", found.columns, rows=cells))
    if found.cut:
        complain(f"More rows than {most}; --limit shows them.")


def _table(
    title: str, columns: tuple[str, ...], *, rows: list[tuple[str, ...]]
) -> "Table":
    from codesign.report.tables import Table

    return Table(title=title, columns=columns, rows=tuple(rows))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
