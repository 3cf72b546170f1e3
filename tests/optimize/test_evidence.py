"""Multipliers, shadow prices and elasticities against re-solved searches."""

import numpy as np
import pytest

from codesign.core.paths import get_path, set_path
from codesign.cost.evaluate import evaluate
from codesign.optimize.evidence import gather_evidence
from codesign.optimize.problem import Theta
from codesign.optimize.result import Evidence, Result
from codesign.optimize.space import Floats
from tests.optimize.studies import Small

SMOOTH = ("chip.compute.macs", "chip.dram.bandwidth", "deployment.decode_voltage")
STEP = 2e-3


@pytest.fixture(scope="module")
def fixed(small: Small) -> Floats:
    """A design away from kinks: prefill above the minimum voltage, power to spare."""
    return small.start(
        batch=60, power_limit=700, tdp=700, prefill_voltage=0.68, decode_voltage=0.75
    )


def solve(
    small: Small, fixed: Floats, *, theta: Theta
) -> tuple[float, Evidence, np.ndarray]:
    """ln of the optimum over three continuous variables, its evidence, its values."""
    mask = small.mask(*SMOOTH)
    best = small.search(mask, theta=theta, known=fixed).pool.best(1)
    assert best.violation[0] <= 1e-5
    values = best.values[0]
    evidence = gather_evidence(small.climber.engine, theta, values=values, mask=mask)
    return float(best.objective[0]), evidence, values


def with_parameter(theta: Theta, path: str, *, factor: float) -> Theta:
    """Parameters with one number of the design scaled."""
    value = get_path(theta.design, path)
    return theta.replace(design=set_path(theta.design, path, value=value * factor))


def test_multipliers_are_not_negative(climbed: Result):
    assert climbed.evidence is not None
    prices = [limit.price for limit in climbed.evidence.binding]
    assert min(prices) >= 0
    assert max(prices) > 0
    assert prices == sorted(prices, reverse=True)


def test_kkt_holds_at_a_continuous_optimum(small: Small, fixed: Floats):
    _, evidence, _ = solve(small, fixed, theta=small.theta())
    assert evidence.kkt < 1e-3


def test_kkt_fails_beside_the_optimum(small: Small, fixed: Floats):
    theta = small.theta()
    _, _, values = solve(small, fixed, theta=theta)
    values[small.paths.index("deployment.decode_voltage")] *= 1.4
    found = gather_evidence(
        small.climber.engine, theta, values=values, mask=small.mask(*SMOOTH)
    )
    assert found.kkt > 0.02


def test_only_limits_that_hold_have_a_price(small: Small, fixed: Floats):
    """Complementary slackness: room left times price is nothing."""
    _, evidence, _ = solve(small, fixed, theta=small.theta())
    assert max(abs(b.slack) * b.price for b in evidence.binding) < 1e-5


def test_the_price_of_time_is_the_slope_of_solved_optima(small: Small, fixed: Floats):
    """-d ln objective / d ln limit, within 5 %, over steps of 0.2 %."""
    _, _, values = solve(small, fixed, theta=small.theta())
    engine = small.climber.engine
    slack = engine.constraints(values[None], small.theta(time=1.0))[1][0, 0]
    limit = float(np.exp(slack)) * 0.985
    _, evidence, _ = solve(small, fixed, theta=small.theta(time=limit))
    (price,) = [b.price for b in evidence.binding if b.name.startswith("time_per")]
    ends = [
        solve(small, fixed, theta=small.theta(time=limit * np.exp(step)))[0]
        for step in (-STEP, STEP)
    ]
    assert price > 0.01
    assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(price, rel=0.05)


@pytest.mark.parametrize(
    "path", ["chip.dram.stack_bandwidth", "technology.datacenter.host_power"]
)
def test_elasticities_are_slopes_of_solved_optima(
    small: Small, fixed: Floats, *, path: str
):
    """Envelope theorem: nothing else moves to first order."""
    theta = small.theta()
    _, evidence, _ = solve(small, fixed, theta=theta)
    ends = [
        solve(small, fixed, theta=with_parameter(theta, path, factor=np.exp(step)))[0]
        for step in (STEP, -STEP)
    ]
    slope = (ends[0] - ends[1]) / (2 * STEP)
    assert slope == pytest.approx(evidence.elasticities[path], rel=0.05)


def test_elasticities_without_effect_on_limits_are_slopes_of_the_cost(
    climbed: Result,
):
    """The losses of the server's supply move its joules and no limit that binds."""
    path = "technology.datacenter.fan_fraction"
    assert climbed.evidence is not None
    design = climbed.design
    value = get_path(design, path)
    ends = [
        float(
            evaluate(
                set_path(design, path, value=value * np.exp(step))
            ).energy_per_token_server
        )
        for step in (1e-4, -1e-4)
    ]
    slope = np.log(ends[0] / ends[1]) / 2e-4
    assert climbed.evidence.elasticities[path] == pytest.approx(slope, rel=1e-4)


def test_free_variables_and_the_model_have_no_elasticity(climbed: Result):
    assert climbed.evidence is not None
    free = {variable.path for variable in climbed.study.free}
    assert not free & climbed.evidence.elasticities.keys()


def test_bounds_that_are_reached_are_listed(small: Small, fixed: Floats):
    space, mask = small.climber.space, small.mask(*SMOOTH)
    values = fixed.copy()
    values[small.paths.index("chip.compute.macs")] = 1e6
    values[small.paths.index("deployment.decode_voltage")] = np.exp(
        space.low[small.paths.index("deployment.decode_voltage")]
    )
    found = gather_evidence(
        small.climber.engine, small.theta(), values=values, mask=mask
    )
    assert set(found.at_bound) == {
        "chip.compute.macs at its upper bound",
        "deployment.decode_voltage at its lower bound",
    }
