"""``codesign sweep``: what do metrics do along one parameter, or over a study?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.app.errors import complain
from codesign.app.flags import (
    DesignFlags,
    Json,
    design_flags,
    read_design,
    unsure_values,
)
from codesign.app.sweep_run import Asked, is_study, sweep_run
from codesign.core.errors import InputError

if TYPE_CHECKING:
    from codesign.report.tables import Table
    from codesign.study.line import Line

Along = Annotated[
    str | None,
    typer.Option(
        "--along",
        metavar="PATH",
        help="Parameter to change, such as chip.dram.bandwidth.",
        show_default=False,
    ),
]
Values = Annotated[
    str | None,
    typer.Option(
        "--values",
        help='Values with units, "2 TB/s, 4 TB/s, 8 TB/s".',
        show_default=False,
    ),
]
Low = Annotated[
    str | None,
    typer.Option("--from", help="First value, instead of a list.", show_default=False),
]
High = Annotated[
    str | None, typer.Option("--to", help="Last value.", show_default=False)
]
Points = Annotated[int, typer.Option("--points", min=2, help="Number of values.")]
Log = Annotated[bool, typer.Option("--log", help="Equal factors, not equal steps.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="Metric to show, such as energy_per_byte_server. Repeatable.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE|DIR",
        help="With --along: also write every metric to a .csv or .json file. With a "
        "study: folder of the run. Default: runs/<name>-<time>-<hash>.",
        show_default=False,
    ),
]
RUN = "Run of a study"
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        help="Go on with a run: compute the shards that are missing or damaged.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="i/N",
        help="Compute part i of N into --out DIR; merge the parts in the end.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        help="inprocess, processes or ray. Default: the study's.",
        rich_help_panel=RUN,
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Threads or processes. Default: one for each processor.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
ShardSize = Annotated[
    int | None,
    typer.Option(
        "--shard-size",
        min=1,
        help="Points of a shard. Default: 8192, or 1 for searches.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
SHOWN = (
    "energy_per_token",
    "energy_per_token_server",
    "time_per_output_token",
    "time_to_first_token",
    "throughput",
    "power",
    "usd_per_token",
)
SUFFIXES = (".csv", ".json")


@design_flags
def sweep(
    flags: DesignFlags,
    *,
    along: Along = None,
    values: Values = None,
    low: Low = None,
    high: High = None,
    points: Points = 9,
    log: Log = False,
    metrics: Metrics = None,
    as_json: Json = False,
    out: Out = None,
    resume: Resume = None,
    shard: Shard = None,
    executor: Executor = None,
    workers: Workers = None,
    shard_size: ShardSize = None,
) -> None:
    """Evaluate a design at each value of one parameter, or run a study's sweep.

    A study is a YAML file with a sweep section. Its run is a folder that
    survives being killed: the same points, computed where they are missing.
    Exit code 4 if it was interrupted.

    Example: codesign sweep --chip h100-sxm --num-chips 8 --model llama-3-70b
    --batch 64 --prompt-length 1024 --output-length 256 --along chip.dram.bandwidth
    --from "2 TB/s" --to "8 TB/s" --points 7
    """
    if along is None:
        _run_study(
            Asked(
                study=flags.file,
                overrides=flags.overrides,
                out=out,
                resume=resume,
                part=shard,
                executor=executor,
                workers=workers,
                shard_size=shard_size,
                metrics=tuple(metrics) if metrics else None,
                as_json=as_json,
            ),
            flags,
        )
        return
    if out is not None and out.suffix not in SUFFIXES:
        raise InputError(f"--out {out}: end the name in .csv or .json.")
    from codesign.app.start import start_jax

    start_jax()
    from codesign.app.output import console, json_text, show_table, write_output
    from codesign.study.line import line_rows
    from codesign.study.line import sweep_line as run

    shown = _checked_metrics(metrics)
    design = read_design(flags)
    grid = _grid(along, values, low=low, high=high, points=points, log=log)
    found = run(design, along, values=grid)
    if as_json:
        typer.echo(json_text(_as_dict(flags, found)))
    else:
        show_table(console(), _table(flags, found, metrics=shown))
    if out is not None and out.suffix == ".json":
        write_output(out, json_text(_as_dict(flags, found)) + "\n")
    elif out is not None:
        write_output(out, _csv(flags, line_rows(found)))
    if out is not None and not as_json:
        complain(f"wrote {out}")


def _run_study(asked: Asked, flags: DesignFlags) -> None:
    from codesign.app.start import start_jax

    start_jax()
    if flags.given or (asked.resume is None and not is_study(asked.study)):
        raise InputError(
            "Name a parameter with --along, a study with a sweep section, or a run "
            "with --resume."
        )
    sweep_run(asked)


def _checked_metrics(metrics: list[str] | None) -> list[str]:
    from codesign.core.errors import UnknownNameError
    from codesign.core.paths import nearest, path_units
    from codesign.cost.record import Cost
    from codesign.outcome.service import Service

    known = [*path_units(Cost), *path_units(Service)]
    for name in metrics or []:
        if name not in known:
            close = nearest(name, known) or known[:3]
            raise UnknownNameError(
                f"--metric {name}: no such metric. Close: {', '.join(close)}."
            )
    return metrics or list(SHOWN)


def _grid(
    along: str,
    values: str | None,
    *,
    low: str | None,
    high: str | None,
    points: int,
    log: bool,
) -> list[float]:
    from codesign.study.line import read_values, spaced_values

    if values is not None and low is None and high is None:
        return read_values([text.strip() for text in values.split(",")], path=along)
    if values is None and low is not None and high is not None:
        return spaced_values(low, high, points=points, path=along, logarithmic=log)
    raise InputError('Give --values "a, b, c", or --from and --to with --points.')


def _as_dict(flags: DesignFlags, found: "Line") -> dict[str, Any]:
    from codesign.app.output import versions
    from codesign.study.line import violated_limits
    from codesign.study.plain import to_plain

    return {
        "along": found.path,
        "unit": found.unit.text,
        "values": list(found.values),
        "design": flags.text(),
        "costs": [
            {**to_plain(cost), **to_plain(served), "violated": violated_limits(cost)}
            for cost, served in zip(found.costs, found.services, strict=True)
        ],
        "inputs": to_plain(found.designs[0]),
        "unsure": unsure_values(flags),
        "versions": versions(),
    }


def _csv(flags: DesignFlags, rows: list[dict[str, Any]]) -> str:
    import csv
    import io

    from codesign.config.doubts import doubts_text

    records = {name: flags.given.get(name, "") for name in ("chip", "model", "stack")}
    file = {"design file": flags.file.name} if flags.file else {}
    known = {"unsure": doubts_text(unsure_values(flags))}
    more = {**records, **file, **known}
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*rows[0], *more], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, **more} for row in rows)
    return stream.getvalue()


def _table(flags: DesignFlags, found: "Line", *, metrics: list[str]) -> "Table":
    from codesign.config.units import format_quantity
    from codesign.report.tables import Table, metric_unit
    from codesign.report.texts import quantity
    from codesign.study.line import line_metric, violated_limits

    rows = [
        (
            format_quantity(value, found.unit),
            *(
                quantity(line_metric(found, name, index=index), metric_unit(name))
                for name in metrics
            ),
            ", ".join(violated_limits(found.costs[index])),
        )
        for index, value in enumerate(found.values)
    ]
    return Table(
        title=flags.text(),
        columns=(found.path, *metrics, "breaks"),
        rows=tuple(rows),
    )
