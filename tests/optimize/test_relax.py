"""The smallest relaxation of limits that nothing keeps, against enumerations."""

from itertools import product

import numpy as np
import pytest

from codesign.optimize.discrete import FEASIBLE
from codesign.optimize.problem import Theta
from codesign.optimize.relax import Relaxer
from codesign.optimize.result import Relaxation
from codesign.optimize.space import GOVERNOR, Floats
from tests.optimize.studies import TPOT, Small, without_numbers

BATCH, TENSOR = "deployment.batch", "deployment.tensor_parallel"
USD = 3  # place of the limit on dollars per token
TIGHT = 1e-3  # seconds per token that no deployment reaches


def relaxed(small: Small, theta: Theta, *, values: Floats) -> Relaxation:
    mask = small.mask(BATCH, TENSOR, *GOVERNOR)
    relaxer = Relaxer(
        small.climber.engine, theta, mask=mask, rng=np.random.default_rng(0)
    )
    return relaxer.run(values[None], progress=lambda _: None)


def with_bounds(theta: Theta, **changes: float) -> Theta:
    places = {"time": TPOT, "usd": USD}
    bounds = np.array(theta.bounds)
    for name, value in changes.items():
        bounds[places[name]] = value
    return theta.replace(bounds=bounds)


def grid(small: Small, theta: Theta, *, values: Floats) -> Floats:
    """Sum of ln excess of every batch of a ladder at every tensor parallelism."""
    batches = np.unique(np.round(np.geomspace(1, 512, 80)))
    rows = np.array(list(product(batches, (2.0, 4.0, 8.0), (0.7, 0.87, 1.0))))
    points = np.tile(values, (len(rows), 1))
    columns = [small.paths.index(path) for path in (BATCH, TENSOR)]
    points[:, columns] = rows[:, :2]
    points[:, [small.paths.index(path) for path in GOVERNOR]] = rows[:, 2:]
    constraints = small.climber.engine.constraints(points, theta)[1]
    asked = len(small.climber.problem.limits)
    legal = np.max(constraints[:, asked:], axis=1) <= FEASIBLE
    broken = np.maximum(constraints[:, :asked], 0.0).sum(axis=1)
    return np.where(legal, broken, np.inf)


@pytest.fixture(scope="module")
def values(small: Small) -> Floats:
    return small.start(power_limit=700, tdp=700)


def test_one_limit_is_loosened_to_what_an_enumeration_reaches(
    small: Small, values: Floats
):
    theta = small.theta(time=TIGHT)
    found = relaxed(small, theta, values=values)
    (only,) = found.joint
    assert only.metric == "time_per_output_token"
    assert only.old == TIGHT
    least = float(np.min(grid(small, theta, values=values)))
    assert only.amount == pytest.approx(np.log(only.new / TIGHT))
    assert only.amount <= least + 1e-3
    assert [each.metric for each in found.single] == [only.metric]
    again = small.climber.engine.constraints(
        found.nearest[None], small.theta(time=only.new)
    )[1]
    assert np.max(again) <= FEASIBLE
    assert "loosen time_per_output_token from 1 ms" in found.text


def test_two_limits_are_loosened_together_by_the_least_sum(
    small: Small, values: Floats
):
    """Fast is dear: both are missed, and one alone has to give way much further."""
    free = small.theta()
    engine = small.climber.engine
    column = small.paths.index(BATCH)
    slow, fast = values.copy(), values.copy()
    slow[column], fast[column] = 256, 4
    ends = engine.constraints(np.stack([slow, fast]), free)[1]
    time = 30e-3 * float(np.exp(ends[1, TPOT]))
    usd = float(np.asarray(free.bounds)[USD]) * float(np.exp(ends[0, USD]))
    theta = with_bounds(free, time=0.95 * time, usd=usd)
    found = relaxed(small, theta, values=values)
    total = sum(each.amount for each in found.joint)
    least = float(np.min(grid(small, theta, values=values)))
    assert total <= least + 2e-3
    assert {each.metric for each in found.single} == {
        "time_per_output_token",
        "usd_per_token",
    }
    assert min(each.amount for each in found.single) >= total - 1e-3
    new = {each.metric: each.new for each in found.joint}
    again = with_bounds(
        theta,
        time=new.get("time_per_output_token", 0.95 * time),
        usd=new.get("usd_per_token", usd),
    )
    assert np.max(engine.constraints(found.nearest[None], again)[1]) <= FEASIBLE


def test_designs_without_a_number_are_left_out_counted_and_kept(
    small: Small, values: Floats
):
    with without_numbers(above=100.0):
        found = relaxed(small, small.theta(time=TIGHT), values=values)
    column = small.paths.index(BATCH)
    assert found.num_lost > 0
    assert len(found.lost) > 0
    assert (found.lost[:, column] > 100).any()
    assert found.nearest[column] <= 100
    assert "loosen time_per_output_token" in found.text


def test_limits_of_physics_are_not_loosened(small: Small, values: Floats):
    """Weights that fit no chip stay so, however long an answer may take."""
    heavy = values.copy()
    heavy[small.paths.index("model.weight_bits")] = 16.0
    heavy[small.paths.index("chip.dram.stacks")] = 2.0
    mask = small.mask(BATCH, *GOVERNOR)
    heavy[small.paths.index(TENSOR)] = 2.0
    relaxer = Relaxer(
        small.climber.engine,
        small.theta(time=TIGHT),
        mask=mask,
        rng=np.random.default_rng(0),
    )
    found = relaxer.run(heavy[None], progress=lambda _: None)
    assert found.joint == ()
    assert found.single == ()
    assert found.text.startswith("No change of the study's own limits")
