"""Shares of a gain add up, and each set of variables is solved for itself."""

import numpy as np
import pytest

from codesign.optimize.result import Result
from codesign.optimize.waterfall import GROUPS, decompose, group_of, shapley
from tests.optimize.studies import Small


def test_shares_of_a_game_without_interplay_are_its_terms():
    terms = np.array([-0.3, 0.0, -1.2])
    sets = np.indices((2, 2, 2)).reshape(3, -1)
    worth = (terms @ sets).reshape(2, 2, 2)
    np.testing.assert_allclose(shapley(worth), terms, atol=1e-15)


def test_players_that_need_each_other_share_equally():
    worth = np.zeros((2, 2, 2))
    worth[1, 1, 1] = -6.0
    np.testing.assert_allclose(shapley(worth), [-2.0, -2.0, -2.0])


def test_without_players_nothing_is_shared():
    assert shapley(np.array(-1.0)) == []


def test_every_group_is_found_and_a_stranger_named():
    assert GROUPS[group_of("model.kv_bits")][0] == "formats"
    assert GROUPS[group_of("model.num_layers")][0] == "shape"
    assert GROUPS[group_of("chip.link.bandwidth")][0] == "links"
    assert group_of("deployment.decode_voltage") is None
    with pytest.raises(ValueError, match=r"stack\.launch"):
        group_of("stack.launch")


@pytest.mark.slow
def test_steps_and_shares_add_up_to_the_gain(climbed: Result):
    found = climbed.waterfall
    gain = np.log(climbed.best.objective / climbed.baseline.objective)
    assert found.start == pytest.approx(np.log(climbed.baseline.objective))
    assert gain < -0.1
    for parts in (found.steps, found.shares):
        assert sum(parts) + found.rounding == pytest.approx(gain, abs=1e-9)
    assert abs(found.rounding) < 0.1


@pytest.mark.slow
def test_no_group_makes_a_design_worse(climbed: Result):
    assert max(climbed.waterfall.steps) <= 0.0
    assert max(climbed.waterfall.shares) <= 1e-12


def test_a_gain_of_one_group_is_all_its_own(small: Small):
    """Only the batch differs, and with it the voltages that the power allows."""
    space, tuned = small.climber.space, small.tuned.values
    given = small.given.values
    apart = np.flatnonzero(~np.isclose(tuned, given))
    assert {space.paths[i].split(".")[0] for i in apart} == {"deployment"}
    engine, theta = small.climber.engine, small.climber.theta
    found = decompose(engine, theta, tuned=given, best=tuned)
    gain = np.log(small.tuned.objective / small.given.objective)
    assert gain < -1e-3
    assert found.groups == ("deployment",)
    assert found.steps[0] + found.rounding == pytest.approx(gain, abs=1e-9)
    assert found.steps == found.shares
    assert found.steps[0] < -1e-3
