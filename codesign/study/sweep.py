"""What do all metrics do when parameters run through a plan of points?

Study or design, plan, executor -> a table; with a folder, a run that survives
kills, goes on where it stopped, and grows over machines.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from codesign.config.doubts import study_doubts
from codesign.config.study import Study
from codesign.config.sweep import Plan, build_plan
from codesign.core.checks import check_x64
from codesign.core.errors import BoundsError
from codesign.serving.design import Design
from codesign.study.drive import Progress, complete, silent
from codesign.study.executors import build_executor
from codesign.study.folder import create_run, is_swept, resume_run
from codesign.study.job import Job, build_job, numeric_versions
from codesign.study.plain import finite_or_none, to_plain
from codesign.study.table import Table, folder_table, memory_table
from codesign.study.worker import Worker

MOST_IN_MEMORY = 50_000_000  # numbers of a sweep that is not kept in a folder


def sweep(
    asked: Study | Design,
    over: Mapping[str, Any] | Plan | None = None,
    *,
    method: str = "grid",
    points: int | None = None,
    seed: int = 0,
    search: bool = False,
    metrics: Sequence[str] | None = None,
    minimize: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    executor: str | None = None,
    workers: int | None = None,
    shard_size: int | None = None,
    progress: Progress = silent,
) -> Table:
    """Evaluate, or optimise, a design at every point of a plan.

    ``over`` maps dotted paths to lists of values or to ranges; texts carry
    units, numbers are SI. Paths may name parameters of chip, model, deployment,
    request, stack and technology, ``quality.<constant>``, and with ``search``
    limits as ``subject_to.<metric>``. A study file may hold all of it in its
    ``sweep`` section instead. ``metrics`` are names or groups such as ``chip``.

    With ``out`` the rows go into a run's folder, shard by shard; the same call
    with ``resume`` computes what is missing or damaged there, on ``executor`` or the
    one that the study names. Rows of designs
    that cannot exist hold NaN and ``legal`` is false.

    Raises:
        InputError: a path, value, metric or folder that cannot be used.
        InterruptedRunError: it was stopped; ``resume`` goes on.

    Example:
        ``sweep(design, {"chip.dram.bandwidth": ["2 TB/s", "4 TB/s"]})["power"]``
    """
    check_x64()
    plan = over if isinstance(over, Plan) or over is None else None
    if plan is None and over is not None:
        given: Any = over
        plan = build_plan(given, method=method, points=points, seed=seed, search=search)
    job = build_job(
        asked, plan, metrics=metrics, minimize=minimize, shard_size=shard_size
    )
    if out is None:
        return _in_memory(job, workers=workers or os.cpu_count() or 1)
    folder = Path(out)
    if resume and is_swept(folder):
        run = resume_run(folder, job)
    else:
        run = create_run(job, folder)
    chosen = build_executor(executor or job.plan.executor, workers=workers)
    complete(run, chosen, progress=progress)
    return folder_table(run)


def _in_memory(job: Job, *, workers: int) -> Table:
    numbers = job.plan.points * len(job.units())
    if numbers > MOST_IN_MEMORY:
        raise BoundsError(
            f"{job.plan.points} points of {len(job.units())} columns are many to hold; "
            "name a folder with out=, or fewer metrics."
        )
    worker = Worker(job)
    # A search keeps all processors busy by itself.
    with ThreadPoolExecutor(1 if job.plan.search else workers) as pool:
        shards = list(pool.map(worker.shard, range(job.num_shards)))
    return memory_table(
        {name: np.concatenate([s[name] for s in shards]) for name in job.units()},
        units=job.units(),
        inputs=finite_or_none(to_plain(job.study.baseline)),
        versions=numeric_versions(),
        unsure=study_doubts(job.study),
    )
