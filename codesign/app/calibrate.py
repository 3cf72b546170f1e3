"""``codesign calibrate``: fit a serving stack to measured runs."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesign.app.flags import Json, complete
from codesign.app.validate import Models, SomeRows

if TYPE_CHECKING:
    from codesign.calibrate.calibrate import Calibration
    from codesign.config.plans import Part
    from codesign.report.tables import Table

Chip = Annotated[
    str,
    typer.Option(
        "--chip",
        help="Chip of the runs, as their table names it.",
        show_default=False,
        autocompletion=complete("chips"),
    ),
]
Source = Annotated[
    str, typer.Option("--source", help="Only rows of this source.", show_default=False)
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Only rows of this serving engine, such as vllm.",
        show_default=False,
    ),
]
Constants = Annotated[
    str,
    typer.Option(
        "--constants",
        metavar="FILE.yaml",
        help="Constants to fit, with priors: a preset or a file. Default: serving.",
        show_default=False,
    ),
]
Kernels = Annotated[
    list[Path] | None,
    typer.Option(
        "--kernels",
        metavar="KERNELS.csv",
        help="Single kernels whose powers sharpen the priors of power. Repeatable.",
        show_default=False,
    ),
]
KernelChip = Annotated[
    str,
    typer.Option(
        "--kernel-chip",
        help="Chip of those kernels, if another of the same die was measured.",
        show_default=False,
        autocompletion=complete("chips"),
    ),
]
PlanFile = Annotated[
    str,
    typer.Option(
        "--plan",
        metavar="PLAN.yaml",
        help="Fit several stacks together: a preset or file with runs and constants.",
        show_default=False,
        autocompletion=complete("plans"),
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="Folder of the files that a plan names. Default: the current one.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="STACK.yaml",
        help="Also write the calibrated stack; of a plan, a folder for its stacks.",
        show_default=False,
    ),
]


def calibrate(
    *,
    rows: SomeRows = None,
    chip: Chip = "",
    models: Models = None,
    source: Source = "",
    engine: Engine = "",
    constants: Constants = "",
    kernels: Kernels = None,
    kernel_chip: KernelChip = "",
    plan: PlanFile = "",
    data: Data = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Fit the constants of serving stacks to measured runs.

    Every model is also predicted by a fit that has not seen it; those errors are
    the ones to quote. Prints the constants with their uncertainty, which of them
    the runs cannot tell apart, the errors by kind of model, and how many runs
    the 80 % intervals hold. A plan fits several stacks at once, so that factors of
    number formats inform one another.

    Example: codesign calibrate --rows serving.csv --models models.csv --chip H100
    """
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import console, print_json, versions
    from codesign.calibrate.calibrate import calibrate_together, calibration_dict
    from codesign.config.plans import Part, Plan, load_plan

    given = {
        "--rows": rows,
        "--chip": chip,
        "--models": models,
        "--source": source,
        "--engine": engine,
        "--constants": constants,
        "--kernels": kernels,
        "--kernel-chip": kernel_chip,
    }
    if plan:
        _refuse(given)
        asked = load_plan(plan, data=data or Path())
        words = ["--plan", Path(plan).name]
    else:
        _check_complete(given, data=data)
        single = Part(
            rows=rows or Path(),
            chip=chip,
            source=source,
            engine=engine,
            constants=constants or "serving",
            kernels=tuple(kernels or ()),
            kernel_chip=kernel_chip,
        )
        name = out.stem if out is not None else ""
        asked = Plan(name="", models=models, parts={name: single})
        words = _words(single, models)
    found = calibrate_together(
        list(asked.parts.values()),
        asked.models,
        progress=lambda text: typer.echo(text, err=True),
    )
    named = dict(zip(asked.parts, found, strict=True))
    if out is not None:
        _write_stacks(named, out, folder=bool(plan), words=words)
    if as_json:
        each = {name: calibration_dict(one) for name, one in named.items()}
        content = {"stacks": each} if plan else each[next(iter(each))]
        print_json({**content, "versions": versions()})
        return
    for one in found:
        _show(one)
    if out is not None:
        console().print(f"{'stacks' if plan else 'stack'}   {out}", markup=False)


def _check_complete(given: Mapping[str, object], *, data: Path | None) -> None:
    from codesign.core.errors import InputError

    if data is not None:
        raise InputError("--data is the folder of a plan: give --plan too.")
    missing = [option for option in ("--rows", "--chip") if not given[option]]
    if missing:
        raise InputError(f"missing {' and '.join(missing)}; or give --plan.")


def _refuse(given: Mapping[str, object]) -> None:
    from codesign.core.errors import InputError

    both = [option for option, value in given.items() if value]
    if both:
        raise InputError(f"a plan names its own runs: leave out {', '.join(both)}.")


def _words(part: "Part", models: Path | None) -> list[str]:
    """The options that fit a part, with names of files only."""
    words = ["--rows", part.rows.name, "--chip", part.chip]
    words += ["--models", models.name] if models else []
    words += ["--source", part.source] if part.source else []
    words += ["--engine", part.engine] if part.engine else []
    words += ["--constants", Path(part.constants).name]
    for file in part.kernels:
        words += ["--kernels", file.name]
    return words + (["--kernel-chip", part.kernel_chip] if part.kernel_chip else [])


def _write_stacks(
    found: Mapping[str, "Calibration"], out: Path, *, folder: bool, words: list[str]
) -> None:
    from codesign.app.output import write_output
    from codesign.calibrate.calibrate import stack_document
    from codesign.config.yaml import yaml_text

    if folder:
        out.mkdir(parents=True, exist_ok=True)
    for name, one in found.items():
        file = out / f"{name}.yaml" if folder else out
        command = shlex.join(["codesign", "calibrate", *words, "--out", out.name])
        document = stack_document(one, name=file.stem, command=command)
        write_output(file, yaml_text(document))


def _show(found: "Calibration") -> None:
    from codesign.app.output import console, show_table

    screen = console()
    for table in _tables(found):
        show_table(screen, table)
    ends = [c.label for c in found.constants if c.at_end]
    if ends:
        screen.print(
            "At the end of their priors, so neither model nor priors fit these runs: "
            + ", ".join(ends),
            markup=False,
        )
    for fault in found.faults:
        screen.print(f"not used, line {fault.line}: {fault.message}", markup=False)


def _tables(found: "Calibration") -> list["Table"]:
    from codesign.calibrate.validate import HEADINGS, score_cells
    from codesign.core.quantities import Unit
    from codesign.report.tables import Table
    from codesign.report.texts import percent, quantity

    constants = tuple(
        (
            c.label,
            *(quantity(v, Unit(c.unit)) for v in (c.before, c.prior, c.value)),
            f"{quantity(c.low, Unit(c.unit))} to {quantity(c.high, Unit(c.unit))}"
            + (" (no run: from the other stacks)" if c.inferred else ""),
        )
        for c in found.constants
    )
    pairs = tuple((a, b, f"{value:+.2f}") for a, b, value in found.correlations)
    headings = tuple(HEADINGS.values())
    intervals = tuple(
        (
            HEADINGS[name],
            f"{percent(interval.around(1.0)[0] - 1)} to "
            f"{percent(interval.around(1.0)[1] - 1)}",
            percent(found.covered[name]) if name in found.covered else "-",
        )
        for name, interval in found.errors.items()
    )
    subject = f"{found.stack}: {found.runs} runs of {found.models} models"
    return [
        *_kernel_tables(found),
        Table(
            f"Constants of {subject}",
            ("constant", "shipped", "prior", "fitted", "+- one sigma over models"),
            constants,
            note="Prompt lengths of a task are factors on those in the file.",
        ),
        Table("Constants that the runs tell apart badly", ("", "", "r"), pairs),
        Table(
            "Errors on models left out of the fit",
            ("models", "rows", *headings),
            tuple(map(tuple, score_cells(found.groups))),
            note="MAPE / median / bias in percent.",
        ),
        Table(
            "Errors in sample",
            ("models", "rows", *headings),
            tuple(map(tuple, score_cells(found.in_sample))),
        ),
        Table(
            "80 % interval of a measurement around its prediction",
            ("metric", "interval", "runs inside"),
            intervals,
            note="Counted with intervals from the other models alone.",
        ),
    ]


def _kernel_tables(found: "Calibration") -> list["Table"]:
    from codesign.calibrate.kernel_power import FACTORS
    from codesign.report.tables import Table
    from codesign.report.texts import number, percent

    power = found.kernels
    if power is None:
        return []
    rows = zip(FACTORS, power.factors, power.spreads, strict=True)
    return [
        Table(
            f"What {power.readings} powers of single kernels on {power.chip} ask for",
            ("constant", "factor", "spread of its logarithm"),
            tuple((path, number(f), number(s)) for path, f, s in rows),
            note=f"Median error of power {percent(power.error_before)} before, "
            f"{percent(power.error)} after; kinds: {', '.join(power.kinds)}.",
        )
    ]
