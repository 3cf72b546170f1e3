"""How does a run get from what is there to what is asked for?

Run and executor -> every missing shard computed once, with events on the way:
resume, repair and first start are the same.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from codesign.config.design import save_design
from codesign.core.errors import InputError, InterruptedRunError
from codesign.serving.design import Design, set_parameter
from codesign.study.executors import Executor
from codesign.study.folder import COMPLETE, LOG, Run, locked, update_manifest
from codesign.study.runs import write_whole
from codesign.study.shards import read_shard, shard_path
from codesign.study.table import folder_table

Event = Mapping[str, Any]
Progress = Callable[[Event], None]


def silent(_: Event) -> None:
    """Progress that is not shown."""


def complete(
    run: Run,
    executor: Executor,
    *,
    part: tuple[int, int] | None = None,
    progress: Progress = silent,
) -> int:
    """Compute the shards that a run, or part i of N of it, still lacks.

    Parts take every N-th shard; all of them may run at once, on any machine that
    sees the folder. Without parts the run is finished: its best design is kept.
    The number of shards computed now.

    Raises:
        InputError: another driver holds the run, or shards cannot be kept.
        InterruptedRunError: it was stopped; the same call goes on.
    """
    slice_name = f"{part[0]}-of-{part[1]}" if part else ""
    with locked(run.folder, slice_name=slice_name):
        wanted = shards_of(run, part)
        missing = run.missing(wanted)
        log = _Log(run, progress, total=len(wanted), reused=len(wanted) - len(missing))
        log.tell("start", computed=0, reused=log.reused)
        try:
            for done in executor.compute(run, missing) if missing else ():
                log.shard(done.rows)
        except KeyboardInterrupt as error:
            log.tell("interrupted")
            raise InterruptedRunError(
                f"Interrupted after {log.done} of {log.total} shards, which are kept. "
                f"Go on with: codesign sweep --resume {run.folder}"
            ) from error
        log.tell("computed", computed=len(missing), reused=log.reused)
        if part is None:
            finish(run, missing=(), seconds=log.seconds() if missing else 0.0)
    return len(missing)


def shards_of(run: Run, part: tuple[int, int] | None) -> Sequence[int]:
    """Shards of part i of N, i from 1; all without a part.

    Raises:
        InputError: i does not lie between 1 and N.
    """
    if part is None:
        return range(run.job.num_shards)
    place, count = part
    if not 1 <= place <= count:
        raise InputError(f"--shard {place}/{count}: the first number is 1 to {count}.")
    return range(place - 1, run.job.num_shards, count)


def finish(
    run: Run, *, missing: Sequence[int] | None = None, seconds: float = 0.0
) -> dict[str, Any]:
    """Note that a run is complete, and keep its best design.

    Every shard is checked unless it is known which are ``missing``.

    Raises:
        InputError: shards are missing.
    """
    missing = run.missing() if missing is None else missing
    if missing:
        shown = ", ".join(map(str, missing[:8])) + (", ..." if missing[8:] else "")
        raise InputError(
            f"{run.folder}: {len(missing)} of {run.job.num_shards} shards are missing "
            f"({shown}). Compute them with: codesign sweep --resume {run.folder}"
        )
    best = best_point(run)
    changes: dict[str, Any] = {"status": COMPLETE, "best": best}
    changes |= {"seconds": seconds} if seconds else {}
    if best is not None:
        design = design_at(run, int(best["point"]))
        comment = (
            f"Best point of the run {run.folder.name}.\ncodesign evaluate best.yaml"
        )
        write_whole(
            run.folder / "best.yaml",
            lambda part: save_design(design, part, comment=comment),
        )
    update_manifest(run, changes)
    return changes


def best_point(run: Run) -> dict[str, Any] | None:
    """The feasible point with the least objective; the first of equals."""
    table = folder_table(run)
    return table.best(run.job.study.minimize)


def design_at(run: Run, point: int) -> Design:
    """The design of one point, with what a search found there.

    Raises:
        InputError: the shard of the point is missing.
    """
    index = point // run.job.shard_size
    path = shard_path(run.folder, index)
    columns = read_shard(path, fingerprint=run.fingerprint, index=index)
    if columns is None:
        raise InputError(f"{path}: is missing or damaged; resume the run.")
    row = point - run.job.bounds(index)[0]
    design = run.job.study.baseline
    free = run.job.study.free if run.job.plan.search else ()
    for path_of in [*(a.path for a in run.job.plan.axes), *(v.path for v in free)]:
        if not path_of.startswith(("subject_to.", "quality.")):
            value = float(columns[path_of][row])
            design = set_parameter(design, path_of, value=value)
    return design


class _Log:
    """Counts shards, and tells of each with its rate and the time left."""

    def __init__(
        self, run: Run, progress: Progress, *, total: int, reused: int
    ) -> None:
        self.run = run
        self.progress = progress
        self.total = total
        self.reused = reused
        self.done = reused
        self.rows = 0
        self.began = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def shard(self, rows: int) -> None:
        self.done += 1
        self.rows += rows
        computed = self.done - self.reused
        left = (self.total - self.done) * self.seconds() / computed
        self.progress(
            {
                "event": "shard",
                "done": self.done,
                "total": self.total,
                "points_per_second": self.rows / self.seconds(),
                "seconds": self.seconds(),
                "seconds_left": left,
            }
        )

    def tell(self, event: str, **more: Any) -> None:
        told = {
            "event": event,
            "done": self.done,
            "total": self.total,
            "seconds": self.seconds(),
            **more,
        }
        self.progress(told)
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **told}
        with (
            suppress(OSError),
            (self.run.folder / LOG).open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(line) + "\n")
