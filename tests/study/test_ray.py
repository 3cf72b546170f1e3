"""Ray computes the same bits, and survives a killed worker. Needs the extra."""

import os
import signal
from pathlib import Path

import pytest

from codesign.study.drive import Event, complete
from codesign.study.executors import InProcess, build_executor
from codesign.study.table import folder_table
from tests.study.jobs import assert_same_columns, new_run, shard_bytes

pytest.importorskip("ray", reason="the extra [ray] is not installed")
METRICS = ("energy_per_token", "power", "limits")


def is_ours(pid: int) -> bool:
    """Whether a process descends from this one."""
    while pid > 1 and pid != os.getpid():
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        pid = int(status.rpartition(")")[2].split()[1])
    return pid == os.getpid()


def workers() -> list[int]:
    """Processes of this session's Ray that run tasks of ours."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        pid = int(entry.parent.name)
        if line.startswith("ray::compute_in") and is_ours(pid):
            found.append(pid)
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds workers in /proc")
def test_killed_worker_loses_no_shard(tmp_path: Path):
    whole = new_run(tmp_path / "whole", metrics=METRICS, shard_size=4)
    complete(whole, InProcess())
    run = new_run(tmp_path / "run", metrics=METRICS, shard_size=4)
    killed: list[int] = []

    def kill_one(event: Event) -> None:
        ours = workers()
        if event["event"] == "shard" and ours and not killed:
            killed.append(ours[0])
            os.kill(ours[0], signal.SIGKILL)

    assert complete(run, build_executor("ray", workers=1), progress=kill_one) == 25
    assert killed
    assert_same_columns(folder_table(run).to_numpy(), folder_table(whole).to_numpy())
    assert shard_bytes(run) == shard_bytes(whole)
