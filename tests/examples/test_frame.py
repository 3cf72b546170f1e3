"""The frame of the experiments: verdicts by rule, paired draws, numbers as texts."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from experiments.common.draws import build_case, evaluate_cases, spread
from experiments.common.page import band, clause, joined, two
from experiments.common.verdict import HALF, HOLDS, OPEN, WRONG, Part, judge

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in (ROOT / "experiments").rglob("*.py")
)
LENGTHS = {"prompt_length": 512, "output_length": 128}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_finds_what_it_imports(module: str):
    """They are run by hand, and neither type-checked nor part of the package."""
    assert importlib.import_module(module).__doc__


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ((1.0, 0.96), HOLDS),
        ((0.0, 0.04), WRONG),
        ((0.0, 0.3), WRONG),
        ((1.0, 0.0), HALF),
        ((0.9, 0.0), HALF),
        ((0.5, 0.3), OPEN),
    ],
)
def test_verdict_follows_from_the_shares(shares: tuple[float, ...], word: str):
    assert judge([Part("a statement", share) for share in shares]) == word


def test_numbers_have_two_digits_and_the_band_is_that_of_the_draws():
    assert [two(x) for x in (0.0456, 1234.0, 99.6, -0.5)] == [
        "0.046",
        "1200",
        "100",
        "−0.50",
    ]
    assert band([100.0, *np.linspace(1, 3, 101)], "J") == "2.0 J (1.1–2.9)"


@pytest.mark.parametrize(
    ("true", "text"),
    [([0, 1, 1], "yes"), ([1, 0, 0], "no"), ([1, 1, 0], "no"), (1.0, "yes")],
)
def test_words_are_those_of_most_draws_and_the_first_entry_is_none(
    true: list[float] | float, text: str
):
    assert clause(true, "yes", other="no") == text


def test_paragraphs_wrap_and_tables_stay():
    text = joined(["word " * 40, "| a | b |", "|---|---|", "| 1 | 2 |"])
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "| a | b |\n|---|---|\n| 1 | 2 |" in text


def test_the_first_lane_is_the_design_and_draws_are_shared_between_chips():
    cases = [
        build_case(chip, chip=chip, model="llama-3-8b", batch=8, **LENGTHS)
        for chip in ("h100-sxm", "tpu-v4")
    ]
    drawn = [spread(case, draws=8) for case in cases]
    for case, lanes in zip(cases, drawn, strict=True):
        own = float(case.design.technology.datacenter.electricity_price)
        assert lanes.technology.datacenter.electricity_price[0] == pytest.approx(own)
    prices = [lanes.technology.datacenter.electricity_price for lanes in drawn]
    np.testing.assert_array_equal(*prices)
    assert len(np.unique(prices[0][1:])) == 8


def test_a_batch_of_cases_is_each_case_alone():
    cases = [
        build_case(f"{b}", chip="h100-sxm", model="llama-3-8b", batch=b, **LENGTHS)
        for b in (1, 8)
    ]
    both = evaluate_cases(cases, draws=2)
    alone = evaluate_cases(cases[1:], draws=2)[0]
    np.testing.assert_allclose(
        both[1].energy_per_token, alone.energy_per_token, rtol=1e-12
    )
