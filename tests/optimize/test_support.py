"""What a gain rests on, from figures by hand."""

import math

import pytest

from codesign.config.records import ValueInfo
from codesign.core.quantities import Unit
from codesign.optimize.support import gain_support


def entry(status: str, *, ranged: bool = True) -> ValueInfo:
    ends = {"low": 0.5, "high": 2.0} if ranged else {}
    return ValueInfo(1.0, Unit("1"), status=status, **ends)


KNOWN = {
    "a": entry("assumed"),
    "b": entry("recalled"),
    "c": entry("measured"),
    "d": entry("assumed", ranged=False),
}


def test_a_constant_that_moves_both_designs_alike_supports_nothing():
    found = gain_support(
        {"a": (0.7, 1.3)}, {"a": (0.5, 1.1)}, levels=(1.0, 0.8), known=KNOWN
    )
    assert found.gain == pytest.approx(0.2)
    assert found.supports[0].lost == pytest.approx(0.0)
    assert found.share() == pytest.approx(0.0)
    assert found.unranged == ("d",)


def test_the_worse_end_counts_and_constants_add_in_squares():
    """0.03 and 0.04 of a gain of 0.2: a quarter; the measured one is counted apart."""
    before = {"a": (1.0, 1.0), "b": (0.96, 1.04), "c": (1.0, 0.9)}
    after = {"a": (0.83, 0.75), "b": (0.8, 0.8), "c": (0.8, 0.8)}
    found = gain_support(before, after, levels=(1.0, 0.8), known=KNOWN)
    lost = {s.path: s.lost for s in found.supports}
    assert lost == pytest.approx({"a": 0.03, "b": 0.04, "c": 0.1})
    assert [s.path for s in found.supports] == ["c", "b", "a"]
    assert found.lost() == pytest.approx(0.05)
    assert found.share() == pytest.approx(0.25)
    assert found.share(("assumed",)) == pytest.approx(0.15)
    assert found.share(("measured",)) == pytest.approx(0.5)


def test_a_constant_of_one_design_alone_supports_its_whole_effect():
    found = gain_support({}, {"a": (0.7, 0.95)}, levels=(1.0, 0.8), known=KNOWN)
    assert found.supports[0].low == pytest.approx(0.1)
    assert found.supports[0].high == pytest.approx(-0.15)
    assert found.share() == pytest.approx(0.75)


def test_no_more_than_the_gain_can_be_lost_and_no_gain_has_no_share():
    big = gain_support({"a": (0.0, 1.0)}, {}, levels=(1.0, 0.8), known=KNOWN)
    assert big.share() == pytest.approx(1.0)
    none = gain_support({"a": (0.0, 1.0)}, {}, levels=(0.8, 0.8), known=KNOWN)
    assert math.isnan(none.share())
