"""Dominance and hypervolume on point sets whose answer is known."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codesign.optimize.front import hypervolume, non_dominated

POINTS = arrays(
    float,
    st.tuples(st.integers(1, 12), st.just(3)),
    elements=st.integers(0, 6).map(float),
)


def test_a_beaten_point_leaves_and_ties_in_one_column_too():
    points = np.array([[1.0, 3.0], [2.0, 1.0], [2.0, 2.0], [1.0, 4.0], [3.0, 1.0]])
    assert non_dominated(points).tolist() == [True, True, False, False, False]


def test_of_equal_points_the_first_stays():
    assert non_dominated(np.ones((3, 2))).tolist() == [True, False, False]


@given(st.integers(1, 4), st.integers(0, 2**32))
def test_the_front_is_what_comparing_all_pairs_finds(width: int, seed: int):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 8, size=(rng.integers(1, 700), width)).astype(float)
    at_most = np.all(points[:, None] <= points, axis=2)
    below = at_most & np.any(points[:, None] < points, axis=2)
    earlier = np.triu(at_most & at_most.T, 1)
    kept = non_dominated(points)
    assert kept.tolist() == (~np.any(below | earlier, axis=0)).tolist()


def test_a_front_of_millions_takes_a_second():
    points = np.random.default_rng(0).random((1_000_000, 2))
    began = time.process_time()
    front = points[non_dominated(points)]
    assert time.process_time() - began < 10.0
    assert np.all(np.diff(front[np.argsort(front[:, 0])][:, 1]) < 0)


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([[0.0, 0.0]], [2.0, 3.0], 6.0),
        ([[0.0, 1.0], [1.0, 0.0]], [2.0, 2.0], 3.0),
        ([[0.0, 0.0, 0.0]], [1.0, 2.0, 3.0], 6.0),
        ([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]], [2.0] * 3, 4.0),
        ([[3.0, 0.0]], [2.0, 2.0], 0.0),
    ],
)
def test_known_volumes(
    points: list[list[float]], *, reference: list[float], volume: float
):
    assert hypervolume(np.array(points), np.array(reference)) == pytest.approx(volume)


@given(POINTS)
def test_the_volume_counts_unit_cells_that_a_point_dominates(points: np.ndarray):
    cells = np.stack(np.meshgrid(*[np.arange(6)] * 3), axis=-1).reshape(-1, 3)
    covered = np.any(np.all(points[:, None] <= cells[None], axis=2), axis=0)
    assert hypervolume(points, np.full(3, 6.0)) == pytest.approx(covered.sum())


@given(POINTS)
def test_the_front_has_the_volume_of_all_points(points: np.ndarray):
    reference = np.full(3, 7.0)
    front = points[non_dominated(points)]
    assert hypervolume(front, reference) == pytest.approx(
        hypervolume(points, reference)
    )
