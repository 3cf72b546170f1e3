"""Coordinates, legal values and masks of the variables."""

import numpy as np
import pytest

from codesign.config.study import Study
from codesign.config.variables import Variable
from codesign.cost.evaluate import evaluate
from codesign.optimize.space import GOVERNOR, Space, build_space, place
from tests.helpers import assert_trees_close

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
