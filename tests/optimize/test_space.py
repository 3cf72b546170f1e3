"""Coordinates, legal values and masks of the variables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.config.study import Study
from codesign.config.variables import Variable
from codesign.cost.evaluate import evaluate
from codesign.optimize.space import (
    GOVERNOR,
    Space,
    build_space,
    place,
    presolved_lines,
)
from tests.helpers import assert_trees_close
from tests.optimize.studies import load_small

LANES = 200


@pytest.fixture(scope="module")
def space(study: Study) -> Space:
    return build_space(study)


def spread(space: Space, *, seed: int = 0, beyond: float = 0.0) -> np.ndarray:
    """Random values, a little beyond the box if asked."""
    rng = np.random.default_rng(seed)
    shape = (LANES, len(space.paths))
    return space.decode(rng.uniform(-beyond, 1.0 + beyond, size=shape))


def space_of(*variables: Variable) -> Space:
    return Space(
        variables=variables,
        low=np.log([v.low for v in variables]),
        high=np.log([v.high for v in variables]),
    )


def test_coordinates_are_logarithms_between_the_bounds(space: Space):
    values = spread(space, beyond=0.1)
    np.testing.assert_allclose(space.decode(space.encode(values)), values, rtol=1e-12)
    for end, side in ((0.0, "low"), (1.0, "high")):
        ends = space.decode(np.full(len(space.paths), end))
        expected = [getattr(v, side) for v in space.variables]
        np.testing.assert_allclose(ends, expected, rtol=1e-12)


def test_rounded_values_are_legal(space: Space):
    every = np.ones(len(space.paths), bool)
    legal = space.round(spread(space, beyond=0.2), mask=every)
    for column, variable in enumerate(space.variables):
        found = legal[:, column]
        assert np.all(found >= variable.low * (1 - 1e-12)), variable.path
        assert np.all(found <= variable.high * (1 + 1e-12)), variable.path
        if variable.choices:
            assert set(found) <= set(variable.choices), variable.path
        step = variable.multiple or float(variable.integer)
        if step:
            assert np.all(np.abs(found / step - np.round(found / step)) < 1e-12)


def test_rounding_is_idempotent_and_keeps_what_is_fixed(space: Space):
    values = spread(space, beyond=0.2)
    mask = space.select(("deployment.",))
    once = space.round(values, mask=mask)
    np.testing.assert_array_equal(once[:, ~mask], values[:, ~mask])
    np.testing.assert_array_equal(space.round(once, mask=mask), once)


def test_a_bound_on_another_variable_is_kept(space: Space):
    every = np.ones(len(space.paths), bool)
    legal = space.round(spread(space), mask=every)
    power, tdp = (
        legal[:, space.paths.index(path)]
        for path in ("deployment.power_limit", "chip.tdp")
    )
    assert np.all(power <= tdp)
    assert np.any(power < tdp)


def test_a_bound_on_another_variable_leaves_integers_whole():
    experts = Variable("model.num_experts", "1", 8, 64, choices=(8.0, 64.0))
    active = Variable(
        "model.num_active_experts",
        "1",
        1,
        19.2,
        high_path=experts.path,
        high_factor=0.3,
        integer=True,
    )
    space = space_of(experts, active)
    legal = space.round(np.array([[8.0, 6.0]]), mask=np.ones(2, bool))[0]
    assert legal[1] <= 0.3 * legal[0]
    assert legal[1] == pytest.approx(2)


def test_bounds_on_bounded_variables_are_kept_in_any_order():
    names = ("model.kv_bits", "model.activation_bits", "model.weight_bits")
    upper = (*names[1:], None)
    chain = [
        Variable(name, "bit", 2, 16, high_path=bound)
        for name, bound in zip(names, upper, strict=True)
    ]
    for order in (chain, chain[::-1]):
        space = space_of(*order)
        values = np.array([{names[2]: 4.0}.get(v.path, 12.0) for v in order])
        legal = dict(
            zip(space.paths, space.round(values, mask=np.ones(3, bool)), strict=True)
        )
        assert legal[names[0]] <= legal[names[1]] <= legal[names[2]]


POWER, TDP = "deployment.power_limit", "chip.tdp"
HOST = "technology.datacenter.host_power"


@pytest.mark.parametrize(
    ("limit", "tdp", "least"),
    [
        ("{min: 500 W, max: chip.tdp}", "{min: 150 W, max: 1 kW}", 500),
        ("{min: 450 W, max: 0.9 * chip.tdp}", "{min: 150 W, max: 1 kW}", 500),
        ("{min: 500 W, max: chip.tdp}", "{choices: [200 W, 600 W, 700 W]}", 600),
        (
            "{min: 500 W, max: chip.tdp}",
            "{min: 150 W, max: 1 kW, multiple_of: 120 W}",
            600,
        ),
        (
            "{min: 310 W, max: chip.tdp, multiple_of: 200 W}",
            "{min: 150 W, max: 1 kW}",
            400,
        ),
        ("{min: 150 W, max: chip.tdp}", "{min: 200 W, max: 1 kW}", 200),
        ("{min: 1 kW, max: chip.tdp}", "{min: 150 W, max: 1 kW}", 1000),
    ],
)
def test_what_bounds_a_variable_is_never_too_low_for_it(
    *, tmp_path: Path, limit: str, tdp: str, least: float
):
    study = load_small(tmp_path, f"free.{POWER}={limit}", f"free.{TDP}={tdp}")
    space = build_space(study)
    power, bound = (space.variables[space.paths.index(path)] for path in (POWER, TDP))
    assert bound.low == pytest.approx(least)
    assert np.all(space.low <= np.log([v.low for v in space.variables]))
    values = spread(space, beyond=0.2)
    values[0] = space.values_of(study.baseline)
    values[0, space.paths.index(TDP)] = 200.0
    legal = space.round(values, mask=np.ones(len(space.paths), bool))
    ours, theirs = (legal[:, space.paths.index(path)] for path in (POWER, TDP))
    assert np.all(ours >= power.low * (1 - 1e-12))
    assert np.all(ours <= power.high_factor * theirs * (1 + 1e-12))
    assert np.all(theirs <= bound.high * (1 + 1e-12))


def test_a_chain_of_bounds_rises_to_its_least_value(tmp_path: Path):
    study = load_small(
        tmp_path,
        f"free.{POWER}={{min: 400 W, max: 0.8 * {TDP}}}",
        f"free.{TDP}={{min: 150 W, max: 2 * {HOST}}}",
        f"free.{HOST}={{min: 20 W, max: 500 W}}",
    )
    space = build_space(study)
    lows = {v.path: v.low for v in space.variables}
    assert lows[TDP] == pytest.approx(500)
    assert lows[HOST] == pytest.approx(250)
    lines = presolved_lines(study, space)
    assert {f"{TDP} is at least 500 W", f"{HOST} is at least 250 W"} <= {*lines}


@pytest.mark.parametrize("least", ["500 W", "1 kW"])
def test_a_held_bound_below_its_range_is_kept_all_the_same(tmp_path: Path, least: str):
    space = build_space(load_small(tmp_path, f"free.{POWER}.min={least}"))
    values = spread(space)
    values[:, space.paths.index(TDP)] = 200.0
    legal = space.round(values, mask=space.select(("deployment.",)))
    assert legal[:, space.paths.index(POWER)] == pytest.approx(200)
    assert legal[:, space.paths.index(TDP)] == pytest.approx(200)


def test_a_bound_below_every_count_leaves_the_least():
    experts = Variable("model.num_experts", "1", 1, 64, integer=True)
    limits = {"high_path": experts.path, "high_factor": 0.3}
    listed = Variable("model.num_active_experts", "1", 2, 8, choices=(2, 4, 8))
    whole = Variable("model.num_active_experts", "1", 1, 19.2, integer=True)
    for active, allowed in ((listed, (2, 2, 4)), (whole, (1, 3, 5))):
        space = space_of(experts, replace(active, **limits))
        given = np.array([[2.0, 5.0], [13.0, 5.0], [19.0, 5.0]])
        legal = space.round(given, mask=np.array([False, True]))
        assert legal[:, 1] == pytest.approx(allowed)


def test_powers_of_two_stay_powers_under_a_bound(tmp_path: Path):
    """Of 12 experts the active ones are at most 4, the largest power up to 0.5 * 12."""
    study = load_small(
        tmp_path,
        "baseline.model=mixtral-8x7b",
        "model.training_tokens=8e12 token",
        "free.model.num_experts={min: 1, max: 64, integer: true}",
        "free.model.num_active_experts="
        "{min: 1, max: 0.5 * model.num_experts, power_of_two: true}",
    )
    space = build_space(study)
    experts, active = (
        space.paths.index(f"model.num_{name}") for name in ("experts", "active_experts")
    )
    assert space.coarse[active]
    assert space.variables[active].choices == (1, 2, 4, 8, 16, 32)
    values = spread(space, beyond=0.2)
    values[0, [experts, active]] = 12.0, 16.0
    legal = space.round(values, mask=np.ones(len(space.paths), bool))
    found = legal[:, active]
    assert set(found) <= set(space.variables[active].choices)
    assert np.all(found <= 0.5 * legal[:, experts])
    assert legal[0, [experts, active]] == pytest.approx([12, 4])


def test_masks_follow_prefixes_and_hold_the_governor(space: Space):
    chosen = {
        path
        for path, kept in zip(space.paths, space.select(("model.",)), strict=True)
        if kept
    }
    assert chosen == {"model.num_layers", "model.ffn_size", "model.weight_bits"} | set(
        GOVERNOR
    )
    exact = space.select(("chip.tdp",))
    assert exact.sum() == 1 + len(GOVERNOR)


def test_kinds_of_variables(space: Space):
    fine = {p for p, kept in zip(space.paths, space.fine, strict=True) if kept}
    coarse = {p for p, kept in zip(space.paths, space.coarse, strict=True) if kept}
    assert coarse == {
        "chip.dram.stacks",
        "model.weight_bits",
        "deployment.tensor_parallel",
    }
    assert fine == {
        "model.num_layers",
        "model.ffn_size",
        "deployment.batch",
    }


def test_the_values_of_the_baseline_are_the_baseline(study: Study, space: Space):
    baseline = study.baseline
    again = place(baseline, space.paths, values=space.values_of(baseline))
    assert_trees_close(again, baseline, rtol=1e-12)
    assert_trees_close(evaluate(again), evaluate(baseline), rtol=1e-12, atol=1e-12)
