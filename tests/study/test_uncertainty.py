"""Draws follow the spread of the constants; the rest of the design stays."""

import numpy as np
import pytest

from codesign.config.records import ValueInfo
from codesign.config.study import load_study
from codesign.core.errors import InputError
from codesign.core.quantities import Unit
from codesign.study.job import study_of
from codesign.study.points import axis_values
from codesign.study.uncertainty import (
    Uncertainty,
    constants_of,
    spread_axis,
    uncertainty,
)
from tests.study.jobs import design

ENERGY = "technology.sram.bank_energy"
METRICS = ("energy_per_token_server", "usd_per_token", "chip.area")


@pytest.fixture(scope="module")
def drawn() -> Uncertainty:
    return uncertainty(design(), draws=64, over=["technology"], metrics=METRICS, seed=1)


def test_constants_are_drawn_within_their_spread(drawn: Uncertainty):
    info = constants_of(study_of(design()), "technology", named={})[ENERGY]
    inside = (drawn.table[ENERGY] >= info.low) & (drawn.table[ENERGY] <= info.high)
    assert inside.mean() == pytest.approx(0.9, abs=0.06)
    assert np.median(drawn.table[ENERGY]) == pytest.approx(info.value, rel=0.05)
    assert drawn.table["legal"].all()


def test_metrics_spread_around_their_central_value(drawn: Uncertainty):
    low, middle, high = drawn.quantiles("energy_per_token_server")
    assert 0 < low < middle < high
    assert high / low < 5
    assert drawn.quantiles("chip.area", at=[0.5])[0] > 0


def test_strongest_driver_of_area_is_a_constant_of_area(drawn: Uncertainty):
    drivers = drawn.drivers("chip.area")
    assert next(iter(drivers)) in {
        "technology.sram.fast_area",
        "technology.arithmetic.area_16bit",
    }
    assert abs(drivers["technology.datacenter.lifetime"]) < 0.35


def test_every_group_has_constants_with_a_spread():
    study = load_study("joint_chat")
    for group in ("technology", "chip", "stack", "quality"):
        found = constants_of(study, group, named={"chip": None, "stack": None})
        axes = [spread_axis(study, path, info=info) for path, info in found.items()]
        assert sum(axis is not None for axis in axes) > 4, group
    with pytest.raises(InputError, match="no group"):
        constants_of(study, "weather", named={})


def test_shares_stay_shares_and_changed_values_keep_their_factors():
    study = study_of(design())
    unit = np.linspace(0.001, 0.999, 99)
    held = float(design().stack.compute_efficiency)
    info = ValueInfo(value=held, unit=Unit("1"), low=0.5 * held, high=0.99)
    axis = spread_axis(study, "stack.compute_efficiency", info=info)
    assert axis is not None
    assert axis_values(axis, unit).max() <= 1.0
    twice = ValueInfo(value=2.0, unit=Unit("J/B"), low=1.0, high=4.0)
    axis = spread_axis(study, ENERGY, info=twice)
    assert axis is not None
    bank_energy = float(design().technology.sram.bank_energy)
    ends = axis_values(axis, np.array([0.05, 0.5, 0.95])) / bank_energy
    np.testing.assert_allclose(ends, [0.5, 1.0, 2.0], rtol=1e-6)


def test_without_spread_nothing_is_drawn():
    same = ValueInfo(value=1.0, unit=Unit("J/B"), low=1.0, high=1.0)
    assert spread_axis(study_of(design()), ENERGY, info=same) is None
    with pytest.raises(InputError, match="name the stack"):
        uncertainty(design(), over=["stack"])
    with pytest.raises(InputError, match="at least 2"):
        uncertainty(design(), draws=1)
