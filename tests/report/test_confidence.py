"""Tables of how sure the quality is: bands, terms, constants that matter."""

import pytest

from codesign.config.limits import Limit
from codesign.optimize.result import Result
from codesign.quality.contributions import EVIDENCE
from codesign.quality.ensemble import NUM_DRAWS
from codesign.report.confidence import (
    TERMS,
    confidence_table,
    constants_table,
    quality_band,
    quality_quantile,
    terms_table,
)


def test_band_of_the_baseline_is_a_point(result: Result):
    found = quality_band(result, result.as_given)
    for value in (found.gap.low, found.gap.mean, found.gap.high):
        assert float(value) == pytest.approx(0.0, abs=1e-9)


def test_band_encloses_the_mean(result: Result):
    found = quality_band(result, result.best)
    assert float(found.gap.low) < float(found.gap.mean) < float(found.gap.high)
    assert 0.0 <= float(found.no_worse) <= 1.0


def test_confidence_shows_every_design(result: Result):
    table = confidence_table(result)
    assert table.columns[1:] == tuple(r.name for r in result.rungs)
    assert str(NUM_DRAWS) in table.note
    assert table.rows[-1][0] == "chance to be no worse"


def test_terms_carry_their_evidence(result: Result):
    """The best design changes weight bits and KV heads, nothing else."""
    rows = {row[0]: row for row in terms_table(result).rows}
    assert rows["weight format"][-1] == EVIDENCE["precision_weights"]
    assert rows["shared KV heads"][-1] == EVIDENCE["kv_share"]
    assert "training tokens" not in rows
    assert set(TERMS) == set(EVIDENCE)


def test_price_of_kv_heads_moves_the_optimum(result: Result):
    moving = {row[0] for row in constants_table(result).rows}
    assert "attention.kv_share_price" in moving


@pytest.mark.parametrize(("sense", "above"), [("<=", True), (">=", False)])
def test_quantile_of_a_limit_is_the_value_most_draws_keep(
    *, result: Result, sense: str, above: bool
):
    limit = Limit("quality.gap", sense, "", value=0.0, quantile=0.9)
    found = quality_quantile(result, result.best, limit=limit)
    middle = float(quality_band(result, result.best).gap.mean)
    assert (found > middle) == above
