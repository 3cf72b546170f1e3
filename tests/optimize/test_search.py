"""One search: legal, inside its bounds, repeatable, and as good as a grid."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from codesign.cost.evaluate import evaluate
from codesign.optimize.discrete import Pool
from codesign.optimize.result import Rung
from codesign.optimize.search import LOOK_KEEPS, Found, Search
from codesign.optimize.space import GOVERNOR, Floats, place
from tests.helpers import assert_trees_close
from tests.optimize.studies import CHIP, EVERYTHING, LANES, Small, quick_search

BATCH, POWER = "deployment.batch", "deployment.power_limit"
LEGAL = 1e-5  # largest ln(use / limit) that counts as kept


@pytest.fixture(scope="module")
def rung(small: Small) -> Rung:
    """What a search of everything finds."""
    with quick_search():
        return small.climb(prefixes=EVERYTHING)


def test_the_same_seed_gives_the_same_answer(small: Small, rung: Rung):
    first, second = rung, small.climb(prefixes=EVERYTHING)
    np.testing.assert_array_equal(first.values, second.values)
    assert first.trace[-1]["best"] == pytest.approx(second.trace[-1]["best"], rel=1e-12)


def test_different_seeds_agree(small: Small):
    found = [small.climb(prefixes=CHIP, seed=seed) for seed in range(2)]
    assert all(rung.feasible for rung in found)
    values = [rung.objective for rung in found]
    assert max(values) / min(values) < 1.01


@pytest.mark.slow
def test_the_choices_found_are_the_best_of_all_combinations(small: Small):
    """Each of the nine combinations searched apart; a short search leaves 3 %."""
    space, theta = small.climber.space, small.climber.theta
    rest = space.select(EVERYTHING) & ~space.coarse
    best = min(
        np.exp(found.objective[0])
        for bits, tensor in product((4, 8, 16), (2, 4, 8))
        for found in [
            small.search(
                rest,
                theta=theta,
                known=small.start(weight_bits=bits, tensor_parallel=tensor),
            ).pool.best(1)
        ]
        if found.violation[0] <= LEGAL
    )
    values = [small.climb(prefixes=EVERYTHING, seed=s).objective for s in range(3)]
    assert max(values) < 1.03 * best


def test_the_result_is_legal(small: Small, rung: Rung):
    space = small.climber.space
    every = np.ones(len(space.paths), bool)
    np.testing.assert_allclose(space.round(rung.values, mask=every), rung.values)
    for value, variable in zip(rung.values, space.variables, strict=True):
        assert variable.low * (1 - 1e-9) <= value <= variable.high * (1 + 1e-9)
    deployment, chip = rung.design.deployment, rung.design.chip
    assert float(deployment.power_limit) <= float(chip.tdp) * (1 + 1e-12)
    assert float(deployment.tensor_parallel) in {2.0, 4.0, 8.0}


def test_evaluate_confirms_cost_and_limits(small: Small, rung: Rung):
    """The governor, given the design found, returns its voltages and its cost."""
    again = evaluate(rung.design)
    assert_trees_close(again, rung.cost, rtol=1e-9, atol=1e-12)
    held = rung.design.deployment
    for name in ("decode_voltage", "prefill_voltage"):
        found = float(getattr(again, name))
        assert found == pytest.approx(float(getattr(held, name)), rel=1e-9)
    assert float(again.energy_per_token_server) == pytest.approx(rung.objective)
    worst = max(float(value) for value in vars(again.limits).values())
    assert worst <= LEGAL
    assert rung.violation <= LEGAL
    assert float(again.time_per_output_token) <= 30e-3 * (1 + LEGAL)
    assert float(again.time_to_first_token) <= 1 + LEGAL
    tuned = small.tuned.cost
    assert float(again.chip.area) <= float(tuned.chip.area) * (1 + LEGAL)
    assert float(again.usd_per_token) <= float(tuned.usd_per_token) * (1 + LEGAL)
    assert float(rung.quality.gap) <= LEGAL


def test_search_form_and_governor_form_agree(small: Small, rung: Rung):
    """The voltages as variables under a power limit, and as the governor's root."""
    engine, theta = small.climber.engine, small.climber.theta
    objective, constraints = engine.constraints(rung.values[None], theta)
    assert float(np.exp(objective[0])) == pytest.approx(rung.objective, rel=1e-9)
    assert float(constraints[0].max()) <= LEGAL


def test_nothing_leaves_the_box_and_nothing_fixed_moves(small: Small):
    mask = small.mask(BATCH, "chip.dram.bandwidth", "model.weight_bits")
    known = small.start()
    pool = small.search(mask, theta=small.climber.theta, known=known).pool
    np.testing.assert_array_equal(
        pool.values[:, ~mask], np.tile(known[~mask], (len(pool.values), 1))
    )
    points = small.climber.space.encode(pool.values)[:, mask]
    assert points.min() >= -1e-9
    assert points.max() <= 1 + 1e-9


@pytest.mark.slow
def test_known_designs_bound_the_result(small: Small):
    """A known optimum survives a search too short to find it."""
    best = small.climb(prefixes=EVERYTHING)
    lucky = small.search(
        small.climber.space.select(EVERYTHING),
        theta=small.climber.theta,
        known=best.values,
        seed=11,
    )
    found = lucky.pool.best(1)
    assert found.violation[0] <= LEGAL
    assert found.objective[0] <= np.log(best.objective) + 1e-6


def test_one_start_is_enough_to_run(small: Small):
    climber = small.climber
    mask = climber.space.select(("deployment.",))
    search = Search(climber.engine, climber.theta, mask, np.random.default_rng(0))
    found = search.run(small.given.values[None], starts=1, progress=lambda _: None)
    best = found.pool.best(1)
    assert best.violation[0] <= LEGAL
    assert best.objective[0] <= np.log(small.given.objective) + 1e-9


def test_stages_are_traced_in_order(small: Small):
    rung = small.climb(prefixes=CHIP)
    assert [entry["stage"] for entry in rung.trace] == [
        "relaxed",
        "look",
        "others",
        "looks",
        "pairs",
        "integers",
        "polish",
    ]
    seconds = [entry["seconds"] for entry in rung.trace]
    assert seconds == sorted(seconds)
    assert rung.trace[-1]["best"] == pytest.approx(rung.objective, rel=1e-4)


def test_the_first_look_is_a_legal_design_near_the_last(rung: Rung):
    best = {entry["stage"]: entry["best"] for entry in rung.trace}
    legal = [best[stage] for stage in ("look", "looks", "pairs", "integers", "polish")]
    assert legal == sorted(legal, reverse=True)
    assert legal[0] <= 1.005 * rung.objective
    assert best["others"] <= best["relaxed"] <= rung.objective


def test_all_starts_are_counted(rung: Rung):
    shares = {entry["stage"]: entry["feasible"] for entry in rung.trace}
    assert rung.feasible_starts == shares["others"]
    assert 0 < rung.feasible_starts <= 1


def test_looks_find_the_same_on_any_number_of_cores(
    small: Small, monkeypatch: pytest.MonkeyPatch
):
    assert small.climber.study.search.starts > LANES  # more than one look
    mask = small.mask(BATCH, "chip.dram.bandwidth", "model.weight_bits")
    found: list[Found] = []
    for cores in (1, 4):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        found.append(small.search(mask, theta=small.theta(), known=small.tuned.values))
    one, four = found
    assert one.pool.values.tobytes() == four.pool.values.tobytes()
    assert one.relaxed == four.relaxed


def test_a_look_takes_one_seed_to_better_legal_designs(small: Small):
    climber = small.climber
    mask = small.mask(BATCH, "chip.dram.bandwidth")
    search = Search(climber.engine, small.theta(), mask, np.random.default_rng(0))
    known = small.given.values[None]
    begun = climber.engine.evaluate(known, small.theta())
    seeds = Pool(known, *(np.zeros(1) for _ in range(3)))
    look = search.look(seeds, begun=begun)
    assert len(look.pool.values) <= LOOK_KEEPS
    assert look.pool.violation[0] <= LEGAL
    assert look.pool.objective[0] < begun.objective[0]
    assert look.bound <= look.pool.objective[0] + 1e-3
    moved = (look.pool.values != known).any(axis=0)
    assert not moved[~mask].any()


def test_looks_know_the_known_designs_and_their_share_of_the_starts(
    small: Small, monkeypatch: pytest.MonkeyPatch
):
    plain = Search.look
    begun: list[Pool] = []
    seeds: list[Pool] = []

    def watched(search: Search, given: Pool, **named: Pool) -> Any:
        begun.append(named["begun"])
        seeds.append(given)
        return plain(search, given, **named)

    monkeypatch.setattr(Search, "look", watched)
    climber, known = small.climber, small.given.values[None]
    mask = small.mask(BATCH, "chip.dram.bandwidth")
    search = Search(climber.engine, small.theta(), mask, np.random.default_rng(0))
    search.run(known, starts=3 * LANES, progress=lambda _: None)
    assert len(seeds) == 3
    assert [len(pool.values) for pool in seeds] == [LANES] * 3
    rows = {tuple(row) for pool in seeds[1:] for row in pool.values.round(12)}
    assert len(rows) > LANES  # dealt, not given twice
    legal = climber.space.round(known, mask=mask)
    for pool in begun:
        rows = {tuple(row) for row in pool.values}
        assert tuple(legal[0]) in rows
        assert rows <= {tuple(known[0]), tuple(legal[0])}


def test_few_combinations_are_solved_several_times(
    small: Small, monkeypatch: pytest.MonkeyPatch
):
    """Three formats would leave a batch of lanes almost empty."""
    engine = small.climber.engine
    plain, counts = engine.refine, []

    def counted(given: Floats, *rest: Any, **named: Any) -> Any:
        counts.append(given.copy())
        return plain(given, *rest, **named)

    monkeypatch.setattr(engine, "refine", counted)
    path = "model.weight_bits"
    mask = small.mask(BATCH, "chip.dram.bandwidth", path)
    assert small.climber.space.num_combinations(mask & small.climber.space.coarse) == 3
    small.search(mask, theta=small.theta(), known=small.tuned.values)
    lanes = counts[1]  # after the first starts
    formats, each = np.unique(lanes[:, small.paths.index(path)], return_counts=True)
    assert formats.tolist() == [4, 8, 16]
    assert each.max() == LANES // 3
    assert len(lanes) > LANES // 2


def test_a_search_whose_lanes_all_break_still_polishes(
    small: Small, monkeypatch: pytest.MonkeyPatch
):
    engine = small.climber.engine
    plain = engine.refine

    def broken(*args: Any, **named: Any) -> Any:
        found = plain(*args, **named)
        return found.replace(points=np.full_like(np.array(found.points), np.nan))

    monkeypatch.setattr(engine, "refine", broken)
    mask = small.mask(BATCH, "chip.dram.bandwidth")
    found = small.search(mask, theta=small.theta(), known=small.given.values)
    best = found.pool.best(1)
    assert best.violation[0] <= LEGAL
    assert best.objective[0] < np.log(small.given.objective)
    assert sum(entry["lost"] for entry in found.trace) > LANES


def test_every_look_has_a_seed():
    values = np.arange(5.0)[:, None]
    seeds = Pool(values, *(np.zeros(5) for _ in range(3)))
    hands = [seeds.dealt(place, count=3).values[:, 0].tolist() for place in range(3)]
    assert hands == [[0.0, 3.0], [1.0, 4.0], [2.0]]
    one = seeds.take(np.s_[:1])
    assert [len(one.dealt(place, count=3).values) for place in range(3)] == [1, 1, 1]


def test_batch_and_power_reach_the_best_point_of_a_grid(small: Small):
    """Batch, power limit and both voltages against an enumeration.

    Every batch from 60 to 76 at 4096 pairs of voltages on the hard model, then
    4096 finer pairs around the best and its neighbours; the limit is the power that a
    point draws.
    """
    mask = small.mask(BATCH, POWER, *GOVERNOR)
    known = small.given.values
    found = small.search(mask, theta=small.theta(), known=known).pool.best(1)
    assert found.violation[0] <= LEGAL
    voltages = [np.linspace(0.4, 0.75, 64), np.linspace(0.6, 0.75, 64)]
    coarse = _grid_optimum(small, np.arange(60.0, 77.0), voltages=voltages)
    batch, *centre = coarse.values[0, _columns(small)]
    voltages = [
        middle + np.linspace(-2, 2, 64) * (range_[1] - range_[0])
        for middle, range_ in zip(centre, voltages, strict=True)
    ]
    near = batch + np.array([-1.0, 0.0, 1.0])
    fine = _grid_optimum(small, near, voltages=voltages)
    assert -1e-3 < found.objective[0] - fine.objective[0] < 1e-5
    place = small.paths.index(BATCH)
    assert abs(found.values[0, place] - fine.values[0, place]) <= 1


def _columns(small: Small) -> list[int]:
    return [small.paths.index(path) for path in (BATCH, *GOVERNOR)]


def _grid_optimum(small: Small, batches: Floats, *, voltages: list[Floats]) -> Pool:
    """The best design of a grid, the rest as given."""
    points = np.array(list(product(batches, *voltages)))
    values = np.tile(small.given.values, (len(points), 1))
    values[:, _columns(small)] = points
    best = small.climber.engine.evaluate(values, small.theta()).best(1)
    assert best.violation[0] <= LEGAL
    return best


def test_a_point_of_the_search_is_the_design_it_stands_for(small: Small):
    """Coordinates, baseline and governor lead to the same cost as the design."""
    changed = small.start(batch=32, weight_bits=8, bandwidth=3e12, stacks=5)
    baseline = small.climber.study.baseline
    design = place(baseline, small.paths, values=changed)
    objective, _ = small.climber.engine.constraints(changed[None], small.theta())
    expected = evaluate(design).energy_per_token_server
    assert float(np.exp(objective[0])) == pytest.approx(float(expected), rel=1e-9)


def test_lanes_without_a_number_are_left_out_counted_and_kept(
    small: Small, monkeypatch: pytest.MonkeyPatch
):
    engine = small.climber.engine
    refine, constraints = engine.refine, engine.constraints

    def some_lost(*args: Any, **named: Any) -> Any:
        found = refine(*args, **named)
        points = np.array(found.points)
        points[::3] = np.nan
        return found.replace(points=points)

    def one_lost(*args: Any) -> Any:
        objective, broken = constraints(*args)
        return np.where(np.arange(len(objective)) == 5, np.nan, objective), broken

    monkeypatch.setattr(engine, "refine", some_lost)
    monkeypatch.setattr(engine, "constraints", one_lost)
    mask = small.mask(BATCH, "chip.dram.bandwidth")
    found = small.search(mask, theta=small.theta(), known=small.tuned.values)
    lost = {entry["stage"]: entry["lost"] for entry in found.trace}
    assert lost["relaxed"] >= 1
    assert lost["others"] == 0
    assert lost["look"] >= 1
    assert lost["integers"] >= 5
    assert lost["polish"] >= 1
    assert 0 < len(found.lost) <= 16
    assert found.pool.best(1).violation[0] <= LEGAL
    assert not np.isnan(found.pool.objective).any()
