"""How does one process compute shard after shard of a run?

Folder and shard number -> the shard's file. Called by every executor; in a
process of its own it reads numbers from standard input and answers a line each.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax

from codesign.core.checks import enable_x64
from codesign.core.errors import CodesignError
from codesign.study.folder import Run, open_run
from codesign.study.shards import shard_path, write_shard
from codesign.study.worker import Worker

MOST_TRIES = 3  # of a shard whose worker dies


@dataclass(frozen=True)
class Done:
    """A shard that is on the disk, how long it took, and which process took it."""

    index: int
    rows: int
    seconds: float
    process: int


def compute_shard(run: Run, index: int, *, worker: Worker) -> Done:
    """Compute a shard and keep it."""
    clock = time.perf_counter()
    columns = worker.shard(index)
    write_shard(
        shard_path(run.folder, index),
        columns,
        fingerprint=run.fingerprint,
        index=index,
        units=run.job.units(),
        about=run.about(),
    )
    return Done(
        index=index,
        rows=len(columns["point"]),
        seconds=time.perf_counter() - clock,
        process=os.getpid(),
    )


@lru_cache(maxsize=1)
def _prepared(folder: str) -> tuple[Run, Worker]:
    enable_x64()
    run = open_run(Path(folder))
    return run, Worker(run.job)


def compute_in(folder: str, index: int) -> Done:
    """Compute a shard of the run in a folder; the worker is kept for the next."""
    run, worker = _prepared(folder)
    return compute_shard(run, index, worker=worker)


def worker_settings() -> dict[str, str]:
    """Environment in which another process computes the same bits as this one."""
    settings: Any = jax.config
    cache = settings.jax_compilation_cache_dir
    shortest = settings.jax_persistent_cache_min_compile_time_secs
    return {
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "JAX_ENABLE_X64": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(shortest),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **({"JAX_COMPILATION_CACHE_DIR": str(cache)} if cache else {}),
    }


def main(folder: str) -> None:
    """Answer the shard numbers on standard input until it ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        try:
            reply = asdict(compute_in(folder, int(line)))
        except CodesignError as error:
            reply = {"refused": str(error)}
        except Exception as error:
            reply = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
