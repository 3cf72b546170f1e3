"""How an optimum moves, against optima that are solved again."""

import numpy as np
import pytest

from codesign.core.paths import get_path, set_path
from codesign.optimize.evidence import solve_around
from codesign.optimize.implicit import DesignSensitivity, implicit_slopes
from codesign.optimize.problem import Theta
from codesign.optimize.space import Floats
from tests.optimize.studies import TPOT, Small, quick_search

SMOOTH = ("chip.compute.macs", "chip.dram.bandwidth", "deployment.decode_voltage")
MOVING = ("chip.compute.macs", "chip.dram.bandwidth")
CONSTANTS = (
    "technology.arithmetic.energy_16bit",
    "technology.datacenter.host_power",
    "stack.layer_time",
    "stack.dram_efficiency",
    "chip.style.min_voltage",
    "chip.dram.stack_bandwidth",
)
STEP = 3e-4


@pytest.fixture(scope="module")
def fixed(small: Small) -> Floats:
    return small.start(
        batch=60, power_limit=700, tdp=700, prefill_voltage=0.68, decode_voltage=0.75
    )


@pytest.fixture(scope="module")
def theta(small: Small, fixed: Floats) -> Theta:
    """A limit on time that binds a little."""
    with quick_search():
        lane = solve_around(
            small.climber.engine, small.theta(), values=fixed, mask=small.mask(*SMOOTH)
        )
    time = float(np.exp(lane.constraints[TPOT])) * 30e-3
    return small.theta(time=0.985 * time)


@pytest.fixture(scope="module")
def found(small: Small, fixed: Floats, *, theta: Theta) -> DesignSensitivity:
    with quick_search():
        return implicit_slopes(
            small.climber.engine, theta, values=fixed, mask=small.mask(*SMOOTH)
        )


def optimum(small: Small, fixed: Floats, *, theta: Theta) -> dict[str, float]:
    """ln of the variables at a solved optimum."""
    space = small.climber.space
    lane = solve_around(
        small.climber.engine, theta, values=fixed, mask=small.mask(*SMOOTH)
    )
    assert lane.residual < 1e-8
    values = space.decode(np.asarray(lane.points))
    return {p: float(np.log(values[space.paths.index(p)])) for p in MOVING}


def slopes(small: Small, fixed: Floats, *, ends: list[Theta]) -> dict[str, float]:
    low, high = (optimum(small, fixed, theta=end) for end in ends)
    return {path: (high[path] - low[path]) / (2 * STEP) for path in MOVING}


def test_it_is_a_minimum_with_variables_that_move(found: DesignSensitivity):
    assert found.is_minimum
    assert found.residual < 1e-8
    assert set(found.variables) & set(MOVING)
    assert not set(found.undetermined) & set(MOVING)


@pytest.mark.parametrize("constant", CONSTANTS)
def test_slopes_are_those_of_optima_solved_again(
    small: Small,
    fixed: Floats,
    *,
    theta: Theta,
    found: DesignSensitivity,
    constant: str,
):
    value = get_path(theta.design, constant)
    ends = [
        theta.replace(
            design=set_path(theta.design, constant, value=value * np.exp(step))
        )
        for step in (-STEP, STEP)
    ]
    expected = slopes(small, fixed, ends=ends)
    ours = found.slopes.get(constant, {})
    for path in MOVING:
        assert ours.get(path, 0.0) == pytest.approx(expected[path], rel=1e-3, abs=2e-5)


def test_something_moves_much(found: DesignSensitivity):
    tested = [found.slopes.get(constant, {}) for constant in CONSTANTS]
    assert sum(any(abs(s) > 0.05 for s in each.values()) for each in tested) >= 2


def test_slopes_in_a_limit(
    small: Small, fixed: Floats, *, theta: Theta, found: DesignSensitivity
):
    bounds = np.array(theta.bounds)
    ends = []
    for step in (-STEP, STEP):
        moved = bounds.copy()
        moved[TPOT] *= np.exp(step)
        ends.append(theta.replace(bounds=moved))
    expected = slopes(small, fixed, ends=ends)
    (name,) = [n for n in found.limits if n.startswith("time_per_output_token")]
    assert abs(expected["chip.dram.bandwidth"]) > 0.1
    for path in MOVING:
        assert found.limits[name].get(path, 0.0) == pytest.approx(
            expected[path], rel=1e-3, abs=2e-5
        )


def test_the_strongest_come_first(found: DesignSensitivity):
    sizes = [abs(slope) for _, _, slope in found.strongest(50)]
    assert sizes == sorted(sizes, reverse=True)
    assert "1 % more of" in str(found)
