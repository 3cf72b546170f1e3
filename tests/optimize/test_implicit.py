"""How an optimum moves, against optima that are solved again."""

import numpy as np
import pytest

from codesign.core.paths import get_path, set_path
from codesign.optimize.evidence import solve_around
from codesign.optimize.implicit import DesignSensitivity, implicit_slopes
from codesign.optimize.problem import Theta
from codesign.optimize.space import Floats
from tests.optimize.studies import TPOT, Small, quick_search

pytestmark = pytest.mark.slow
SMOOTH = ("chip.compute.macs", "chip.dram.bandwidth", "deployment.decode_voltage")
DECODE = "deployment.decode_voltage"
CONSTANTS = {
    "loose": (
        "chip.style.reference_voltage",
        "stack.compute_efficiency",
        "technology.arithmetic.area_16bit",
        "chip.dram.stack_bandwidth",
    ),
    "tight": (
        "stack.layer_time",
        "stack.dram_efficiency",
        "technology.fab.reticle_area",
        "chip.style.reference_clock",
    ),
}
STEP = 2e-5


@pytest.fixture(scope="module")
def fixed(small: Small) -> Floats:
    return small.start(
        batch=60, power_limit=700, tdp=700, prefill_voltage=0.68, decode_voltage=0.75
    )


@pytest.fixture(scope="module")
def thetas(small: Small, fixed: Floats) -> dict[str, Theta]:
    """Without a limit on time, and with one that binds a little."""
    with quick_search():
        lane = solve_around(
            small.climber.engine, small.theta(), values=fixed, mask=small.mask(*SMOOTH)
        )
    time = float(np.exp(lane.constraints[TPOT])) * 30e-3
    return {"loose": small.theta(), "tight": small.theta(time=0.985 * time)}


@pytest.fixture(scope="module")
def found(
    small: Small, fixed: Floats, *, thetas: dict[str, Theta]
) -> dict[str, DesignSensitivity]:
    with quick_search():
        return {
            name: implicit_slopes(
                small.climber.engine, theta, values=fixed, mask=small.mask(*SMOOTH)
            )
            for name, theta in thetas.items()
        }


def optimum(small: Small, fixed: Floats, *, theta: Theta) -> dict[str, float]:
    """ln of the variables at a solved optimum."""
    space = small.climber.space
    lane = solve_around(
        small.climber.engine, theta, values=fixed, mask=small.mask(*SMOOTH)
    )
    assert lane.residual < 1e-8
    values = space.decode(np.asarray(lane.points))
    return {p: float(np.log(values[space.paths.index(p)])) for p in SMOOTH}


def slopes(small: Small, fixed: Floats, *, ends: list[Theta]) -> dict[str, float]:
    low, high = (optimum(small, fixed, theta=end) for end in ends)
    return {path: (high[path] - low[path]) / (2 * STEP) for path in SMOOTH}


@pytest.mark.parametrize("case", CONSTANTS)
def test_it_is_a_minimum_with_variables_that_move(
    found: dict[str, DesignSensitivity], *, case: str
):
    assert found[case].is_minimum
    assert found[case].residual < 1e-8
    assert "chip.compute.macs" in found[case].variables
    assert found[case].undetermined == ()


@pytest.mark.parametrize(
    ("case", "constant"),
    [(case, each) for case in CONSTANTS for each in CONSTANTS[case]],
)
def test_slopes_are_those_of_optima_solved_again(
    small: Small,
    fixed: Floats,
    *,
    thetas: dict[str, Theta],
    found: dict[str, DesignSensitivity],
    case: str,
    constant: str,
):
    theta = thetas[case]
    value = get_path(theta.design, constant)
    ends = [
        theta.replace(
            design=set_path(theta.design, constant, value=value * np.exp(step))
        )
        for step in (-STEP, STEP)
    ]
    expected = slopes(small, fixed, ends=ends)
    ours = found[case].slopes.get(constant, {})
    assert max(abs(slope) for slope in expected.values()) > 0.01
    for path in SMOOTH:
        assert ours.get(path, 0.0) == pytest.approx(expected[path], rel=1e-3, abs=2e-5)


def test_slopes_in_a_limit(
    small: Small,
    fixed: Floats,
    *,
    thetas: dict[str, Theta],
    found: dict[str, DesignSensitivity],
):
    theta = thetas["tight"]
    ends = []
    for step in (-STEP, STEP):
        moved = np.array(theta.bounds)
        moved[TPOT] *= np.exp(step)
        ends.append(theta.replace(bounds=moved))
    expected = slopes(small, fixed, ends=ends)
    (name,) = [n for n in found["tight"].limits if n.startswith("time_per_output")]
    assert abs(expected[DECODE]) > 0.1
    for path in SMOOTH:
        ours = found["tight"].limits[name].get(path, 0.0)
        assert ours == pytest.approx(expected[path], rel=1e-3, abs=2e-5)


def test_the_strongest_come_first(found: dict[str, DesignSensitivity]):
    sizes = [abs(slope) for _, _, slope in found["loose"].strongest(50)]
    assert sizes == sorted(sizes, reverse=True)
    assert "1 % more of" in str(found["loose"])
