"""Several devices of one host share the points of a shard; the numbers stay."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from codesign.core.errors import InputError
from codesign.study.folder import resume_run
from codesign.study.worker import Worker
from tests.study.jobs import job, new_run, python

TWO = "--xla_force_host_platform_device_count=2"
PROGRAM = """
import json, sys
from pathlib import Path
import codesign
codesign.enable_x64()
import jax
import numpy as np
from codesign.study.worker import Worker, device_groups
from tests.study.jobs import job, new_run
columns = Worker(job(shard_size=100)).shard(0)
np.savez(sys.argv[1], **columns)
(group,) = device_groups(np.ones((10, 3)))
shards = [(str(s.device), s.data.shape[0]) for s in group.addressable_shards]
run = new_run(Path(sys.argv[2]), shard_size=100)
print(json.dumps({"shards": shards, "versions": run.identity["versions"]}))
"""
"""A shard, computed where the processor counts as two devices."""


def test_two_devices_give_the_numbers_of_one(tmp_path: Path):
    expected = Worker(job(shard_size=100)).shard(0)
    flags = f"{os.environ.get('XLA_FLAGS', '')} {TWO}"
    numbers, folder = tmp_path / "numbers.npz", tmp_path / "run"
    process = python(PROGRAM, numbers, folder, settings={"XLA_FLAGS": flags})
    answer, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    told = json.loads(answer.splitlines()[-1])
    assert [size for _, size in told["shards"]] == [256, 256]
    assert len({device for device, _ in told["shards"]}) == 2
    assert told["versions"]["devices"] == "2"
    found = np.load(numbers)
    assert list(found) == list(expected)
    for name, column in expected.items():
        np.testing.assert_allclose(
            found[name], column, rtol=1e-12, atol=1e-12, err_msg=name
        )
    with pytest.raises(InputError, match="devices"):
        resume_run(folder)


def test_one_device_takes_groups_as_they_are(tmp_path: Path):
    assert new_run(tmp_path / "run").identity["versions"]["devices"] == "1"
