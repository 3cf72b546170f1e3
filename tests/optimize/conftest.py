"""One small study for all tests of the search, compiled once."""

from collections.abc import Iterator

import pytest

from codesign.config.study import Study
from codesign.optimize.ladder import Climber, ladder
from codesign.optimize.result import Result
from tests.optimize.studies import Small, load_small, quick_search


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Every search of these tests is a short one."""
    with quick_search():
        yield


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return load_small(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def small(study: Study) -> Small:
    with quick_search():
        climber = Climber(study, lambda _: None)
        given = climber.as_given()
        return Small(climber, given, climber.tune(given))


@pytest.fixture(scope="session")
def climbed(study: Study) -> Result:
    with quick_search():
        return ladder(study, rounds=1)
