"""One small study for all tests of the search, compiled once."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codesign.config.study import Study
from codesign.optimize.climber import Climber
from codesign.optimize.ladder import ladder
from codesign.optimize.result import Result
from tests.optimize.studies import Small, load_small, quick_search

LONGEST_WAIT = 300.0  # seconds


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Every search of these tests is a short one."""
    with quick_search():
        yield


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return load_small(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def small(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Small:
    with quick_search():
        with _one_at_a_time(tmp_path_factory.getbasetemp().parent / "compiled"):
            climber = Climber(study, lambda _: None)
        given = climber.as_given()
        return Small(climber, given, climber.tune(given))


@pytest.fixture(scope="session")
def climbed(study: Study, small: Small) -> Result:
    assert small.tuned.feasible
    with quick_search():
        return ladder(study, rounds=1)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """The first worker compiles; the others wait and take it from the cache."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    done = folder / "done"
    try:
        folder.mkdir()
    except FileExistsError:
        end = time.monotonic() + LONGEST_WAIT
        while not done.exists() and time.monotonic() < end:
            time.sleep(0.5)
    yield
    done.touch()
