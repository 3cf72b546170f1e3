"""No legal design is below the bound: against brute force over choices and volts."""

from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codesign.config.design import build_design
from codesign.config.study import Study
from codesign.core.compiler import jitted
from codesign.core.paths import get_path
from codesign.core.record import as_float64
from codesign.cost.least import LEAST, least_cost
from codesign.cost.record import Cost
from codesign.cost.total import cost
from codesign.optimize import proof
from codesign.optimize.climber import EVERYTHING, Climber
from codesign.optimize.discrete import FEASIBLE
from codesign.optimize.ladder import optimize
from codesign.optimize.proof import CLOSE, combinations, prove
from codesign.optimize.result import Result
from codesign.optimize.space import build_space
from codesign.serving.design import Design
from codesign.study.archive import result_from_dict, result_to_dict
from tests.optimize.studies import Small, load_listed, quick_search


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return load_listed(tmp_path_factory.mktemp("listed"))


@pytest.fixture(scope="module")
def found(listed: Study) -> Result:
    with quick_search():
        return optimize(listed)


@pytest.fixture(scope="module")
def climber(listed: Study, found: Result) -> Climber:
    with quick_search():
        climber = Climber(listed, lambda _: None)
    climber.refer_to(found.baseline)
    return climber


@pytest.fixture(scope="module")
def least_and_true() -> tuple[Any, Any]:
    """Bounds over ranges of both voltages, and the cost at voltages."""
    names = ("decode_voltage", "prefill_voltage")

    def held(volts: jax.Array) -> dict[str, jax.Array]:
        return dict(zip(names, volts, strict=True))

    def at(base: Design, volts: jax.Array) -> Design:
        return base.replace(deployment=base.deployment.replace(**held(volts)))

    def least(base: Design, ends: tuple[jax.Array, jax.Array]) -> Cost:
        return jax.vmap(lambda a, b: least_cost(at(base, a), **held(b)))(*ends)

    def true(base: Design, volts: jax.Array) -> Cost:
        return jax.vmap(lambda v: cost(at(base, v)))(volts)

    return jitted(level=0)(least), jitted(level=0)(true)


@pytest.mark.parametrize("model", ["llama-3-8b", "qwen3-30b-a3b"])
@pytest.mark.parametrize(
    "chip", ["h100-sxm", "tpu-v3", "groqchip1", "wse-3", "mi300x", "l4"]
)
def test_no_voltage_of_a_range_costs_less_than_the_bound(
    *, chip: str, model: str, least_and_true: tuple[Any, Any]
):
    least, true = least_and_true
    base = as_float64(
        build_design(
            chip=chip, model=model, batch=16, prompt_length=512, output_length=256
        )
    )
    draws = np.random.default_rng(0).uniform(0.1, 0.9, size=(16, 3, 2))
    low, inside, high = np.moveaxis(np.sort(draws, axis=1), 1, 0)
    costs = true(base, inside)
    between, alone = least(base, (low, high)), least(base, (inside, inside))
    for name in LEAST:
        value = np.asarray(get_path(costs, name))
        allowed = value + 1e-10 * np.abs(value) + 1e-12
        assert (np.asarray(get_path(between, name)) <= allowed).all(), name
        np.testing.assert_allclose(get_path(alone, name), value, rtol=1e-9, atol=1e-12)
    assert (between.throughput >= costs.throughput * (1 - 1e-12)).all()


def test_brute_force_finds_nothing_below_the_bound(found: Result, climber: Climber):
    assert found.bound is not None
    rows = combinations(climber.space, climber.space.select(EVERYTHING))
    assert rows is not None
    assert len(rows) == 2 * 9 * 2
    volts = np.linspace(0.4, 1.0, 25)
    values = np.repeat(rows, len(volts) ** 2, axis=0)
    values[:, -2:] = np.tile(list(product(volts, volts)), (len(rows), 1))
    objective, constraints = climber.engine.constraints(values, climber.theta)
    legal = np.max(constraints, axis=1) <= FEASIBLE
    assert legal.any()
    assert found.bound <= np.exp(np.min(objective[legal]))
    assert found.bound <= found.best.objective <= found.bound * (1 + 2 * CLOSE)


def test_a_better_design_that_the_search_missed_is_the_answer(
    found: Result, listed: Study, *, monkeypatch: pytest.MonkeyPatch
):
    kept = Climber.climb

    def poor(self: Climber, name: str, **rest: object) -> object:
        rung = kept(self, name, **rest)
        return self.as_given() if name == "co-designed" else rung

    monkeypatch.setattr(Climber, "climb", poor)
    again = optimize(listed)
    assert again.best.name == "as given"
    assert again.best.feasible
    assert again.best.objective == pytest.approx(found.best.objective, rel=3e-4)
    assert again.bound == pytest.approx(found.bound, rel=3e-4)


def test_where_none_is_legal_the_bound_is_infinite(climber: Climber):
    bounds = np.array(climber.theta.bounds)
    bounds[0] = 1e-6
    nothing = prove(
        climber.engine,
        climber.theta.replace(bounds=bounds),
        mask=climber.space.select(EVERYTHING),
        known=np.inf,
    )
    assert nothing is not None
    assert nothing.bound == np.inf
    assert nothing.better is None


def test_what_is_left_when_the_budget_ends_is_bounded(
    climber: Climber, found: Result, *, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(proof, "BUDGET", 1)
    short = prove(
        climber.engine,
        climber.theta,
        mask=climber.space.select(EVERYTHING),
        known=float(np.log(found.best.objective)),
    )
    assert short is not None
    assert np.isfinite(short.bound)
    assert np.exp(short.bound) < found.bound


def test_a_continuous_variable_leaves_no_bound(small: Small):
    lead, mask = small.climber, np.ones(len(small.paths), bool)
    assert prove(lead.engine, lead.theta, mask=mask, known=0.0) is None


def test_one_value_each_is_one_combination(tmp_path: Path):
    single = load_listed(
        tmp_path,
        "free.model.weight_bits.choices=[16]",
        "free.deployment.batch.max=60",
        "free.deployment.tensor_parallel.choices=[8]",
    )
    space = build_space(single)
    rows = combinations(space, space.select(EVERYTHING))
    assert rows is not None
    assert rows[:, :-2].tolist() == [[16.0, 60.0, 8.0]]


def test_the_bound_is_told_and_kept(found: Result, tmp_path: Path):
    assert "Proven: no legal design is below" in str(found)
    kept = result_from_dict(result_to_dict(found), folder=tmp_path)
    assert kept.bound == found.bound
