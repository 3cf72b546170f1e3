"""One small study, searched once, for all tests of the commands."""

from pathlib import Path

import pytest

from tests.app.runner import STUDY, Searched, invoke


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("study") / "small.yaml"
    file.write_text(STUDY, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def searched(small_study: Path) -> Searched:
    folder = small_study.parent / "run"
    done = invoke("optimize", small_study, "--out", folder, "--seed", 1)
    assert done.exit_code == 0, done.output
    return Searched(done=done, folder=folder, study=small_study)
