"""Two choices that are worse alone and better together."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from codesign.config.study import Study
from codesign.config.variables import Variable
from codesign.optimize.discrete import Pool, pairs
from codesign.optimize.search import Search
from codesign.optimize.space import Floats, Space, build_space
from codesign.optimize.trace import Log

EXPERTS, CHIPS = (1.0, 2.0, 4.0, 8.0, 16.0), (1.0, 2.0, 4.0, 8.0)


@pytest.fixture(scope="module")
def space() -> Space:
    """Experts and chips whose ratio should be 2, and a size that follows."""
    variables = (
        Variable(path="experts", unit="", low=1, high=16, choices=EXPERTS),
        Variable(path="chips", unit="", low=1, high=8, choices=CHIPS),
        Variable(path="size", unit="", low=0.01, high=100),
    )
    return Space(
        variables=variables,
        low=np.log([v.low for v in variables]),
        high=np.log([v.high for v in variables]),
    )


def objective(values: Floats) -> Floats:
    """ln objective: fewer chips cost less, a ratio other than 2 costs more."""
    experts, chips, size = values.T
    return (
        0.1 * np.log(chips)
        + np.log(experts / chips / 2) ** 2
        + np.log(size / experts) ** 2
    )


class Analytic:
    """An engine of that problem: lanes end at the best size of their choices."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def constraints(self, values: Floats, _: Any) -> tuple[Floats, Floats]:
        return objective(values), np.full((len(values), 1), -1.0)

    def evaluate(self, values: Floats, theta: Any, **_: Any) -> Pool:
        found, broken = self.constraints(values, theta)
        return Pool(values, found, broken[:, 0], np.zeros(len(values)))

    def goal(self, *_: Any, **__: Any) -> None:
        return None

    def refine(self, values: Floats, theta: Any, **_: Any) -> Any:
        best = np.column_stack([values[:, :2], values[:, 0]])
        found, broken = self.constraints(best, theta)
        points = self.space.encode(best)
        return SimpleNamespace(points=points, objective=found, constraints=broken)


def test_two_choices_move_together_where_either_alone_is_worse(space: Space):
    stuck = np.array([[8.0, 4.0, 8.0]])
    engine, mask = Analytic(space), np.ones(3, bool)
    alone = [
        (experts, chips, experts)
        for experts, chips in ((4.0, 4.0), (16.0, 4.0), (8.0, 2.0), (8.0, 8.0))
    ]
    assert np.all(objective(np.array(alone)) > objective(stuck))
    search: Any = Search(engine, None, mask, np.random.default_rng(0))  # type: ignore[arg-type]
    log = Log(lambda _: None, lost=np.zeros((0, 3)))
    state = search._begun(stuck, log=log)
    found = search._pairs(state, count=32, log=log)
    best = state.pool.best(1).values[0]
    assert best == pytest.approx([4.0, 2.0, 4.0])
    assert found.min() < objective(stuck)[0]
    assert state.bound == pytest.approx(found.min())
    assert state.solved.values[0] == pytest.approx(best)


def test_pairs_are_all_legal_moves_of_one_or_two_choices(study: Study):
    space = build_space(study)
    mask = np.ones(len(space.paths), bool)
    rng = np.random.default_rng(7)
    row = space.round(space.decode(rng.uniform(size=len(space.paths))), mask=mask)
    found = pairs(space, row, mask=mask, count=1000, rng=rng)
    np.testing.assert_array_equal(found[0], row)
    np.testing.assert_array_equal(found[:, ~space.coarse] - row[~space.coarse], 0.0)
    assert space.legal(found, mask=mask).all()
    assert len(np.unique(found, axis=0)) == len(found)
    changed = (found != row).sum(axis=1)
    assert {0, 1, 2} <= set(changed.tolist())


def test_more_pairs_than_asked_for_are_drawn_by_the_seed(space: Space):
    row, mask = np.array([4.0, 2.0, 1.0]), np.ones(3, bool)
    every = pairs(space, row, mask=mask, count=99, rng=np.random.default_rng(0))
    assert len(every) == 1 + 2 + 2 + 4
    first, again = (
        pairs(space, row, mask=mask, count=5, rng=np.random.default_rng(1))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[0], row)
    assert len(first) == 5


def test_without_choices_nothing_is_solved(space: Space):
    row, mask = np.array([4.0, 2.0, 1.0]), np.array([False, False, True])
    rng = np.random.default_rng(0)
    assert pairs(space, row, mask=mask, count=9, rng=rng).tolist() == [row.tolist()]
