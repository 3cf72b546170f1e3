"""Nothing is lost and nothing is counted twice, whatever is killed or damaged."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from codesign.core.errors import InputError, InterruptedRunError
from codesign.study.drive import Event, complete, finish
from codesign.study.executors import InProcess, Processes, build_executor
from codesign.study.folder import Run, create_run, locked, open_run, resume_run
from codesign.study.shards import SHARDS, shard_path
from codesign.study.table import folder_table
from tests.study.jobs import (
    assert_same_columns,
    indices_done,
    job,
    new_run,
    python,
    shard_bytes,
)

METRICS = ("energy_per_token", "power", "limits")
SHARD_COUNT = 10
LONGEST = 60.0  # seconds that a test waits for another process


def small_run(folder: Path) -> Run:
    return new_run(folder, metrics=METRICS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing disturbed."""
    run = small_run(tmp_path_factory.mktemp("runs") / "whole")
    assert complete(run, InProcess(workers=2)) == SHARD_COUNT
    return run


def assert_is_whole(run: Run, whole: Run):
    assert run.missing() == []
    assert_same_columns(folder_table(run).to_numpy(), folder_table(whole).to_numpy())
    assert shard_bytes(run) == shard_bytes(whole)
    files = sorted(path.name for path in (run.folder / SHARDS).iterdir())
    assert files == [f"{index:06d}.parquet" for index in range(SHARD_COUNT)]


def written_at(run: Run) -> list[int]:
    files = [shard_path(run.folder, i) for i in range(SHARD_COUNT)]
    return [file.stat().st_mtime_ns for file in files]


def test_finished_run_computes_nothing_again(whole: Run):
    before = [
        shard_path(whole.folder, i).stat().st_mtime_ns for i in range(SHARD_COUNT)
    ]
    assert complete(resume_run(whole.folder), InProcess()) == 0
    assert written_at(whole) == before


def cut_short(path: Path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path):
    """One bit in the middle of the first column's values."""
    query = (
        "SELECT coalesce(dictionary_page_offset, data_page_offset), "
        "total_compressed_size FROM parquet_metadata(?) LIMIT 1"
    )
    begin, size = duckdb.execute(query, [str(path)]).fetchone()
    data = bytearray(path.read_bytes())
    data[begin + size // 2] ^= 4
    path.write_bytes(data)


def empty(path: Path):
    path.write_bytes(b"")


def take_anothers_place(path: Path):
    path.write_bytes(path.with_name("000007.parquet").read_bytes())


DAMAGES = {
    1: cut_short,
    3: flip_a_bit,
    5: empty,
    6: take_anothers_place,
    9: Path.unlink,
}


def test_damaged_shards_are_computed_again(whole: Run, tmp_path: Path):
    run = small_run(tmp_path / "run")
    for index, data in enumerate(shard_bytes(whole)):
        shard_path(run.folder, index).write_bytes(data)
    for index, damage in DAMAGES.items():
        damage(shard_path(run.folder, index))
    assert run.missing() == list(DAMAGES)
    with pytest.raises(InputError, match=r"5 of 10 shards are missing \(1, 3, 5, 6, 9"):
        finish(run)
    assert complete(run, InProcess()) == len(DAMAGES)
    assert_is_whole(run, whole)


def test_shard_of_another_study_is_no_shard(whole: Run, tmp_path: Path):
    other = create_run(job(metrics=METRICS, minimize="power"), tmp_path / "other")
    for index, data in enumerate(shard_bytes(whole)):
        shard_path(other.folder, index).write_bytes(data)
    assert other.missing() == list(range(SHARD_COUNT))


def test_interrupted_run_goes_on(whole: Run, tmp_path: Path):
    run = small_run(tmp_path / "run")

    def stop(event: Event) -> None:
        if event["event"] == "shard" and event["done"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(
        InterruptedRunError, match=r"after 4 of 10 .*--resume"
    ) as stopped:
        complete(run, InProcess(), progress=stop)
    assert stopped.value.exit_code == 4
    assert complete(run, InProcess()) < SHARD_COUNT - 3
    assert_is_whole(run, whole)


def test_parts_together_are_the_whole(whole: Run, tmp_path: Path):
    run = small_run(tmp_path / "run")
    for place in (3, 1):
        complete(run, InProcess(), part=(place, 3))
    assert run.missing() == [1, 4, 7]
    complete(run, InProcess(), part=(2, 3))
    finish(run)
    assert_is_whole(run, whole)
    with pytest.raises(InputError, match="1 to 3"):
        complete(run, InProcess(), part=(4, 3))


def test_two_drivers_are_kept_apart(tmp_path: Path):
    run = small_run(tmp_path / "run")
    with (
        locked(run.folder),
        pytest.raises(InputError, match=f"process {os.getpid()} on"),
    ):
        complete(run, InProcess())
    with locked(run.folder, slice_name="1-of-2"):
        with locked(run.folder, slice_name="2-of-2"):
            pass
        for name in ("", "1-of-2"):
            with pytest.raises(InputError, match="is computing"):
                lock_once(run, name)
    assert indices_done(run) == []


def lock_once(run: Run, name: str):
    with locked(run.folder, slice_name=name):
        pass


def test_changed_study_is_refused(whole: Run, tmp_path: Path):
    changed = job(metrics=METRICS, minimize="power")
    with pytest.raises(InputError, match=r'minimize "energy.*" -> "power"'):
        resume_run(whole.folder, changed)
    with pytest.raises(InputError, match="minimize"):
        create_run(changed, whole.folder)
    assert create_run(whole.job, whole.folder).fingerprint == whole.fingerprint
    (tmp_path / "x").touch()
    with pytest.raises(InputError, match="cannot be written"):
        create_run(changed, tmp_path)


def test_other_versions_are_refused(whole: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "codesign.study.job.numeric_versions", lambda: {"jax": "0.0", "code": "1"}
    )
    with pytest.raises(InputError, match=r'versions\.jax "[\d.]+" -> "0\.0"'):
        resume_run(whole.folder)


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """The kernel refuses longer files, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_stops_the_run_and_leaves_what_is_whole(whole: Run, tmp_path: Path):
    run = small_run(tmp_path / "run")
    complete(run, InProcess(), part=(1, 2))
    size = shard_path(run.folder, 0).stat().st_size
    with no_file_above(size // 2), pytest.raises(InputError, match="make room"):
        complete(run, InProcess(), part=(2, 2))
    assert indices_done(run) == [0, 2, 4, 6, 8]
    complete(run, InProcess())
    assert_is_whole(run, whole)


def test_killed_worker_is_replaced(
    *, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = small_run(tmp_path / "run")
    begun: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def noted(*args: object, **kwargs: object) -> subprocess.Popen[str]:
        begun.append(popen(*args, **kwargs))
        return begun[-1]

    monkeypatch.setattr("codesign.study.executors.subprocess.Popen", noted)

    def kill_first(event: Event) -> None:
        if event["event"] == "shard" and event["done"] == 2:
            begun[0].send_signal(signal.SIGKILL)

    assert complete(run, Processes(workers=1), progress=kill_first) == SHARD_COUNT
    assert len(begun) == 2
    assert begun[0].returncode == -signal.SIGKILL
    assert_is_whole(run, whole)


def test_shard_that_kills_its_workers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = small_run(tmp_path / "run")
    suicide = "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)"
    monkeypatch.setattr("codesign.study.executors.PROGRAM", suicide)
    with pytest.raises(
        InputError, match=r"ended its worker 3 times \(signal SIGKILL\)"
    ):
        complete(run, Processes(workers=2))
    assert indices_done(run) == []


DRIVER = """
import sys
from pathlib import Path
from codesign.study.drive import complete
from codesign.study.executors import build_executor
from codesign.study.folder import open_run
complete(open_run(Path(sys.argv[1])), build_executor(sys.argv[2], workers=1))
"""


def test_killed_driver_is_resumed(whole: Run, tmp_path: Path):
    run = small_run(tmp_path / "run")
    driver = python(DRIVER, run.folder, "processes")
    ends = time.monotonic() + LONGEST
    while len(indices_done(run)) < 2 and time.monotonic() < ends:
        time.sleep(0.002)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert driver.returncode == -signal.SIGKILL
    left = len(run.missing())
    assert 0 < left < SHARD_COUNT - 1
    assert 0 < complete(resume_run(run.folder), InProcess(workers=2)) <= left
    assert_is_whole(run, whole)


def test_refusal_of_a_worker_reaches_the_driver(tmp_path: Path):
    run = small_run(tmp_path / "run")
    (run.folder / "job.json").unlink()
    with pytest.raises(InputError, match=r"holds no job\.json"):
        complete(run, build_executor("processes", workers=1))


def test_unknown_executor_is_explained():
    with pytest.raises(InputError, match="inprocess, processes, ray"):
        build_executor("dask")


def test_opened_run_is_the_run_that_was_created(whole: Run):
    found = open_run(whole.folder)
    assert (found.fingerprint, found.identity) == (whole.fingerprint, whole.identity)
