"""The design of the theory pages, a plan of 100 points, a job without compilation."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from codesign.config.design import build_design
from codesign.config.sweep import Plan, build_plan
from codesign.serving.design import Design
from codesign.study.folder import Run, create_run
from codesign.study.job import Job, build_job
from codesign.study.shard_work import worker_settings
from codesign.study.shards import Columns, shard_path

OVER = {
    "chip.dram.bandwidth": {"min": "1 TB/s", "max": "4 TB/s", "points": 5},
    "deployment.tensor_parallel": [1, 2, 3, 8],
    "deployment.batch": [16, 64, 256, 300, 400],
}
SHARD = 10


@cache
def design() -> Design:
    return build_design(
        chip="h100-sxm",
        num_chips=8,
        model="llama-3-70b",
        tensor_parallel=8,
        batch=64,
        prompt_length=1024,
        output_length=256,
    )


def plan() -> Plan:
    return build_plan(OVER)


def job(**changes: Any) -> Job:
    return build_job(design(), plan(), **{"shard_size": SHARD, **changes})


def new_run(folder: Path, **changes: Any) -> Run:
    return create_run(job(**changes), folder)


def shard_bytes(run: Run) -> list[bytes]:
    return [shard_path(run.folder, i).read_bytes() for i in range(run.job.num_shards)]


def assert_same_columns(found: Columns, expected: Columns):
    assert list(found) == list(expected)
    for name, column in expected.items():
        assert found[name].dtype.kind == column.dtype.kind, name
        equal_nan = column.dtype.kind == "f"
        assert np.array_equal(found[name], column, equal_nan=equal_nan), name


def python(
    code: str,
    *arguments: object,
    settings: Mapping[str, str] | None = None,
    **more: Any,
) -> subprocess.Popen[str]:
    """Another interpreter that computes the same bits as this one."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **worker_settings(), **(settings or {})},
        **more,
    )


def indices_done(run: Run) -> Sequence[int]:
    return [i for i in range(run.job.num_shards) if shard_path(run.folder, i).exists()]
