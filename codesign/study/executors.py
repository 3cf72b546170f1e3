"""Who computes the shards of a run? Threads here, processes here, or Ray.

Run and shard numbers -> shards as they are done, in any order. An executor may
compute a shard twice, never leave one out: files decide what is there.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from codesign.config.sweep import EXECUTORS
from codesign.core.errors import InputError, UnknownNameError
from codesign.study.folder import Run
from codesign.study.shard_work import (
    MOST_TRIES,
    Done,
    compute_shard,
    worker_settings,
)
from codesign.study.worker import Worker

PROGRAM = "import sys; from codesign.study.shard_work import main; main(sys.argv[1])"
LONGEST_GOODBYE = 5.0  # seconds until a worker that should end is killed


class Executor(Protocol):
    """What computes shards; leaving the iterator early stops the work."""

    def compute(self, run: Run, indices: Sequence[int]) -> Iterator[Done]:
        """Compute shards of a run, and tell of each when its file is there."""
        ...


def build_executor(name: str, *, workers: int | None = None) -> Executor:
    """The executor of a name, with as many workers as there are processors.

    Raises:
        UnknownNameError: no such executor.
    """
    check_executor(name)
    count = workers or os.cpu_count() or 1
    if name == "inprocess":
        return InProcess(workers=count)
    if name == "processes":
        return Processes(workers=count)
    from codesign.study.on_ray import OnRay  # noqa: PLC0415 - an extra

    return OnRay(workers=workers)


def check_executor(name: str) -> None:
    """Raise unless there is an executor of a name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in EXECUTORS:
        known = ", ".join(EXECUTORS)
        raise UnknownNameError(f'no executor is called "{name}". Allowed: {known}.')


@dataclass(frozen=True)
class InProcess:
    """Threads of this process, which share one compiled function."""

    workers: int = 1

    def compute(self, run: Run, indices: Sequence[int]) -> Iterator[Done]:
        """Compute shards in threads; at most one waits for each that runs."""
        worker = Worker(run.job)
        todo = iter(indices)
        # A search keeps all processors busy by itself.
        threads = 1 if run.job.plan.search else self.workers
        pool = ThreadPoolExecutor(threads)
        busy: set[Future[Done]] = set()
        try:
            while True:
                while len(busy) < threads and (index := next(todo, -1)) >= 0:
                    busy.add(pool.submit(compute_shard, run, index, worker=worker))
                if not busy:
                    return
                ready, busy = wait(busy, return_when=FIRST_COMPLETED)
                for done in ready:
                    yield done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class Processes:
    """Worker processes on this machine; one that dies is replaced."""

    workers: int = 1

    def compute(self, run: Run, indices: Sequence[int]) -> Iterator[Done]:
        """Hand shards to processes; a dead worker's shard goes to the next one.

        Raises:
            InputError: a worker refused a shard, or one shard killed three.
        """
        team = _Team(run, indices)
        threads = [
            threading.Thread(target=team.serve, daemon=True)
            for _ in range(min(self.workers, len(indices)))
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in indices:
                answer = team.answers.get()
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        finally:
            team.stop()
            for thread in threads:
                thread.join()


@dataclass
class _Team:
    """Shards to do, answers, and the processes that live."""

    run: Run
    indices: Sequence[int]
    answers: "queue.SimpleQueue[Done | Exception]" = field(
        default_factory=queue.SimpleQueue
    )
    stopped: bool = False

    def __post_init__(self) -> None:
        self.todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.living: set[subprocess.Popen[str]] = set()
        self.guard = threading.Lock()
        for index in self.indices:
            self.todo.put(index)

    def serve(self) -> None:
        """Keep one process busy until nothing is left to do."""
        process = None
        try:
            while not self.stopped:
                index = self.todo.get_nowait()
                process = self.served(index, process=process)
        except queue.Empty:
            pass
        except Exception as error:
            self.answers.put(error)
        finally:
            self.end(process)

    def served(
        self, index: int, *, process: subprocess.Popen[str] | None
    ) -> subprocess.Popen[str] | None:
        """Have a shard computed, by another process if the first one dies."""
        code = 0
        for _ in range(MOST_TRIES):
            if self.stopped:
                return process
            process = process or self.start()
            reply = _asked(process, index)
            if reply is not None:
                self.answers.put(_read(reply))
                return process
            self.end(process)
            code = process.returncode
            process = None
        if not self.stopped:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
            raise InputError(
                f"shard {index} ended its worker {MOST_TRIES} times ({how}). Out of "
                "memory? Fewer workers need less; resume the run then."
            )
        return None

    def start(self) -> subprocess.Popen[str]:
        """A worker in a session of its own, which Ctrl-C does not reach."""
        process = subprocess.Popen(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", PROGRAM, str(self.run.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **worker_settings()},
            start_new_session=True,
        )
        with self.guard:
            self.living.add(process)
            if self.stopped:
                process.kill()
        return process

    def end(self, process: subprocess.Popen[str] | None) -> None:
        """Let a process go: its input ends, and it with it."""
        if process is None:
            return
        with contextlib.suppress(OSError):
            if process.stdin:
                process.stdin.close()
        try:
            process.wait(LONGEST_GOODBYE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
        with self.guard:
            self.living.discard(process)

    def stop(self) -> None:
        """End all processes now; what they were computing is computed again."""
        self.stopped = True
        with self.guard:
            for process in self.living:
                process.kill()


def _asked(process: subprocess.Popen[str], index: int) -> str | None:
    """The line that a worker answers, or None if it died."""
    if process.stdin is None or process.stdout is None:
        return None
    try:
        process.stdin.write(f"{index}\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except (OSError, ValueError):
        return None
    return line if line.endswith("\n") else None


def _read(line: str) -> Done | Exception:
    reply = json.loads(line)
    if "refused" in reply:
        return InputError(reply["refused"])
    if "failed" in reply:
        return RuntimeError(reply["failed"])
    return Done(**reply)
