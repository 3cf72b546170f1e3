"""Lanes of many problems: ranked group by group, lost ones replaced by the best."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from codesign.config.study import Study
from codesign.optimize.groups import best_first, legal_around
from codesign.optimize.space import Space, build_space

LOST = np.nan


def lanes(objective: list[float], violation: list[float]) -> Any:
    """Ends of lanes with one limit; one without a number is lost."""
    return SimpleNamespace(
        points=np.zeros((len(objective), 1)),
        objective=np.array(objective),
        constraints=np.array(violation)[:, None],
    )


def ranked(ended: Any, **more: Any) -> list[float]:
    """Places of the lanes in order; what was given counts from 100."""
    count = len(ended.objective)
    reached = np.arange(float(count))[:, None]
    found = best_first(ended, reached, given=reached + 100, size=3, **more)
    return found[:, 0].tolist()


def test_every_group_has_its_own_order():
    ended = lanes([3.0, 1.0, 2.0, 5.0, 6.0, 4.0], [0.0] * 6)
    assert ranked(ended) == [1, 2, 0, 5, 3, 4]


def test_what_keeps_the_limits_stands_before_what_breaks_them():
    ended = lanes([1.0, 2.0, 3.0], [0.5, 0.2, -0.1])
    assert ranked(ended) == [2, 1, 0]


def test_what_may_be_broken_does_not_count():
    ended = lanes([1.0, 2.0, 3.0], [0.5, 0.2, -0.1])
    assert ranked(ended, loose=np.full((3, 1), 1.0)) == [0, 1, 2]


def test_lost_lanes_take_the_best_of_their_group_or_what_was_given():
    ended = lanes([2.0, LOST, 1.0, LOST, LOST, LOST], [0.0] * 6)
    assert ranked(ended) == [2, 0, 2, 103, 104, 105]


@pytest.mark.parametrize("fine", [False, True])
def test_every_group_becomes_legal_around_its_own_best(study: Study, *, fine: bool):
    space: Space = build_space(study)
    rng = np.random.default_rng(1)
    values = space.decode(rng.uniform(0.2, 0.8, size=(16, len(space.paths))))
    held = space.coarse | (space.fine & fine)
    found = legal_around(space, values, held=held, size=8, rng=rng)
    np.testing.assert_array_equal(space.round(found, mask=held), found)
    for group in (0, 8):
        best = space.round(values[[group]], mask=held)[0, held]
        np.testing.assert_array_equal(found[group, held], best)
        others = found[group : group + 8, ~held & ~space.fine]
        own = values[group : group + 8, ~held & ~space.fine]
        assert np.isin(others, own).all()
