"""``codesign pareto``: what does one metric cost in another?"""

import csv
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.app.errors import INFEASIBLE, complain
from codesign.app.flags import Json
from codesign.app.optimize import (
    Out,
    Overrides,
    Quiet,
    Seed,
    Starts,
    StudyFile,
    progress_lines,
    study_changes,
)
from codesign.app.output import own_version

if TYPE_CHECKING:
    from codesign.optimize.pareto import Front

PAGE, TABLE, DATA = "front.html", "front.csv", "front.json"
X = Annotated[str, typer.Option("--x", help="Metric that is traded: less is better.")]
Y = Annotated[
    str | None,
    typer.Option("--y", help="Other metric. Default: the study's objective."),
]
Z = Annotated[
    str | None, typer.Option("--z", help="A third metric.", show_default=False)
]
Points = Annotated[
    int, typer.Option("--points", min=2, max=512, help="Levels between the ends.")
]


def pareto(
    study: StudyFile,
    *,
    x: X,
    y: Y = None,
    z: Z = None,
    points: Points = 48,
    overrides: Overrides = None,
    seed: Seed = None,
    starts: Starts = None,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Trace the front of two or three metrics under the limits of a study.

    Both ends are searched first, then every level between them in one batch.
    Writes the designs, a table and a page with the figure. Exit code 3 if no
    design keeps the limits.

    Example: codesign pareto joint_chat --x time_per_output_token
    """
    tell = progress_lines(quiet=quiet, to_stderr=as_json)
    tell(f"codesign {own_version()}  pareto {study}")
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import console, print_json, show_table, versions
    from codesign.config.study import load_study
    from codesign.optimize.pareto import pareto as trace
    from codesign.report.front import short_table
    from codesign.study.runs import check_free, new_run_folder

    changes = study_changes(overrides, seed=seed, starts=starts)
    asked = load_study(study, overrides=changes)
    folder = out or new_run_folder(asked, text=asked.path.read_text(encoding="utf-8"))
    check_free(folder)
    front = trace(asked, x=x, y=y, z=z, points=points, progress=tell)
    named = [("--x", x), ("--y", y), ("--z", z), ("--points", str(points))]
    argv = ["pareto", study]
    argv += [part for flag, value in named if value for part in (flag, value)]
    argv += [part for each in changes for part in ("--set", each)]
    data = {"argv": argv, **front_data(front), "versions": versions()}
    _write(front, folder, data=data)
    if as_json:
        print_json({**data, "run": str(folder)})
    else:
        show_table(console(), short_table(front))
        typer.echo(f"front   {folder / PAGE}\ntable   {folder / TABLE}")
    if not front.rungs:
        complain("No design keeps all limits; codesign optimize says by how much.")
        raise typer.Exit(INFEASIBLE)


def front_data(front: "Front") -> dict[str, Any]:
    """Metrics and variables of every design in SI, with their units."""
    from codesign.core.paths import get_path
    from codesign.report.tables import metric_unit, metric_value

    free = {v.path: v.unit for v in front.study.free}
    return {
        "study": front.study.name,
        "units": {name: metric_unit(name).text for name in front.metrics} | free,
        "hypervolume": front.hypervolume,
        "designs": [
            dict(zip(front.metrics, map(float, values), strict=True))
            | {path: float(get_path(rung.design, path)) for path in free}
            for rung, values in zip(front.rungs, front.values, strict=True)
        ],
        "tuned": {name: metric_value(front.tuned, name) for name in front.metrics},
    }


def _write(front: "Front", folder: Path, *, data: dict[str, Any]) -> None:
    """The folder of a front: page, table, data, and a file of each design."""
    from codesign.app.output import json_text, write_output, write_whole
    from codesign.config.design import save_design
    from codesign.report.front import write_front

    designs = folder / "designs"
    designs.mkdir(parents=True)
    for index, rung in enumerate(front.rungs):
        save_design(rung.design, designs / f"{index:02d}.yaml")
    write_output(folder / DATA, json_text(data))
    write_whole(folder / TABLE, lambda part: _write_csv(data, part))
    command = shlex.join(["codesign", *data["argv"]])
    write_whole(folder / PAGE, lambda part: write_front(front, part, command=command))


def _write_csv(data: dict[str, Any], path: Path) -> None:
    from codesign.core.quantities import Unit
    from codesign.study.plain import field_label

    units = {name: Unit(text) for name, text in data["units"].items()}
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field_label(name, unit) for name, unit in units.items()])
        for design in data["designs"]:
            writer.writerow([repr(design[name]) for name in units])
