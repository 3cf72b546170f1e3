"""Which variables change nothing, and that copies of one design do not crowd."""

import numpy as np
import pytest

from codesign.config.variables import Variable
from codesign.optimize.discrete import Pool
from codesign.optimize.inert import Live
from codesign.optimize.space import Floats, Space

EXPERTS, EXPERT_SIZE, LAYERS, WIDTH = range(4)


@pytest.fixture(scope="module")
def space() -> Space:
    variables = (
        Variable(path="experts", unit="", low=1, high=8, choices=(1.0, 8.0)),
        Variable(path="expert_size", unit="", low=128, high=4096, multiple=128),
        Variable(path="layers", unit="", low=1, high=64, integer=True),
        Variable(path="width", unit="", low=0.1, high=10),
    )
    return Space(
        variables=variables,
        low=np.log([v.low for v in variables]),
        high=np.log([v.high for v in variables]),
    )


def outcomes(values: Floats) -> Floats:
    """Objective and one constraint; the size of experts counts where there are any."""
    size = np.where(values[:, EXPERTS] > 1, values[:, EXPERT_SIZE], 1.0)
    weights = np.log(size * values[:, LAYERS])
    return np.stack([weights + values[:, WIDTH], weights - 10], axis=1)


def test_a_dense_design_has_no_size_of_experts(space: Space):
    values = np.array([[1.0, 256, 8, 1], [8, 256, 8, 1], [1, 512, 9, 1]])
    live = Live(space, outcomes).columns(values, mask=np.array([True, True, True, 0]))
    assert live.tolist() == [
        [True, False, True, False],
        [True, True, True, False],
        [True, False, True, False],
    ]


def test_a_variable_of_one_constraint_alone_is_live(space: Space):
    def second(values: Floats) -> Floats:
        return np.stack([values[:, EXPERTS], values[:, LAYERS]], axis=1)

    live = Live(space, second).columns(np.ones((1, 4)), mask=np.ones(4, bool))
    assert live.tolist() == [[True, False, True, False]]


def test_each_combination_of_choices_is_probed_once(space: Space):
    asked: list[int] = []

    def counted(values: Floats) -> Floats:
        asked.append(len(values))
        return outcomes(values)

    live, mask = Live(space, counted), np.ones(4, bool)
    dense = np.tile([1.0, 256, 8, 1], (5, 1))
    live.columns(dense, mask=mask)
    live.columns(dense, mask=mask)
    assert asked == [1 + 2 * 4]
    live.columns(np.array([[8.0, 256, 8, 1]]), mask=mask)
    assert len(asked) == 2


def test_what_cannot_be_evaluated_at_an_end_is_live(space: Space):
    def broken(values: Floats) -> Floats:
        return np.where(values[:, [LAYERS]] > 32, np.nan, 1.0)

    live = Live(space, broken).columns(np.ones((1, 4)), mask=np.ones(4, bool))
    assert live.tolist() == [[False, False, True, False]]


def test_where_nothing_moves_nothing_is_live(space: Space):
    live = Live(space, outcomes).columns(np.ones((3, 4)), mask=np.zeros(4, bool))
    assert live.shape == (3, 4)
    assert not live.any()


def test_copies_that_differ_in_nothing_that_counts_do_not_crowd(space: Space):
    """Twenty dense designs that differ in the size of experts, before another depth.

    Their widths differ a little, so that no two have the same outcome.
    """
    sizes = 128.0 * np.arange(1, 21)
    copies = np.column_stack(
        [np.ones(20), sizes, np.full(20, 8.0), 1 + 1e-6 * np.arange(20)]
    )
    values = np.concatenate([copies, [[1.0, 256.0, 9.0, 1.0]]])
    found = outcomes(values)
    pool = Pool(values, found[:, 0], found[:, 1], np.maximum(found[:, 1], 0))
    whole = space.coarse | space.fine
    crowded = pool.distinct(8, columns=whole, penalty=3.0)
    assert set(crowded.values[:, LAYERS]) == {8.0}
    live = Live(space, outcomes).columns(values, mask=whole)
    kept = pool.distinct(8, columns=live, penalty=3.0)
    assert sorted(kept.values[:, LAYERS]) == pytest.approx([8, 8, 9])
