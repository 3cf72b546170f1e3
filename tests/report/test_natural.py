"""Errors of measured ratios beside elasticities are those of the scorecard."""

from pathlib import Path

import pytest

from codesign.app.result_tables import levers_table as printed_levers
from codesign.optimize.result import Result
from codesign.report.breakdown_tables import levers_table
from codesign.report.natural import CONFIRMED, ratio_error

SCORECARD = Path(__file__).parents[2] / "docs" / "scorecard.md"


@pytest.mark.parametrize("path", CONFIRMED)
def test_error_stands_in_the_scorecard(path: str):
    found = CONFIRMED[path]
    start = f"| {found.change} | {found.metric} | {found.pairs} |"
    (line,) = [
        text
        for text in SCORECARD.read_text(encoding="utf-8").splitlines()
        if text.startswith(start)
    ]
    assert line.endswith(f"| {100 * found.error:.1f} % |")


def test_what_was_never_changed_alone_has_no_error():
    assert ratio_error("technology.logic.leakage") == "–"


def test_levers_have_the_error_beside_them(result: Result):
    for table in (levers_table(result), printed_levers(result)):
        beside = {row[0]: row[-1] for row in table.rows}
        assert beside["chip.dram.bandwidth"].startswith("2.5 %")
        assert beside["stack.dram_efficiency"] == "–"
        assert "error of the measured ratio" in table.columns
