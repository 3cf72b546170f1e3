"""What do runs cost beyond the evaluations in them, and how fast do they answer?

This machine -> benchmarks/results/study.csv.

    python benchmarks/study.py            # the committed setting, some minutes
    python benchmarks/study.py --small    # a look, about a minute

Overhead of an executor is what its workers wait between shards, over the work of one.
The load average stands in each row.
"""

import argparse
import csv
import importlib.util
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

import codesign as cd
from codesign.config.sweep import Plan, build_plan
from codesign.serving.design import Design
from codesign.study.drive import complete
from codesign.study.executors import Executor, InProcess, Processes, build_executor
from codesign.study.folder import Run, create_run
from codesign.study.job import build_job
from codesign.study.query import query_runs
from codesign.study.shard_work import compute_shard
from codesign.study.shards import Columns, shard_path, write_shard
from codesign.study.worker import Worker

RESULTS = Path(__file__).resolve().parent / "results"
OVER = {
    "chip.dram.bandwidth": {"min": "1 TB/s", "max": "12 TB/s", "log": True},
    "chip.sram.capacity": {"min": "32 MiB", "max": "256 MiB"},
    "chip.tdp": {"min": "300 W", "max": "900 W"},
    "deployment.batch": {"min": 8, "max": 512, "log": True},
}
QUERY = "SELECT run, min(energy_per_token_server) FROM points WHERE feasible GROUP BY 1"
QUERY_COLUMNS = 20
MIB = 2**20
WORKERS = 2


@dataclass(frozen=True)
class Row:
    """One measured quantity; ``value`` is the median of ``rounds``."""

    what: str
    value: float
    unit: str
    low: float
    high: float
    rounds: int
    load: float


@dataclass(frozen=True)
class Setting:
    """How much is measured."""

    shard_size: int
    shards: int
    points: int
    rounds: int
    query_shards: int


FULL = Setting(
    shard_size=16384, shards=8, points=10_000_000, rounds=3, query_shards=500
)
SMALL = Setting(shard_size=16384, shards=6, points=200_000, rounds=1, query_shards=500)


def design() -> Design:
    return cd.build_design(
        chip="h100-sxm",
        num_chips=8,
        model="llama-3-70b",
        tensor_parallel=8,
        batch=64,
        prompt_length=1024,
        output_length=256,
    )


def plan(points: int) -> Plan:
    return build_plan(OVER, method="sobol", points=points)


def row(what: str, values: list[float], *, unit: str) -> Row:
    return Row(
        what=what,
        value=statistics.median(values),
        unit=unit,
        low=min(values),
        high=max(values),
        rounds=len(values),
        load=os.getloadavg()[0],
    )


def spent(function: Callable[[], object]) -> float:
    clock = time.perf_counter()
    function()
    return time.perf_counter() - clock


def both(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall and of processor; the latter hold under other load too."""
    cpu = time.process_time()
    return spent(function), time.process_time() - cpu


def bare(worker: Worker, shards: range, *, threads: int) -> None:
    """The shards' numbers and nothing else."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(worker.shard, shards):
            pass


def new_run(folder: Path, setting: Setting, *, points: int) -> Run:
    job = build_job(design(), plan(points), shard_size=setting.shard_size)
    return create_run(job, folder)


def overheads(folder: Path, setting: Setting) -> Iterator[Row]:
    """What keeping a shard adds to computing it, and an executor to both."""
    points = setting.shards * setting.shard_size
    first = new_run(folder / "first", setting, points=points)
    worker = Worker(first.job)
    worker.shard(0)
    keeping: list[float] = []
    for index in range(setting.shards):
        alone = processor_time(lambda i=index: worker.shard(i))
        kept = processor_time(lambda i=index: compute_shard(first, i, worker=worker))
        keeping.append(100.0 * (kept / alone - 1.0))
    yield row("keeping a shard, processor time", keeping, unit="%")
    executors: dict[str, Executor] = {"processes": Processes(workers=WORKERS)}
    if importlib.util.find_spec("ray"):
        executors["ray"] = build_executor("ray", workers=WORKERS)
    for name, executor in executors.items():
        run = new_run(folder / name, setting, points=points)
        waits = waiting(run, executor)
        work, lost = zip(*waits, strict=True)
        yield row(f"work of a shard, {name}", list(work), unit="s")
        shares = [100.0 * each / statistics.median(work) for each in lost]
        yield row(f"overhead of {name}, {WORKERS} workers", shares, unit="%")


def waiting(run: Run, executor: Executor) -> list[tuple[float, float]]:
    """Seconds of each shard and those that its worker waited before it.

    The wait is the time between two answers of one worker less the work of the later
    one, so other load on the machine stands in both and not in their difference. The
    first shard of a worker is left out: it holds its start.
    """
    last: dict[int, float] = {}
    found: list[tuple[float, float]] = []
    for done in executor.compute(run, range(run.job.num_shards)):
        now = time.perf_counter()
        if done.process in last:
            gap = now - last[done.process]
            found.append((done.seconds, gap - done.seconds))
        last[done.process] = now
    return found


def processor_time(function: Callable[[], object]) -> float:
    clock = time.process_time()
    function()
    return time.process_time() - clock


def long_sweep(folder: Path, setting: Setting) -> Iterator[Row]:
    """Points a second of a sweep into Parquet, against the bare evaluation."""
    run = new_run(folder / "long", setting, points=setting.points)
    worker, threads = Worker(run.job), os.cpu_count() or 1
    worker.shard(0)
    few = range(min(2 * threads, run.job.num_shards))
    before = both(lambda: bare(worker, few, threads=threads))
    took = both(lambda: complete(run, InProcess(workers=threads)))
    after = both(lambda: bare(worker, few, threads=threads))
    base, base_cpu = len(few) * setting.shard_size / np.mean([before, after], axis=0)
    rate, rate_cpu = setting.points / np.array(took)
    size = sum(path.stat().st_size for path in (run.folder / "shards").iterdir())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scale = 1 if sys.platform == "darwin" else 1024
    yield row("points of the sweep", [float(setting.points)], unit="1")
    yield row("bare evaluation", [float(base)], unit="1/s")
    yield row("sweep to Parquet", [float(rate)], unit="1/s")
    yield row("share of the bare rate", [float(100.0 * rate / base)], unit="%")
    yield row("bare evaluation, processor time", [float(base_cpu)], unit="1/s")
    yield row("sweep to Parquet, processor time", [float(rate_cpu)], unit="1/s")
    share = float(100.0 * rate_cpu / base_cpu)
    yield row("share of the bare rate, processor time", [share], unit="%")
    yield row("peak memory", [peak * scale / MIB], unit="MiB")
    yield row("files", [size / MIB], unit="MiB")


def queries(folder: Path, setting: Setting) -> Iterator[Row]:
    """Seconds of one query over many runs with four thousand rows a shard."""
    parent, rng = folder / "many", np.random.default_rng(0)
    rows, per_run = 4096, 10
    for number in range(setting.query_shards // per_run):
        job = build_job(design(), plan(rows * per_run), shard_size=rows)
        run = create_run(job, parent / f"run-{number:03d}")
        names = list(job.units())[:QUERY_COLUMNS]
        names = list(dict.fromkeys([*names, "energy_per_token_server", "feasible"]))
        for index in range(per_run):
            columns: Columns = {name: rng.random(rows) for name in names}
            columns["feasible"] = columns["feasible"] > 0.5
            write_shard(
                shard_path(run.folder, index),
                columns,
                fingerprint=run.fingerprint,
                index=index,
                units=job.units(),
                about=run.about(),
            )
    times = [spent(lambda: query_runs(parent, QUERY)) for _ in range(5)]
    work = [processor_time(lambda: query_runs(parent, QUERY)) for _ in range(5)]
    yield row("rows of the query", [float(rows * setting.query_shards)], unit="1")
    yield row("query", times, unit="s")
    yield row("query, processor time", work, unit="s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", choices=["overhead", "sweep", "query"])
    parser.add_argument("--points", type=int)
    given = parser.parse_args()
    setting = SMALL if given.small else FULL
    if given.points:
        setting = Setting(**{**vars(setting), "points": given.points})
    cd.enable_x64()
    parts = {"overhead": overheads, "sweep": long_sweep, "query": queries}
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in parts.items():
            if given.only in (None, name):
                for each in measure(Path(folder), setting):
                    found.append(each)
                    sys.stdout.write(f"{each.what:28} {each.value:12.5g} {each.unit}\n")
                    sys.stdout.flush()
    if not given.small:
        keep(found, RESULTS / "study.csv")


def keep(found: Sequence[Row], path: Path) -> None:
    """Write rows into the table; rows of quantities not measured now stay."""
    names = [field.name for field in fields(Row)]
    kept: dict[str, dict[str, str]] = {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            kept = {line["what"]: line for line in csv.DictReader(file)}
    fresh = {each.what: dict(zip(names, astuple(each), strict=True)) for each in found}
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**kept, **fresh}.values())


if __name__ == "__main__":
    main()
