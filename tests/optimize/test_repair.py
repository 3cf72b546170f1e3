"""Illegal combinations become the nearest legal ones, by enumeration."""

from itertools import product

import numpy as np
import pytest

from codesign.config.couplings import RULES, Presolved
from codesign.optimize.repair import Ties, join_ties

LISTS = {
    "model.num_active_experts": [1.0, 2.0, 4.0, 8.0],
    "model.num_experts": [1.0, 8.0, 16.0],
    "model.num_kv_heads": [1.0, 2.0, 3.0, 4.0, 8.0],
    "model.num_heads": [12.0, 24.0, 32.0],
    "model.hidden_size": [float(128 * k) for k in range(8, 25)],
    "deployment.tensor_parallel": [1.0, 2.0, 3.0, 4.0, 8.0],
}
FIXED = {
    "deployment.pipeline_parallel": 1.0,
    "deployment.expert_parallel": 1.0,
    "system.num_chips": 24.0,
    "model.num_layers": 80.0,
}
PATHS = (*LISTS, "chip.tdp")


@pytest.fixture(scope="module")
def ties() -> Ties:
    rules = tuple(r for r in RULES if any(path in LISTS for path in r.paths))
    domains = {path: np.array(values) for path, values in LISTS.items()}
    return Ties(Presolved(rules, domains, FIXED), PATHS)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    columns = [rng.choice(values, size=300) for values in LISTS.values()]
    return np.column_stack([*columns, rng.uniform(300, 900, size=300)])


@pytest.fixture(scope="module")
def legal(ties: Ties) -> np.ndarray:
    every = np.array([[*row, 500.0] for row in product(*LISTS.values())])
    return every[~ties.broken(every, mask=np.ones(len(PATHS), bool))]


def test_what_is_mended_is_legal_and_what_is_legal_stays(ties: Ties, rows: np.ndarray):
    every = np.ones(len(PATHS), bool)
    broken = ties.broken(rows, mask=every)
    assert 50 < broken.sum() < 300
    mended = ties.mend(rows, mask=every)
    assert not ties.broken(mended, mask=every).any()
    np.testing.assert_array_equal(mended[~broken], rows[~broken])
    np.testing.assert_array_equal(mended[:, -1], rows[:, -1])


def test_as_few_counts_as_possible_change_by_as_little(
    ties: Ties, *, rows: np.ndarray, legal: np.ndarray
):
    """Against all legal combinations: fewest changed counts, then least |ln|."""
    every = np.ones(len(PATHS), bool)
    for row, mended in zip(rows, ties.mend(rows, mask=every), strict=True):
        groups = [group.columns for group in ties.groups]
        for columns in groups:
            apart = np.abs(np.log(legal[:, columns] / row[columns]))
            changed = np.sum(apart > 0, axis=1)
            best = np.min(apart.sum(axis=1)[changed == changed.min()])
            found = np.abs(np.log(mended[columns] / row[columns]))
            assert np.sum(found > 0) == changed.min()
            assert found.sum() == pytest.approx(best)


def test_held_counts_stay(ties: Ties, rows: np.ndarray):
    mask = np.array([path == "deployment.tensor_parallel" for path in PATHS])
    mended = ties.mend(rows, mask=mask)
    np.testing.assert_array_equal(mended[:, ~mask], rows[:, ~mask])
    sound = ~ties.broken(rows[:, :], mask=np.zeros(len(PATHS), bool))
    np.testing.assert_array_equal(mended[sound], rows[sound])
    assert ties.broken(mended, mask=mask).sum() < ties.broken(rows, mask=mask).sum()


def test_a_held_count_that_is_not_whole_breaks_no_rule(ties: Ties, rows: np.ndarray):
    relaxed = rows.copy()
    relaxed[:, PATHS.index("model.hidden_size")] += 0.37
    mask = np.array([path != "model.hidden_size" for path in PATHS])
    mended = ties.mend(relaxed, mask=mask)
    assert not ties.broken(mended, mask=mask).any()


def test_every_case_keeps_the_rules_on_counts_that_the_cases_share(
    ties: Ties, rows: np.ndarray
):
    """Two deployments of one model: the last column is the second one's."""
    own = "deployment.tensor_parallel"
    named = {"a": {p: p for p in PATHS}, "b": {p: p for p in PATHS}}
    named["b"][own] = f"{own} [b]"
    paths = (*PATHS, named["b"][own])
    both = join_ties({"a": ties, "b": ties}, named, paths=paths)
    together = np.column_stack([rows, np.roll(rows[:, PATHS.index(own)], 1)])
    every = np.ones(len(paths), bool)
    assert both.broken(together, mask=every).sum() > 50
    mended = both.mend(together, mask=every)
    for case in named.values():
        columns = [paths.index(case[path]) for path in PATHS]
        assert not ties.broken(mended[:, columns], mask=every[columns]).any()
