"""Does the law rank published base models by their benchmark?"""

import csv
from itertools import combinations
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from codesign.quality.capacity import Size, expert_gain
from codesign.quality.constants import QualityConstants
from codesign.quality.laws import dense_excess, effective_tokens

BESIROGLU, HOFFMANN = 0, 1

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[Row]:
    path = shared_data / "quality_models.csv"
    if not path.is_file():
        pytest.skip("published models absent: no quality_models.csv")
    with path.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["use_in_fit"] == "1"]


def column(rows: list[Row], name: str) -> np.ndarray:
    return np.asarray([float(row[name] or 0.0) for row in rows])


def log_compute(rows: list[Row], constants: QualityConstants) -> np.ndarray:
    """ln of compute-equivalents by model and law, up to a constant."""
    active = 1e9 * column(rows, "params_active_b")
    tokens = 1e12 * column(rows, "tokens_t")
    width = column(rows, "d_expert")
    fine = np.where(width > 0, 2.0 * column(rows, "d_model") / np.maximum(width, 1), 11)
    size = Size(
        active=active,
        total=1e9 * column(rows, "params_total_b"),
        body=active,
        mixer=active,
        ffn=active,
        vocabulary=active,
    )
    gains = expert_gain(size, constants.experts, log_ratio=np.log(fine), tokens=tokens)
    laws = constants.laws
    excess = dense_excess(
        laws,
        log_parameters=(jnp.log(active) + gains[0] + gains[1])[:, None],
        tokens=effective_tokens(constants.repetition, tokens)[:, None],
    )
    exponents = 1.0 / laws.size_exponent + 1.0 / laws.data_exponent
    return -np.asarray(exponents * jnp.log(excess))


def rank(values: np.ndarray) -> np.ndarray:
    """Ranks, the mean of its ranks for a value that occurs more than once."""
    _, where, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2.0)[where]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(rank(a), rank(b))[0, 1])


def test_enough_models_are_ranked(rows: list[Row]):
    assert len(rows) == 145


@pytest.mark.parametrize(("law", "floor"), [(BESIROGLU, 0.85), (HOFFMANN, 0.90)])
def test_rank_correlation_with_mmlu(
    rows: list[Row], *, constants: QualityConstants, law: int, floor: float
):
    score = column(rows, "mmlu_5shot")
    assert spearman(log_compute(rows, constants)[:, law], score) >= floor


@pytest.mark.parametrize("law", [BESIROGLU, HOFFMANN])
def test_rank_correlation_with_progress_of_recipes(
    rows: list[Row], *, constants: QualityConstants, law: int
):
    """2.8 times the effective compute a year, not fitted here."""
    score = column(rows, "mmlu_5shot")
    years = column(rows, "year") - 2024.0
    later = log_compute(rows, constants)[:, law] + np.log(2.8) * years
    assert spearman(later, score) >= 0.92


def test_order_within_a_family(rows: list[Row], *, constants: QualityConstants):
    """Pairs of one family (one recipe) that differ by more than two points."""
    score = column(rows, "mmlu_5shot")
    compute = log_compute(rows, constants)[:, BESIROGLU]
    pairs = [
        (i, j)
        for i, j in combinations(range(len(rows)), 2)
        if rows[i]["family"] == rows[j]["family"] and abs(score[i] - score[j]) > 2.0
    ]
    right = [(compute[i] > compute[j]) == (score[i] > score[j]) for i, j in pairs]
    assert len(pairs) > 100
    assert np.mean(right) >= 0.95


def test_score_of_the_head_on_published_models(
    rows: list[Row], *, constants: QualityConstants
):
    """The head's constants reproduce its stated error on the models of its fit."""
    laws, head = constants.mmlu.laws, constants.mmlu.curve
    exponents = np.asarray(1.0 / laws.size_exponent + 1.0 / laws.data_exponent)
    gained = log_compute(rows, constants)[:, [BESIROGLU, HOFFMANN]]
    years = column(rows, "year")[:, None] - 2023.0
    excess = np.exp(-(gained + np.asarray(head.recipe_growth) * years) / exponents)
    level = np.asarray(laws.irreducible_loss) + excess
    logit = (np.asarray(head.middle_loss) - level) / np.asarray(head.width)
    span = np.asarray(head.ceiling - head.floor)
    score = np.asarray(head.floor) + span / (1.0 + np.exp(-logit))
    error = 100.0 * score - column(rows, "mmlu_5shot")[:, None]
    assert np.all(np.sqrt(np.mean(error**2, axis=0)) < [8.1, 7.5])
    assert np.all(np.median(np.abs(error), axis=0) < 3.5)
