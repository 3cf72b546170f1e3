"""Multipliers, shadow prices and elasticities against re-solved searches."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from codesign.core.paths import get_path, set_path
from codesign.cost.evaluate import evaluate
from codesign.optimize.evidence import QUALITY, gather_evidence, solve_around
from codesign.optimize.prices import prices_per_unit
from codesign.optimize.problem import Theta
from codesign.optimize.result import Evidence, Result
from codesign.optimize.space import Floats
from tests.optimize.studies import Small

SMOOTH = ("chip.compute.macs", "chip.dram.bandwidth", "deployment.decode_voltage")
TIME = "time_per_output_token"
STEP = 1e-3
FINE = 1e-5  # the price of time bends within a step


@pytest.fixture(scope="module")
def fixed(small: Small) -> Floats:
    """A design away from kinks: prefill above the minimum voltage, power to spare."""
    return small.start(
        batch=60, power_limit=700, tdp=700, prefill_voltage=0.68, decode_voltage=0.75
    )


def evidence(small: Small, fixed: Floats, *, theta: Theta) -> Evidence:
    """Evidence of a design over three continuous variables."""
    return gather_evidence(
        small.climber.engine, theta, values=fixed, mask=small.mask(*SMOOTH)
    )


def optimum(small: Small, fixed: Floats, *, theta: Theta) -> float:
    """ln of the optimum over three continuous variables."""
    mask = small.mask(*SMOOTH)
    lane = solve_around(small.climber.engine, theta, values=fixed, mask=mask)
    assert lane.residual < 1e-8
    return float(lane.objective)


def with_parameter(theta: Theta, path: str, *, factor: float) -> Theta:
    """Parameters with one number of the design scaled."""
    value = get_path(theta.design, path)
    return theta.replace(design=set_path(theta.design, path, value=value * factor))


@pytest.mark.slow
def test_multipliers_are_not_negative(climbed: Result):
    assert climbed.evidence is not None
    prices = [limit.price for limit in climbed.evidence.binding]
    assert min(prices) >= 0
    assert max(prices) > 0
    assert prices == sorted(prices, reverse=True)


def test_kkt_holds_at_the_optimum_found(small: Small, fixed: Floats):
    found = evidence(small, fixed, theta=small.theta())
    assert found.kkt < 1e-8


def test_the_optimum_is_the_same_from_beside_it(small: Small, fixed: Floats):
    theta = small.theta()
    beside = fixed.copy()
    beside[small.paths.index("deployment.decode_voltage")] *= 0.9
    beside[small.paths.index("chip.dram.bandwidth")] *= 1.2
    ends = [evidence(small, values, theta=theta) for values in (fixed, beside)]
    assert ends[0].relaxed == pytest.approx(ends[1].relaxed, rel=1e-7)


def test_no_design_of_a_search_is_better_than_the_relaxed_optimum(
    small: Small, fixed: Floats
):
    """The hard model is no cheaper than the smooth one, but for its p-norms."""
    theta, mask = small.theta(), small.mask(*SMOOTH)
    legal = small.search(mask, theta=theta, known=fixed).pool.best(1)
    found = evidence(small, legal.values[0], theta=theta)
    assert legal.violation[0] <= 1e-6
    assert np.exp(legal.objective[0]) == pytest.approx(found.relaxed, rel=5e-3)


def test_the_price_of_time_is_the_slope_of_solved_optima(small: Small, fixed: Floats):
    """-d ln objective / d ln limit."""
    engine = small.climber.engine
    lane = solve_around(engine, small.theta(), values=fixed, mask=small.mask(*SMOOTH))
    limit = float(np.exp(lane.constraints[0])) * 30e-3 * 0.985
    found = evidence(small, fixed, theta=small.theta(time=limit))
    (price,) = [b.price for b in found.binding if b.name.startswith("time_per")]
    ends = [
        optimum(small, fixed, theta=small.theta(time=limit * np.exp(step)))
        for step in (-FINE, FINE)
    ]
    assert price > 0.01
    assert (ends[0] - ends[1]) / (2 * FINE) == pytest.approx(price, rel=3e-4)


def test_the_price_of_a_millisecond_is_what_one_more_saves(small: Small, fixed: Floats):
    engine = small.climber.engine
    lane = solve_around(engine, small.theta(), values=fixed, mask=small.mask(*SMOOTH))
    limit = float(np.exp(lane.constraints[0])) * 30e-3 * 0.985
    theta = small.theta(time=limit)
    (asked,) = [x for x in small.climber.study.limits if x.metric == TIME]
    solved = SimpleNamespace(
        study=SimpleNamespace(limits=(replace(asked, value=limit),)),
        evidence=evidence(small, fixed, theta=theta),
        best=SimpleNamespace(objective=np.exp(optimum(small, fixed, theta=theta))),
        design=None,
        baseline=None,
    )
    more = FINE * limit
    low, high = (
        np.exp(optimum(small, fixed, theta=small.theta(time=limit + step)))
        for step in (-more, more)
    )
    (price,) = prices_per_unit(solved).values()
    assert price == pytest.approx((high - low) / (2 * more), rel=1e-3)
    assert price < 0


@pytest.mark.parametrize(
    "path",
    [
        "chip.dram.stack_bandwidth",
        "technology.datacenter.host_power",
        "stack.layer_time",
    ],
)
def test_elasticities_are_slopes_of_solved_optima(
    small: Small, fixed: Floats, *, path: str
):
    """Envelope theorem: nothing else moves to first order."""
    theta = small.theta()
    found = evidence(small, fixed, theta=theta)
    ends = [
        optimum(small, fixed, theta=with_parameter(theta, path, factor=np.exp(step)))
        for step in (STEP, -STEP)
    ]
    slope = (ends[0] - ends[1]) / (2 * STEP)
    assert slope == pytest.approx(found.elasticities[path], rel=1e-3)


@pytest.mark.slow
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


@pytest.mark.slow
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


TWENTY = 20


def scaled(theta: Theta, path: str, *, factor: float) -> Theta:
    """Parameters with a constant, or all entries of a table, scaled."""
    if path.startswith(QUALITY):
        name = path.removeprefix(QUALITY)
        value = get_path(theta.constants, name)
        return theta.replace(
            constants=set_path(theta.constants, name, value=value * factor)
        )
    return with_parameter(theta, path, factor=factor)


@pytest.mark.slow
def test_twenty_elasticities_are_slopes_of_solved_optima(small: Small, fixed: Floats):
    """The twenty constants of technology, stack and quality that move it most."""
    engine, mask = small.climber.engine, small.mask(*SMOOTH)
    lane = solve_around(engine, small.theta(), values=fixed, mask=mask)
    theta = small.theta(time=float(np.exp(lane.constraints[0])) * 30e-3 * 0.985)
    found = evidence(small, fixed, theta=theta).elasticities
    ranked = sorted(found, key=lambda path: -abs(found[path]))
    chosen = [p for p in ranked if not p.startswith(("request.", "deployment."))]
    errors = {}
    for path in chosen[:TWENTY]:
        ends = [
            optimum(small, fixed, theta=scaled(theta, path, factor=np.exp(step)))
            for step in (FINE, -FINE)
        ]
        slope = (ends[0] - ends[1]) / (2 * FINE)
        errors[path] = abs(slope / found[path] - 1)
    assert len(errors) == TWENTY
    assert max(errors.values()) < 1e-3, errors
