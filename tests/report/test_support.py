"""Which share of a gain rests on assumed constants, on designs made by hand."""

import math

import pytest

from codesign.config.overrides import apply_overrides
from codesign.cost.evaluate import evaluate
from codesign.optimize.result import Result
from codesign.optimize.support import GainSupport
from codesign.report.sources import constants
from codesign.report.support import result_support, support_facts, support_table

PATH = "chip.dram.device_energy"


@pytest.fixture(scope="module")
def found(result: Result) -> GainSupport:
    return result_support(result, constants(result.study))


def test_share_is_of_the_gain_over_the_tuned_baseline(
    result: Result, found: GainSupport
):
    gain = math.log(result.baseline.objective / result.best.objective)
    assert found.gain == pytest.approx(gain)
    assert 0 < found.share() <= 1
    assert found.share(("assumed",)) <= found.share()
    assert {s.status for s in found.supports} <= {"announced", "recalled", "assumed"}


def test_a_constant_is_moved_in_both_designs(result: Result, found: GainSupport):
    """HBM3 is taken at 4.2 pJ/bit, 3.7 to 5.2: the gain computed anew at both ends."""
    support = {s.path: s for s in found.supports}[PATH]
    for joules, shift in (("3.7 pJ/bit", support.low), ("5.2 pJ/bit", support.high)):
        levels = [
            float(
                evaluate(
                    apply_overrides(rung.design, [f"{PATH}={joules}"])
                ).energy_per_token_server
            )
            for rung in (result.baseline, result.best)
        ]
        assert math.log(levels[0] / levels[1]) - found.gain == pytest.approx(
            shift, rel=1e-6, abs=1e-12
        )


def test_table_and_facts_say_the_same(result: Result, found: GainSupport):
    table = support_table(result, constants(result.study))
    facts = support_facts(found)
    assert facts["share_on_unsure"] == found.share()
    assert [row[0] for row in table.rows] == list(facts["lost"])[: len(table.rows)]
    assert "rests on constants" in table.note
