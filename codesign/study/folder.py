"""Which job does a run's folder hold, and who may write into it?

A job <-> ``runs/<name>-<time>-<hash>/`` with

    study.yaml     what the user gave (if a file)
    resolved.yaml  the same with every default written out
    job.json       the same for programs, with the fingerprint of its numbers
    design.yaml    the design that is swept around
    manifest.json  versions, arguments, units, timings
    log.jsonl      events
    shards/        one Parquet file per shard
    best.yaml      the best design found
    report.html    the page of a finished run, which the command line writes

The folder appears whole or not at all. A lock keeps two drivers apart; it ends
with the process that holds it.
"""

import contextlib
import json
import os
import platform
import shutil
import socket
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from codesign.config.design import save_design
from codesign.config.doubts import study_doubts
from codesign.config.resolved import resolved_study
from codesign.core.errors import InputError
from codesign.study.job import (
    Job,
    differences,
    fingerprint,
    identity,
    job_from_dict,
    job_to_dict,
)
from codesign.study.plain import finite_or_none, to_plain
from codesign.study.runs import MANIFEST, public_argv, read_json, write_whole
from codesign.study.shards import SHARDS, read_shard, remove_parts, shard_path

JOB, LOG, LOCK = "job.json", "log.jsonl", ".lock"
COMPLETE, OPEN = "complete", "incomplete"


@dataclass(frozen=True)
class Run:
    """A folder with the job that it holds."""

    folder: Path
    job: Job
    fingerprint: str
    identity: dict[str, Any]

    def missing(self, indices: Sequence[int] | None = None) -> list[int]:
        """Shards that are absent, cut short or changed, of all or of some."""
        wanted = range(self.job.num_shards) if indices is None else indices
        return [index for index in wanted if not self.has(index)]

    def has(self, index: int) -> bool:
        """Whether a shard is there and every bit of it is as it was written."""
        path = shard_path(self.folder, index)
        return path.is_file() and (
            read_shard(path, fingerprint=self.fingerprint, index=index) is not None
        )

    def about(self) -> dict[str, Any]:
        """Inputs, doubtful ones among them, and versions that every export carries."""
        return self._about

    @cached_property
    def _about(self) -> dict[str, Any]:
        return {
            "study": self.job.study.name,
            "minimize": self.job.study.minimize,
            "inputs": finite_or_none(to_plain(self.job.study.baseline)),
            "unsure": finite_or_none(study_doubts(self.job.study)),
            "versions": self.identity["versions"],
        }


def create_run(
    job: Job,
    folder: Path,
    *,
    study_text: str = "",
    argv: Sequence[str] = (),
    versions: Mapping[str, str] | None = None,
) -> Run:
    """The folder of a job, made whole; one that is there must hold the same job.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    run = _run_of(job, folder)
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        (staging / SHARDS).mkdir(parents=True)
        _fill(run, staging, study_text=study_text, argv=argv, versions=versions)
        with contextlib.suppress(FileNotFoundError, OSError):
            folder.rmdir()
        staging.rename(folder)
    except OSError as error:
        if is_swept(folder):
            check_same(run, open_run(folder))
            return run
        reason = error.strerror or str(error)
        raise InputError(f"{folder}: cannot be written ({reason}).") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return run


def open_run(folder: Path) -> Run:
    """The run that a folder holds.

    Raises:
        InputError: the folder holds no such run, or one of another version.
    """
    data = read_json(folder / JOB)
    try:
        job = job_from_dict(data["job"], folder=folder)
        kept, known = str(data["fingerprint"]), dict(data["identity"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / JOB}: cannot be read ({type(error).__name__}: {error}). It may "
            "come from another version; manifest.json names the one."
        ) from error
    return Run(folder=folder, job=job, fingerprint=kept, identity=known)


def is_swept(folder: Path) -> bool:
    """Whether a folder is the run of a sweep, not of a search."""
    return (folder / JOB).is_file()


def resume_run(folder: Path, job: Job | None = None) -> Run:
    """The run of a folder, if it is still the same question to the same program.

    Raises:
        InputError: study, formulas or versions changed since it was started.
    """
    run = open_run(folder)
    check_same(_run_of(job or run.job, folder), run)
    return run


def check_same(given: Run, kept: Run) -> None:
    """Raise unless two runs would hold the same numbers."""
    if given.fingerprint == kept.fingerprint:
        return
    changes = differences(given.identity, kept.identity)
    shown = "; ".join(change[:120] for change in changes[:5]) or "its record"
    raise InputError(
        f"{kept.folder} was made by another study or version ({shown}). Start a new "
        "run in a new folder; what is in this one stays as it is."
    )


def update_manifest(run: Run, changes: Mapping[str, Any]) -> None:
    """Replace entries of a run's manifest, whole or not at all."""
    path = run.folder / MANIFEST
    text = json.dumps({**read_json(path), **finite_or_none(dict(changes))}, indent=2)
    write_whole(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))


@contextlib.contextmanager
def locked(folder: Path, *, slice_name: str = "") -> Generator[None]:
    """Hold a run's folder: alone, or together with drivers of other slices.

    Raises:
        InputError: another driver holds it.
    """
    with contextlib.ExitStack() as held:
        main = held.enter_context(_open_lock(folder / LOCK))
        if slice_name:
            _take(main, folder, shared=True)
            own = held.enter_context(_open_lock(folder / f"{LOCK}-{slice_name}"))
            _take(own, folder, shared=False)
        else:
            _take(main, folder, shared=False)
            remove_parts(folder)
        yield


def _open_lock(path: Path) -> IO[str]:
    try:
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path.parent}: {error.strerror}.") from error


def _take(file: IO[str], folder: Path, *, shared: bool) -> None:
    try:
        _lock_file(file, shared=shared)
    except OSError as error:
        file.seek(0)
        holder = file.read(200).strip() or "another process"
        raise InputError(
            f"{folder}: {holder} is computing this run. Wait for it, or stop it and "
            "resume."
        ) from error
    if not shared:
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()


def _lock_file(file: IO[str], *, shared: bool) -> None:
    try:
        import fcntl  # noqa: PLC0415 - absent on Windows
    except ImportError:
        import msvcrt  # noqa: PLC0415

        windows: Any = msvcrt
        windows.locking(file.fileno(), windows.LK_NBLCK, 1)
        return
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(file.fileno(), kind | fcntl.LOCK_NB)


def _run_of(job: Job, folder: Path) -> Run:
    known = json.loads(json.dumps(finite_or_none(identity(job)), default=str))
    return Run(folder=folder, job=job, fingerprint=fingerprint(known), identity=known)


def _fill(
    run: Run,
    folder: Path,
    *,
    study_text: str,
    argv: Sequence[str],
    versions: Mapping[str, str] | None,
) -> None:
    job, study = run.job, run.job.study
    record = {
        "fingerprint": run.fingerprint,
        "identity": run.identity,
        "job": finite_or_none(job_to_dict(job)),
    }
    manifest = {
        "kind": "search sweep" if job.plan.search else "sweep",
        "study": study.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": OPEN,
        "minimize": study.minimize,
        "points": job.plan.points,
        "shards": job.num_shards,
        "shard_size": job.shard_size,
        "seed": job.plan.seed,
        "fingerprint": run.fingerprint,
        "unsure": run.about()["unsure"],
        "units": job.units(),
        "argv": public_argv(argv),
        "versions": {**run.identity["versions"], **(versions or {})},
        "platform": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "processors": os.cpu_count(),
        },
    }
    texts = {
        JOB: json.dumps(record) + "\n",
        MANIFEST: json.dumps(manifest, indent=2) + "\n",
    }
    if study_text:
        texts["study.yaml"] = study_text
    if study.resolved:
        texts["resolved.yaml"] = resolved_study(study)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    comment = f"Design that the run {run.folder.name} sweeps around."
    save_design(study.baseline, folder / "design.yaml", comment=comment)
