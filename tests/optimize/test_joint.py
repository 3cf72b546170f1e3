"""One problem of many cases: columns, stacked parameters, and how answers combine."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.question import Study
from codesign.optimize.joint import (
    BOTH,
    CHANCE,
    FIRST,
    LAST,
    MEAN,
    POOLS,
    SUM,
    TOTAL,
    WORST,
    Joint,
    axes,
    combine,
    gather,
    join_spaces,
    stack,
)
from codesign.optimize.space import build_space

NAMES = ("a", "b")
OBJECTIVE = jnp.log(jnp.array([2.0, 3.0]))
CONSTRAINTS = jnp.log(
    jnp.array([[0.5, 2.0, 1.5, 0.2, 0.7], [0.9, 0.25, 1.0, 0.3, 0.1]])
)


def joint(judge: str, **more: Any) -> Joint:
    return Joint(names=NAMES, columns=((0, 1), (0, 2)), judge=judge, **more)


def test_mean_weighs_the_metric_itself():
    mix = jnp.log(jnp.array([0.75, 0.25]))
    value, limits = combine(
        joint(MEAN), (OBJECTIVE, CONSTRAINTS), mix=mix, sharpness=None
    )
    assert float(jnp.exp(value)) == pytest.approx(0.75 * 2.0 + 0.25 * 3.0)
    assert np.array_equal(limits, np.ravel(CONSTRAINTS))


def test_worst_is_the_largest_ratio_and_its_smooth_form_lies_above():
    mix = -jnp.log(jnp.array([1.0, 2.0]))
    found = OBJECTIVE, CONSTRAINTS
    hard, _ = combine(joint(WORST), found, mix=mix, sharpness=None)
    smooth, _ = combine(joint(WORST), found, mix=mix, sharpness=256.0)
    assert float(jnp.exp(hard)) == pytest.approx(2.0)
    assert 0.0 <= float(smooth - hard) <= np.log(2) / 256


def test_chance_asks_for_a_share_of_the_draws():
    draws = jnp.linspace(-1.0, 1.0, 10)[:, None]
    many = Joint(
        names=tuple(map(str, range(10))), columns=((0,),) * 10, judge=CHANCE, level=0.7
    )
    mix = jnp.full(10, -np.log(10.0))
    value, limits = combine(many, (draws[:, 0], draws), mix=mix, sharpness=None)
    assert float(jnp.exp(value)) == pytest.approx(float(jnp.mean(jnp.exp(draws))))
    assert int(jnp.sum(draws[:, 0] <= limits[0])) == 7
    tail = replace(many, objective=0.7)
    value, _ = combine(tail, (draws[:, 0], draws), mix=mix, sharpness=None)
    assert float(value) == pytest.approx(float(limits[0]))
    assert many.constraint_names(["power"]) == ("power at 0.7",)


def test_pools_add_what_is_paid_twice_and_keep_what_is_one_pools():
    ways = (FIRST, LAST, SUM, TOTAL, BOTH)
    pools = joint(POOLS, ways=ways)
    mix = jnp.log(jnp.array([1 / 4, 1.0]))
    value, limits = combine(pools, (OBJECTIVE, CONSTRAINTS), mix=mix, sharpness=None)
    assert float(jnp.exp(value)) == pytest.approx(2.0 / 4 + 3.0)
    expected = [0.5, 0.25, 1.5 / 4 + 1.0, 0.2 + 0.3, 0.7, 0.1]
    assert np.exp(limits).tolist() == pytest.approx(expected)
    names = pools.constraint_names(["ttft", "tpot", "usd", "latency", "area"])
    assert names == ("ttft", "tpot", "usd", "latency", "area [a]", "area [b]")


def test_only_leaves_that_differ_are_stacked():
    cases = [{"same": jnp.ones(3), "own": jnp.asarray(x)} for x in (1.0, 2.0)]
    together, varied = stack(cases)
    assert varied == (True, False)
    assert together["own"].tolist() == [1.0, 2.0]
    assert together["same"].shape == (3,)
    marks = axes(replace(joint(MEAN), varied=varied), together)
    added = jax.vmap(lambda c: c["own"] + jnp.sum(c["same"]), in_axes=(marks,))
    assert added(together).tolist() == [4.0, 5.0]


def test_shared_variables_stand_once_and_own_ones_once_per_case(study: Study):
    space = build_space(study)
    both, columns = join_spaces([space] * 2, NAMES, shared=("chip.",))
    chip = [path for path in space.paths if path.startswith("chip.")]
    assert len(both.paths) == 2 * len(space.paths) - len(chip)
    assert len(set(both.paths)) == len(both.paths)
    for name, row in zip(NAMES, columns, strict=True):
        found = [both.paths[i] for i in row]
        assert [p.removesuffix(f" [{name}]") for p in found] == list(space.paths)
        assert [p for p in found if not p.endswith("]")] == chip


def test_a_bound_on_a_shared_variable_holds_in_every_case(study: Study):
    space = build_space(study)
    both, columns = join_spaces([space] * 2, NAMES, shared=("chip.",))
    own = space.values_of(study.baseline)
    limit = space.paths.index("deployment.power_limit")
    tdp = space.paths.index("chip.tdp")
    own[limit], own[tdp] = 900.0, 400.0
    many = replace(joint(MEAN), columns=columns)
    point = gather(many, [own, own], width=len(both.paths))
    legal = both.round(point, mask=both.select(("chip.", "deployment.", "model.")))
    for row in many.split(legal):
        assert row[tdp] == pytest.approx(400.0)
        assert row[limit] <= 400.0
