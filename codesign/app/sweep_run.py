"""``codesign sweep STUDY.yaml``: a run in a folder, started or gone on with."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from codesign.app.errors import complain
from codesign.core.errors import InputError

if TYPE_CHECKING:
    from codesign.study.folder import Run
    from codesign.study.job import Job

PART = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Asked:
    """What the flags say about a run."""

    study: Path | None
    overrides: tuple[str, ...]
    out: Path | None
    resume: Path | None
    part: str | None
    executor: str | None
    workers: int | None
    shard_size: int | None
    metrics: tuple[str, ...] | None
    as_json: bool


def is_study(file: Path | None) -> bool:
    """Whether a file is a study, not a design."""
    from codesign.config.yaml import read_yaml

    if file is None or not file.is_file():
        return False
    return "baseline" in read_yaml(file).data


def sweep_run(asked: Asked) -> None:
    """Start a run, or go on with one, and say what came out."""
    from codesign.app.progress import run_progress, shards_text
    from codesign.study.drive import complete
    from codesign.study.executors import build_executor, check_executor

    if asked.executor is not None:
        check_executor(asked.executor)
    part = read_part(asked.part)
    run = _opened(asked) if asked.resume else _created(asked)
    executor = build_executor(
        asked.executor or run.job.plan.executor, workers=asked.workers
    )
    if not asked.as_json:
        job = run.job
        complain(
            f"{run.folder}: {job.plan.points} points in "
            f"{shards_text(job.num_shards)} of {job.shard_size}"
        )
    progress = run_progress(as_json=asked.as_json, quiet=False)
    complete(run, executor, part=part, progress=progress)
    conclude(run.folder, as_json=asked.as_json)


def read_part(text: str | None) -> tuple[int, int] | None:
    """Numbers of ``i/N``."""
    if text is None:
        return None
    match = PART.fullmatch(text.strip())
    if match is None:
        raise InputError(f'--shard {text}: write i/N, such as "3/8".')
    return int(match[1]), int(match[2])


def conclude(folder: Path, *, as_json: bool) -> None:
    """Summary of a run with the page of a complete one, and what to do next."""
    from codesign.app.output import print_json, versions
    from codesign.app.report import render_sweep
    from codesign.study.query import left_out, summary
    from codesign.study.runs import MANIFEST, read_json

    found = summary(folder)
    best = read_json(folder / MANIFEST).get("best")
    page = render_sweep(folder) if found["status"] == "complete" else None
    if as_json:
        more = {"folder": str(folder), "best_point": best}
        more |= {"report": None if page is None else str(page)}
        more |= {"left_out": asdict(left_out(folder))}
        print_json({**found, **more, "versions": versions()})
        return
    for key, value in found.items():
        typer.echo(f"{key:10} {_shown(value)}")
    for line in _left_out(folder):
        complain(line)
    if page is not None:
        typer.echo(f"report     {page}")
        typer.echo(f'next       codesign runs query "SELECT ..." --in {folder.parent}')
    else:
        typer.echo(f"next       codesign merge {folder}")


def _left_out(folder: Path) -> list[str]:
    """A line each for points that are no design, and for those without a number."""
    from codesign.study.query import left_out

    found = left_out(folder)
    reasons = {
        "no design can be built there": found.illegal,
        "the model gave no finite number there": found.not_finite,
    }
    return [
        f"{count} points without a result: {reason}. They stay in the table, without "
        f"values; the first is point {found.first}."
        for reason, count in reasons.items()
        if count
    ]


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _opened(asked: Asked) -> "Run":
    from codesign.study.folder import resume_run

    if asked.resume is None or asked.out is not None:
        raise InputError("--resume names the folder already; leave --out away.")
    if asked.study is None and asked.overrides:
        raise InputError("--set: a run that is resumed keeps its study.")
    return resume_run(asked.resume, _job(asked) if asked.study else None)


def _created(asked: Asked) -> "Run":
    from codesign.app.output import versions
    from codesign.study.folder import create_run
    from codesign.study.runs import check_free, new_run_folder

    job = _job(asked)
    text = job.study.path.read_text(encoding="utf-8")
    if asked.part is not None and asked.out is None:
        raise InputError("--shard: name the folder that all parts share with --out.")
    folder = asked.out or new_run_folder(job.study, text=text)
    if asked.part is None:
        check_free(folder)
    argv = ["sweep", job.study.path.name]
    argv += [word for text_ in asked.overrides for word in ("--set", text_)]
    argv += [word for name in asked.metrics or () for word in ("--metric", name)]
    argv += ["--shard-size", str(job.shard_size)]
    return create_run(job, folder, study_text=text, argv=argv, versions=versions())


def _job(asked: Asked) -> "Job":
    from codesign.config.study import load_study
    from codesign.study.job import build_job

    if asked.study is None:
        raise InputError("Name a study with a sweep section, or a run to --resume.")
    study = load_study(asked.study, overrides=asked.overrides)
    size = asked.shard_size
    if size is None and asked.resume is not None:
        size = _kept_size(asked.resume)
    return build_job(study, None, metrics=asked.metrics, shard_size=size)


def _kept_size(folder: Path) -> int:
    from codesign.study.folder import open_run

    return open_run(folder).job.shard_size
