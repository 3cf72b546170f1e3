"""One session for all tests of the explorer: it compiles once."""

from pathlib import Path

import pytest

from codesign.explore.opening import open_session
from codesign.explore.session import Session
from tests.optimize.studies import load_small


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def session(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    study = load_small(tmp_path_factory.mktemp("study"))
    return open_session(study.path, runs=runs)
