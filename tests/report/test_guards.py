"""What each guard keeps out, how much of it is used, and what it costs."""

from dataclasses import replace

import numpy as np
import pytest

from codesign.optimize.result import Binding, Result
from codesign.quality.contributions import Contributions
from codesign.quality.validity import Validity
from codesign.report.guards import ENDS, FREE, OFF, PRICED, guards_table


def rows(result: Result) -> dict[tuple[str, str], tuple[str, ...]]:
    return {row[:2]: row for row in guards_table(result).rows}


def test_every_end_of_the_evidence_is_a_guard():
    assert ENDS.keys() == Validity.__dataclass_fields__.keys()
    gains = {"size", "data"}
    assert PRICED.keys() == Contributions.__dataclass_fields__.keys() - gains


def test_a_guard_that_is_not_reached_costs_nothing(result: Result):
    for title, exploit in ENDS.values():
        row = rows(result)[title, exploit]
        assert row[2].endswith(("of the limit", "no layer has one"))
        assert row[3] == FREE
    attention = rows(result)[ENDS["attention_share"]]
    assert attention[2] == "12 % of the limit", "half of the blocks against 6 %"


def test_a_guard_that_binds_shows_its_price(result: Result):
    assert result.evidence is not None
    binding = Binding("quality.validity.sparsity", 0.0, 0.5)
    bound = replace(
        result,
        evidence=replace(result.evidence, binding=(*result.evidence.binding, binding)),
        study=replace(result.study, off=("window",)),
    )
    found = rows(bound)
    assert found[ENDS["sparsity"]][3] == "0.501 %"
    assert found[ENDS["window"]][3] == OFF


def test_prices_inside_the_law_cost_the_price_of_quality(result: Result):
    """Eight bits of weights, at 0.6 % of the objective per 0.01 of the gap."""
    found = {row[0]: row for row in guards_table(result).rows}
    gap = float(found["weight format"][2].split()[0])
    assert gap > 0.002
    cost = float(found["weight format"][3].removesuffix(" %"))
    assert cost == pytest.approx(100 * np.expm1(0.6 * gap), rel=0.01)
