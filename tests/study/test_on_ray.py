"""A cluster that is there is used as it is; a stand-in for Ray notes what is asked."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from codesign.study import on_ray
from codesign.study.executors import build_executor
from tests.study.jobs import new_run


class StandIn:
    """Runs nothing; a task's answer is its index."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.most = 0
        self.exceptions = SimpleNamespace(RayError=RuntimeError)

    def is_initialized(self) -> bool:
        return False

    def init(self, **asked: Any) -> None:
        self.asked = asked

    def shutdown(self) -> None:
        self.asked["ended"] = True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 64.0}

    def remote(self, **_: Any) -> Any:
        task = SimpleNamespace(remote=lambda _, index: index)
        return lambda _: task

    def wait(self, busy: list[int]) -> tuple[list[int], list[int]]:
        self.most = max(self.most, len(busy))
        return busy[:1], busy[1:]

    def get(self, ready: list[int]) -> list[int]:
        return ready


@pytest.mark.parametrize("address", ["10.0.0.1:6379", ""])
def test_processors_are_asked_of_a_new_cluster_only(
    *, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ray = StandIn()
    monkeypatch.setattr(on_ray, "_ray", lambda: ray)
    monkeypatch.setenv("RAY_ADDRESS", address)
    run = new_run(tmp_path / "run", shard_size=4)
    executor = build_executor("ray", workers=3)
    assert sorted(executor.compute(run, range(25))) == list(range(25))
    assert ray.asked.get("num_cpus") == (None if address else 3)
    assert ray.most == 3 * on_ray.AHEAD
    assert ray.asked["ended"]
