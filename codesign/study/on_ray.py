"""How are shards computed on a Ray cluster? Tasks that Ray starts again.

Run on a file system that all nodes see -> shards as they are done.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from codesign.core.errors import InputError
from codesign.study.folder import Run
from codesign.study.shard_work import MOST_TRIES, Done, compute_in, worker_settings

ADDRESS = "RAY_ADDRESS"
AHEAD = 2  # tasks that wait for each processor


@dataclass(frozen=True)
class OnRay:
    """Tasks on the cluster that RAY_ADDRESS names, or on one started here."""

    workers: int | None = None

    def compute(self, run: Run, indices: Sequence[int]) -> Iterator[Done]:
        """Submit shards as tasks; Ray repeats those whose worker dies.

        Raises:
            InputError: Ray is not installed, or a shard killed its worker thrice.
        """
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            # An existing cluster has its own processors; only a new one is given some.
            new = {"num_cpus": self.workers, "include_dashboard": False}
            ray.init(
                log_to_driver=False,
                runtime_env={"env_vars": worker_settings()},
                **({} if os.environ.get(ADDRESS) else new),
            )
        try:
            most = self.workers or int(ray.cluster_resources().get("CPU", 1))
            yield from _computed(ray, run, indices=indices, most=AHEAD * max(most, 1))
        finally:
            if started:
                ray.shutdown()


def _computed(
    ray: Any, run: Run, *, indices: Sequence[int], most: int
) -> Iterator[Done]:
    task = ray.remote(num_cpus=1, max_retries=MOST_TRIES)(compute_in)
    folder = str(run.folder.resolve())
    todo, busy = iter(indices), []
    try:
        while True:
            while len(busy) < most and (index := next(todo, -1)) >= 0:
                busy.append(task.remote(folder, index))
            if not busy:
                return
            ready, busy = ray.wait(busy)
            yield from ray.get(ready)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, InputError):
            raise cause from error
        raise InputError(f"Ray gave up: {error}") from error
    finally:
        for reference in busy:
            ray.cancel(reference, force=True)


def _ray() -> Any:
    try:
        return import_module("ray")
    except ImportError as error:
        raise InputError(
            'Ray is not installed. Install it with: pip install "codesign[ray]", or '
            "use another executor: inprocess, processes."
        ) from error
