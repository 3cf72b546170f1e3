"""``codesign pareto``: what does one metric cost in another?"""

import csv
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.app.errors import INFEASIBLE
from codesign.app.flags import Json
from codesign.app.optimize import (
    Out,
    Overrides,
    Quiet,
    Resume,
    Seed,
    Starts,
    StudyFile,
    complain_infeasible,
    progress_lines,
    resumable,
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
    resume: Resume = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Trace the front of two or three metrics under the limits of a study.

    Both ends are searched first, then every level between them in one batch.
    Writes the designs, a table and a page with the figure. Exit code 3 if no
    design keeps the limits, with the smallest relaxation of the limits with which
    one does.

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
    from codesign.study.runs import STAGES, claim_folder

    changes = study_changes(overrides, seed=seed, starts=starts)
    asked = load_study(study, overrides=changes)
    text = asked.path.read_text(encoding="utf-8")
    folder = claim_folder(asked, text=text, out=out, resume=resume, result=DATA)
    named = [("--x", x), ("--y", y), ("--z", z), ("--points", str(points))]
    argv = ["pareto", study]
    argv += [part for flag, value in named if value for part in (flag, value)]
    argv += [part for each in changes for part in ("--set", each)]
    stages = folder / STAGES
    with resumable(argv, folder, stages=stages):
        front = trace(
            asked, x=x, y=y, z=z, points=points, progress=tell, checkpoint=stages
        )
    data = {"argv": argv, **front_data(front), "versions": versions()}
    _write(front, folder, data=data)
    shutil.rmtree(stages, ignore_errors=True)
    if as_json:
        print_json({**data, "run": str(folder)})
    else:
        show_table(console(), short_table(front))
        typer.echo(f"front   {folder / PAGE}\ntable   {folder / TABLE}")
    if not front.feasible:
        complain_infeasible(front.status, front.relaxation)
        raise typer.Exit(INFEASIBLE)


def front_data(front: "Front") -> dict[str, Any]:
    """Metrics and variables of every design in SI, with their units."""
    from codesign.core.paths import get_path
    from codesign.report.tables import metric_unit, metric_value
    from codesign.study.archive import relaxation_to_dict, variable_paths

    free = {v.path: v.unit for v in front.study.free}
    return {
        "study": front.study.name,
        "status": front.status,
        "feasible": front.feasible,
        "units": {name: metric_unit(name).text for name in front.metrics} | free,
        "hypervolume": front.hypervolume,
        "designs": [
            dict(zip(front.metrics, map(float, values), strict=True))
            | {path: float(get_path(rung.design, path)) for path in free}
            for rung, values in zip(front.rungs, front.values, strict=True)
        ],
        "tuned": {name: metric_value(front.tuned, name) for name in front.metrics},
        "relaxation": relaxation_to_dict(front.relaxation, variable_paths(front.study)),
        "lost": asdict(front.lost),
    }


def _write(front: "Front", folder: Path, *, data: dict[str, Any]) -> None:
    """The folder of a front: page, table, data, and a file of each design."""
    from codesign.app.output import json_text, write_output, write_whole
    from codesign.config.design import save_design
    from codesign.report.front import write_front

    designs = folder / "designs"
    designs.mkdir(parents=True, exist_ok=True)
    for index, rung in enumerate(front.rungs):
        save_design(rung.design, designs / f"{index:02d}.yaml")
    if front.nearest is not None:
        save_design(front.nearest.design, designs / "nearest.yaml")
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
