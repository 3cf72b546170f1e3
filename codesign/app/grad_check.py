"""``codesign grad-check``: are the exact slopes of a study those of small steps?"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.app.errors import BUG, complain
from codesign.app.flags import Json
from codesign.app.optimize import Overrides, Quiet, StudyFile, progress_lines
from codesign.app.output import own_version

if TYPE_CHECKING:
    from codesign.optimize.gradcheck import GradCheck
    from codesign.report.tables import Table

Points = Annotated[
    int,
    typer.Option("--points", min=0, help="Random points beside the baseline."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the points.")]


def grad_check(
    study: StudyFile,
    *,
    points: Points = 4,
    overrides: Overrides = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare exact gradients with central differences, for every free variable.

    Of the objective and of every limit of a study, at its baseline and at random
    points of its space, in the smooth form that the search uses. Exit code 1 if
    one differs by more than rounding explains.

    Example: codesign grad-check joint_chat
    """
    tell = progress_lines(quiet=quiet, to_stderr=as_json)
    tell(f"codesign {own_version()}  grad-check {study}")
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import console, print_json, show_table, versions
    from codesign.config.study import load_study
    from codesign.optimize.gradcheck import check_gradients

    asked = load_study(study, overrides=overrides or [])
    tell("compiling values and slopes")
    found = check_gradients(asked, points=points, seed=seed)
    tell("done")
    if as_json:
        print_json({**_as_dict(found), "versions": versions()})
    else:
        show_table(console(), _table(found))
    wrong = int(found.wrong.sum())
    if wrong:
        complain(f"{wrong} slopes differ from their differences: a bug, report it.")
        raise typer.Exit(BUG)


def _as_dict(found: "GradCheck") -> dict[str, Any]:
    import numpy as np

    return {
        "points": len(found.exact),
        "functions": list(found.functions),
        "slopes": int(found.exact.size),
        "corners": int(found.corner.sum()),
        "wrong": [
            {
                "point": int(point),
                "function": found.functions[function],
                "variable": found.paths[variable],
                "exact": float(found.exact[point, function, variable]),
                "difference": float(found.measured[point, function, variable]),
            }
            for point, function, variable in np.argwhere(found.wrong)
        ],
        "variables": {
            path: {
                "objective": found.exact[:, 0, index].tolist(),
                "difference": found.measured[:, 0, index].tolist(),
                "error": float(_deviation(found, index).max()),
            }
            for index, path in enumerate(found.paths)
        },
    }


def _deviation(found: "GradCheck", index: int) -> Any:
    """|exact - difference| of one variable away from corners, relative above 1e-3."""
    import numpy as np

    exact, measured = found.exact[..., index], found.measured[..., index]
    size = np.maximum(np.abs(measured), 1e-3)
    return np.where(found.corner[..., index], 0.0, np.abs(exact - measured) / size)


def _table(found: "GradCheck") -> "Table":
    from codesign.report.tables import BAD, Table
    from codesign.report.texts import number

    rows: list[tuple[str, ...]] = []
    tones: dict[tuple[int, int], str] = {}
    for index, path in enumerate(found.paths):
        wrong = int(found.wrong[..., index].sum())
        if wrong:
            tones[index, 5] = BAD
        rows.append(
            (
                path,
                number(found.exact[0, 0, index], digits=6),
                number(found.measured[0, 0, index], digits=6),
                number(_deviation(found, index).max()),
                str(int(found.corner[..., index].sum())),
                str(wrong) if wrong else "0",
            )
        )
    slopes = found.exact[..., 0].size
    return Table(
        title="d ln f / d ln p: exact against central differences",
        columns=(
            "variable p",
            "objective, exact",
            "difference",
            "worst error",
            "corners",
            "wrong",
        ),
        rows=tuple(rows),
        note=f"Objective at the baseline; worst error over {slopes} slopes a variable "
        f"({len(found.functions)} functions at {len(found.exact)} points), relative "
        "to slopes above 1e-3. Corners have a slope to each side that differ, and "
        "are not compared: legal values of integers, ends of tiles.",
        tones=tones,
    )
