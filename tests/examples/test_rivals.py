"""The benchmark of the search: frozen problems, stored runs, its measures."""

import hashlib
import math

import numpy as np
import pytest

from benchmarks.optimizer import best
from benchmarks.optimizer.arena import PROBLEMS
from benchmarks.optimizer.cells import moment, reached
from benchmarks.optimizer.fronts import FRONTS, _line, at_levels, volumes
from codesign.config.study import load_study

FROZEN = {
    "chat": "c6f3edf356337d39",
    "cost": "e448b9250c9a9a6e",
    "edge": "67b9edc3040be8ba",
    "fast": "d99392fcd7b51fbe",
    "long": "5f40d598c635a4c2",
}
CELL = {"history": [[1.0, 2.0, 10, 5.0], [3.0, 6.0, 40, 4.0], [9.0, 9.0, 99, 3.9]]}


@pytest.mark.parametrize("name", FROZEN)
def test_a_problem_is_frozen_and_can_be_read(name: str):
    file = PROBLEMS / f"{name}.yaml"
    assert hashlib.sha256(file.read_bytes()).hexdigest()[:16] == FROZEN[name]
    study = load_study(file)
    known = best.known()[name]
    assert {v.path for v in study.free} < set(known["values"])


def test_all_problems_are_named_here():
    assert {path.stem for path in PROBLEMS.glob("*.yaml")} == set(FROZEN)
    assert set(FRONTS) < set(FROZEN)


def test_regret_counts_what_was_reached_in_time():
    assert math.isinf(reached(CELL, 0.5))
    assert reached(CELL, 3.0) == 4.0
    assert reached(CELL, math.inf) == 3.9
    assert moment(CELL, 4.0) == 3.0
    assert math.isinf(moment(CELL, 3.8))


def test_fronts_are_measured_within_our_worst_ends():
    points = np.array([[0.0, 2.0], [1.0, 1.0], [1.5, 1.5], [2.0, 0.0]])
    assert _line(points).tolist() == [[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]
    ours, theirs = volumes([_line(points).tolist(), [[0.5, 0.5]]], ours=[True, False])
    assert ours == pytest.approx(1.0)
    assert theirs == pytest.approx(1.5**2)


def test_of_a_rival_the_best_design_at_each_of_our_levels_counts():
    theirs = np.array([[0.0, 3.0], [1.0, 1.5], [2.0, 1.0], [5.0, 0.4]])
    found = at_levels(theirs, np.array([0.3, 1.0, 2.0, 4.0]))
    assert found.tolist() == [[2.0, 1.0], [1.0, 1.5], [0.0, 3.0]]
    assert at_levels(theirs, np.array([0.1])).shape == (0, 2)
