"""Pools of legal designs, and the moves that make new ones."""

import numpy as np
import pytest

from codesign.config.study import Study
from codesign.optimize import discrete
from codesign.optimize.discrete import Pool, mutate, neighbours, scatter
from codesign.optimize.space import Space, build_space

COUNT = 48  # fewer than all combinations


def pool(*rows: tuple[float, float, float]) -> Pool:
    """Designs as (value, objective, violation)."""
    columns = np.array(rows, float)
    return Pool(
        values=columns[:, :1],
        objective=columns[:, 1],
        violation=columns[:, 2],
        excess=np.maximum(columns[:, 2], 0.0),
    )


@pytest.fixture(scope="module")
def space(study: Study) -> Space:
    return build_space(study)


@pytest.fixture(scope="module")
def relaxed(space: Space) -> np.ndarray:
    rng = np.random.default_rng(5)
    return space.decode(rng.uniform(0.05, 0.95, size=(8, len(space.paths))))


@pytest.fixture(scope="module")
def legal(space: Space, relaxed: np.ndarray) -> np.ndarray:
    return space.round(relaxed, mask=np.ones(len(space.paths), bool))


def test_feasible_designs_come_first_then_the_least_violation():
    found = pool((1, 0.5, 0.2), (2, 2.0, -0.1), (3, 1.0, 5e-7), (4, 0.1, 0.1))
    assert found.order().tolist() == [2, 1, 3, 0]


def test_a_penalty_weighs_violation_against_the_objective():
    found = pool((1, 0.0, 0.1), (2, 0.5, 0.0))
    assert found.order(1.0).tolist() == [0, 1]
    assert found.order(10.0).tolist() == [1, 0]


@pytest.mark.parametrize("penalty", [np.inf, 3.0])
def test_designs_that_cannot_be_evaluated_come_last(penalty: float):
    found = Pool(
        values=np.array([[1.0], [2.0], [3.0]]),
        objective=np.array([np.nan, 3.0, -np.inf]),
        violation=np.array([np.inf, 0.0, np.inf]),
        excess=np.array([np.inf, 0.0, np.inf]),
    )
    assert found.order(penalty)[0] == 1


def test_join_keeps_each_design_once():
    first, second = pool((1, 1.0, 0.0), (2, 2.0, 0.0)), pool((2, 2.0, 0.0), (3, 0, 0))
    both = first.join(second)
    assert sorted(both.values[:, 0]) == pytest.approx([1, 2, 3])
    assert both.best(1).values[0, 0] == pytest.approx(3)


def test_join_tells_small_numbers_apart():
    first, second = pool((4e-13, 1.0, 0.0)), pool((5e-13, 0.5, 0.0))
    assert len(first.join(second).values) == 2


def test_designs_that_differ_in_nothing_that_counts_are_one():
    """A dense model's expert size, say: copies would crowd out other designs."""
    first, second = pool((1, 1.0, -0.1)), pool((2, 1.0, -0.1), (3, 1.0, -0.2))
    assert sorted(first.join(second).values[:, 0]) == pytest.approx([1, 3])


def test_distinct_keeps_few_of_one_combination():
    rows = [(1.0, float(i), 0.0) for i in range(10)] + [(2.0, 50.0, 0.0)]
    kept = pool(*rows).distinct(8, columns=np.array([True]), penalty=np.inf)
    assert 2.0 in kept.values[:, 0]
    assert np.sum(kept.values[:, 0] < 1.5) < 8


@pytest.mark.parametrize("make", [neighbours, scatter])
def test_new_combinations_are_legal_where_they_are_held(
    make: object, *, space: Space, relaxed: np.ndarray
):
    mask = np.ones(len(space.paths), bool)
    held = space.coarse | (space.fine if make is scatter else False)
    rng = np.random.default_rng(1)
    found = make(space, relaxed, mask=mask, count=COUNT, rng=rng)
    assert found.shape == (COUNT, len(space.paths))
    again = space.round(found, mask=mask)
    np.testing.assert_array_equal(found[:, held], again[:, held])
    nearest = space.round(relaxed, mask=mask)
    first = nearest[np.sort(np.unique(nearest[:, held], axis=0, return_index=True)[1])]
    first = first[: COUNT // (4 if make is scatter else 8)]
    np.testing.assert_array_equal(found[: len(first), held], first[:, held])
    assert len(np.unique(found[:, held], axis=0)) > len(first)


def test_every_value_of_a_choice_has_its_best_design(space: Space, legal: np.ndarray):
    """The first design that has the value, or the nearest one moved there."""
    columns = np.flatnonzero(space.coarse)
    legal = legal.copy()
    legal[:, columns[0]] = min(space.variables[columns[0]].choices)
    families = iter(discrete._families(space, legal, columns=columns))
    for column in columns:
        for value in sorted(space.variables[column].choices):
            family = next(families)
            own = legal[legal[:, column] == value]
            same = np.arange(len(family)) != column
            expected = own[0] if len(own) else family
            assert family[column] == value
            assert (family == expected).all()
            assert (family[same] == legal[:, same]).all(axis=1).any()
    assert next(families, None) is None


def test_few_combinations_are_all_tried(space: Space, relaxed: np.ndarray):
    choice = "deployment.tensor_parallel"
    mask = np.array([path == choice for path in space.paths])
    found = neighbours(
        space, relaxed, mask=mask, count=COUNT, rng=np.random.default_rng(1)
    )
    assert set(found[:, mask].ravel()) == {2.0, 4.0, 8.0}
    np.testing.assert_array_equal(found[0, ~mask], relaxed[0, ~mask])


def test_mutations_are_legal_and_touch_only_what_is_free(
    space: Space, legal: np.ndarray
):
    mask = space.select(("deployment.", "model."))
    rng = np.random.default_rng(2)
    trials = mutate(space, legal, mask=mask, scale=0.02, copies=40, rng=rng)
    parents = legal.repeat(40, axis=0)
    np.testing.assert_array_equal(trials[:, ~mask], parents[:, ~mask])
    np.testing.assert_array_equal(space.round(trials, mask=mask), trials)
    moved = np.any(trials != parents, axis=0)
    assert np.all(moved[mask])


def test_one_seed_gives_one_set_of_moves(space: Space, legal: np.ndarray):
    mask = np.ones(len(space.paths), bool)
    first, second = (
        mutate(
            space,
            legal,
            mask=mask,
            scale=0.02,
            copies=5,
            rng=np.random.default_rng(3),
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_variables_that_limits_tie_together_move_together(legal: np.ndarray):
    """Between two designs of equal v w, all designs on the way have this v w."""
    given = legal[:2].copy()
    given[0, 0], given[1, 1] = 2.0 * given[1, 0], 2.0 * given[0, 1]
    ways = discrete._ways(given, count=500, rng=np.random.default_rng(4))
    np.testing.assert_allclose(ways[:, 0] * ways[:, 1], 1.0, rtol=1e-12)
    assert 0.5 <= ways[:, 0].min() < 0.6
    assert 1.7 < ways[:, 0].max() <= 2.0


def test_even_sizes_are_multiples_of_powers_of_two(space: Space, legal: np.ndarray):
    values = legal.repeat(200, axis=0)
    moved = np.arange(values.shape[1]) % 2 == 0
    found = discrete._even(
        space,
        values,
        moved=np.tile(moved, (len(values), 1)),
        rng=np.random.default_rng(6),
    )
    changed = np.any(found != values, axis=0)
    assert not np.any(changed[~(moved & space.fine)])
    assert np.any(changed)
    for column in np.flatnonzero(changed):
        step = space.variables[column].multiple or 1.0
        rows = found[:, column] != values[:, column]
        count = found[rows, column] / step
        assert np.all(count == np.round(count))
        assert np.all(count % 2 == 0)
