"""``codesign optimize``: which chip, model and deployment are best together?"""

import shlex
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesign.app.errors import INFEASIBLE, check_asked, complain
from codesign.app.flags import Json, complete
from codesign.app.output import own_version

if TYPE_CHECKING:
    from codesign.config.question import Study
    from codesign.optimize.result import Relaxation, Result

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change an entry of the study (search.starts=64, free.chip.tdp.max=900 W) "
        "or a parameter of its baseline (chip.tdp=500 W). Repeatable.",
    ),
]
StudyFile = Annotated[
    str,
    typer.Argument(
        metavar="STUDY.yaml",
        help="Study: YAML file or preset.",
        autocompletion=complete("studies"),
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Seed of every draw.", show_default=False),
]
Starts = Annotated[
    int | None,
    typer.Option("--starts", min=1, help="Independent starts.", show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder of the run. Default: runs/<name>-<time>-<hash>.",
        show_default=False,
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        help="Go on with a search that was stopped, from its last finished stage.",
        show_default=False,
    ),
]
Ladder = Annotated[
    bool,
    typer.Option(
        "--ladder",
        help="Also search formats, model, hardware and both in turn: what is tuning, "
        "what is co-design? Takes several times as long.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress lines.")]


def optimize(
    study: StudyFile,
    *,
    overrides: Overrides = None,
    seed: Seed = None,
    starts: Starts = None,
    ladder: Ladder = False,
    out: Out = None,
    resume: Resume = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search the joint space of a study, against its tuned baseline.

    Prints the baseline as given, the baseline tuned, and the co-designed system,
    with the evidence that the optimum is one, and writes a folder with the
    design, the data and a report. Exit code 3 if the limits cannot be kept, with
    the smallest relaxation of the limits with which they can.

    Example: codesign optimize configs/studies/joint_chat.yaml
    """
    tell = progress_lines(quiet=quiet, to_stderr=as_json)
    tell(f"codesign {own_version()}  optimize {study}")
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import print_json, versions
    from codesign.app.report import render_report
    from codesign.config.records import unsure_facts
    from codesign.config.study import load_study
    from codesign.optimize import ladder as climb
    from codesign.optimize import optimize as search
    from codesign.report.sources import constants, study_chip
    from codesign.report.support import result_support, support_facts
    from codesign.study.archive import result_to_dict
    from codesign.study.plain import finite_or_none
    from codesign.study.runs import (
        STAGES,
        claim_folder,
        save_run,
    )

    changes = study_changes(overrides, seed=seed, starts=starts)
    asked = load_study(study, overrides=changes)
    text = asked.path.read_text(encoding="utf-8")
    folder = claim_folder(asked, text=text, out=out, resume=resume)
    tell(_summary(asked))
    stages = folder / STAGES
    argv = ["optimize", study, *(part for each in changes for part in ("--set", each))]
    argv += ["--ladder"] if ladder else []
    with resumable(argv, folder, stages=stages):
        result = (climb if ladder else search)(asked, progress=tell, checkpoint=stages)
    result = save_run(result, folder, study_text=text, argv=argv, versions=versions())
    if as_json:
        kept = result_to_dict(result)
        chip = study_chip(asked)
        doubts = unsure_facts(chip.values) if chip else None
        known = constants(asked)
        support = support_facts(result_support(result, known))
        more = {"unsure": doubts, "gain_support": finite_or_none(support)}
        print_json({**kept, **more, "run": str(folder), "versions": versions()})
    else:
        _show(result)
    tell("report")
    report = render_report(result, folder)
    if not as_json:
        _next_steps(report, folder)
    if not result.feasible:
        complain(result.status)
        for line in within_reach(result):
            complain(line)
        raise typer.Exit(INFEASIBLE)


def complain_infeasible(status: str, relaxation: "Relaxation | None") -> None:
    """Say what cannot be kept, what to change, and what then binds."""
    complain(status)
    held = [each.name for each in relaxation.holding] if relaxation else []
    if held:
        complain(f"What then binds: {'; '.join(held)}.")


def within_reach(result: "Result") -> list[str]:
    """What holds the smallest relaxation back: limits, and variables at a bound."""
    from codesign.core.paths import get_path
    from codesign.core.quantities import Unit
    from codesign.report.texts import quantity

    best, relaxation = result.best, result.relaxation
    units = {v.path: v.unit for v in result.study.free}
    held = [each.name for each in relaxation.holding] if relaxation else []
    held += [
        f"{text} ({quantity(float(get_path(best.design, path)), Unit(units[path]))})"
        for text in (result.evidence.at_bound if result.evidence else ())
        if (path := text.partition(" ")[0]) in units
    ]
    return [f"What then binds: {'; '.join(held)}."] if held else []


@contextmanager
def resumable(argv: list[str], folder: Path, *, stages: Path) -> Generator[None]:
    """Say how a command goes on where finished stages were kept."""
    from codesign.core.errors import InterruptedRunError

    try:
        yield
    except KeyboardInterrupt as error:
        if not stages.is_dir():
            raise
        raise InterruptedRunError(
            f"Interrupted. Finished stages are kept; {shlex.join(['codesign', *argv])} "
            f"--resume {folder} goes on."
        ) from error


def progress_lines(*, quiet: bool, to_stderr: bool) -> Callable[[str], None]:
    """Prints lines with the time since the start; the first one before slow imports."""
    clock = time.perf_counter()

    def tell(line: str) -> None:
        check_asked()
        if not quiet:
            elapsed = time.perf_counter() - clock
            typer.echo(f"{elapsed:6.1f} s  {line}", err=to_stderr)

    return tell


def study_changes(
    overrides: list[str] | None, *, seed: int | None, starts: int | None
) -> list[str]:
    """All changes of the study as ``path=value`` texts."""
    changes = [*(overrides or [])]
    changes += [] if seed is None else [f"search.seed={seed}"]
    changes += [] if starts is None else [f"search.starts={starts}"]
    return changes


def _summary(study: "Study") -> str:
    search = study.search
    return (
        f"{study.name}: minimize {study.minimize}; {len(study.free)} variables, "
        f"{len(study.limits)} limits beside those always on; {search.starts} starts, "
        f"seed {search.seed}"
    )


def _show(result: "Result") -> None:
    from codesign.app.output import console, show_table
    from codesign.app.result_tables import closing_lines, result_tables

    screen = console()
    for table in result_tables(result):
        show_table(screen, table)
    for line in closing_lines(result):
        screen.print(line, markup=False)


def _next_steps(report: Path, folder: Path) -> None:
    typer.echo(f"\nreport  {report}")
    typer.echo(f"next    codesign evaluate {folder / 'best.yaml'}")
    typer.echo(f"        codesign sensitivity {folder / 'best.yaml'}")
