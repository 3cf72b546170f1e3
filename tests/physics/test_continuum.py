"""From a cache to all weights on chip: one set of equations without a jump."""

import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.chips import chip_info, load_chip, load_published
from codesign.config.technology import load_technology
from codesign.cost.evaluate import evaluate
from codesign.hardware.anchor import anchor_chip
from codesign.hardware.silicon import silicon
from codesign.serving.design import Design
from tests.helpers import assert_trees_close
from tests.physics.designs import (
    COSTS,
    METRICS,
    box_point,
    box_rows,
    joint_box,
    preset_design,
    with_values,
)

LIMITS_OF_SHIPPED = (
    "power_density",
    "shoreline",
    "dram_pins",
    "stack_height",
    "pin_speed",
    "voltage",
)
PINNED = {"published.area", "published.price", "published.static_power"}
SMALLEST, LARGEST = 50e6, 60e9
GRID = 1536
RIDGE = 15e3  # W, below the power of the largest SRAM, above its static power


def scratchpad(**values: float) -> Design:
    """One TPU-like chip with Llama-3-8B, SRAM bandwidth in proportion to size."""
    design = preset_design("tpu-v4", "llama-3-8b", batch=16.0)
    # Bandwidth follows from the size of the SRAM, and no power limit binds.
    fixed = {"chip__sram__bandwidth": 1e18, "chip__tdp": 1e5}
    return with_values(design, deployment__power_limit=1e5, **(fixed | values))


def sweep(
    kind: str, *, low: float = SMALLEST, high: float = LARGEST
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of SRAM sizes on a fine grid, costs and their slopes there."""
    index = joint_box().index("chip.sram.capacity")
    grid = np.linspace(np.log(low), np.log(high), GRID)
    points = np.tile(box_point(scratchpad()), (GRID, 1))
    points[:, index] = grid
    along = np.zeros_like(points)
    along[:, index] = 1.0
    values, slopes = box_rows(scratchpad(), points, directions=along, kind=kind)
    return grid, values[:, : len(COSTS)], slopes[:, : len(COSTS)]


def test_residency_goes_from_none_to_all():
    shares = [
        float(evaluate(scratchpad(chip__sram__capacity=c)).memory.weight_residency)
        for c in np.geomspace(SMALLEST, LARGEST, 24)
    ]
    assert shares[0] < 0.01
    assert shares[-1] == pytest.approx(1.0)
    assert (np.diff(shares) >= 0).all()


@pytest.mark.parametrize("kind", ["hard", "smooth"])
def test_costs_have_no_jump(kind: str):
    grid, values, slopes = sweep(kind)
    rise, step = np.diff(values, axis=0), grid[1] - grid[0]
    assert np.abs(rise).max() < 0.03
    steepest = np.maximum(abs(slopes[1:]), abs(slopes[:-1]))
    assert (np.abs(rise) <= 1.02 * steepest * step + 1e-5).all()


@pytest.mark.parametrize("name", COSTS)
def test_slope_has_no_jump_in_the_smooth_model(name: str):
    """Around its steepest turn a slope changes less the finer one looks."""
    column = METRICS.index(name)
    grid, _, slopes = sweep("smooth")
    turns = np.abs(np.diff(slopes[:, column]))
    worst = int(turns.argmax())
    _, _, closer = sweep(
        "smooth", low=np.exp(grid[worst]), high=np.exp(grid[worst + 1])
    )
    left = np.abs(np.diff(closer[:, column])).max()
    assert left < 0.1 * turns[worst] + 1e-9


def test_resident_weights_save_time_and_memory_energy():
    few, all_ = (
        evaluate(scratchpad(chip__sram__capacity=c)).breakdown
        for c in (SMALLEST, LARGEST)
    )
    assert float(all_.decode_seconds.memory) < 0.1 * float(few.decode_seconds.memory)
    dram = [float(x.energy.dram + x.energy.path) for x in (few, all_)]
    assert dram[1] < 0.05 * dram[0]
    assert float(all_.energy.sram) > float(few.energy.sram)


def test_slopes_are_finite_from_gpu_to_lpu_across_the_ridge_of_the_power_limit():
    """With a governor: its limit binds at some sizes of the SRAM and not at others."""
    index = joint_box().index("chip.sram.capacity")
    grid = np.linspace(np.log(SMALLEST), np.log(LARGEST), 64)
    design = with_values(scratchpad(chip__tdp=RIDGE), deployment__power_limit=RIDGE)
    points = np.tile(box_point(design), (len(grid), 1))
    points[:, index] = grid
    along = np.zeros_like(points)
    along[:, index] = 1.0
    values, slopes = box_rows(design, points, directions=along, kind="governed")
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()
    power = values[:, METRICS.index("limits.prefill_power")]
    assert (power <= 1e-9).all()
    assert (power > -1e-9).any()
    assert (power < -1e-3).any()


@pytest.mark.parametrize("name", list_presets("chips"))
def test_anchored_preset_is_the_published_chip(name: str):
    technology, known = load_technology(), load_published(name)
    built = silicon(load_chip(name), technology)
    pairs = {
        "area": (built.area, known.area),
        "price": (built.price, known.price),
        "idle power": (built.static_power + built.memory_power, known.static_power),
    }
    given = {what: pair for what, pair in pairs.items() if jnp.isfinite(pair[1])}
    named = {p for p in chip_info(name).values if p.startswith("published.")}
    assert len(given) == len(named & PINNED)
    for what, (derived, published) in given.items():
        assert float(derived) == pytest.approx(float(published), rel=1e-9), what


@pytest.mark.parametrize("name", list_presets("chips"))
def test_anchoring_twice_changes_nothing(name: str):
    once = load_chip(name)
    twice = anchor_chip(once, load_published(name), technology=load_technology())
    assert_trees_close(twice, once, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list_presets("chips"))
def test_candidate_with_the_parameters_of_a_preset_is_the_preset(name: str):
    chip = load_chip(name)
    free = {
        "chip__sram__capacity": chip.sram.capacity,
        "chip__dram__stacks": chip.dram.stacks,
        "chip__dram__bandwidth": chip.dram.bandwidth,
        "chip__compute__macs": chip.compute.macs,
        "chip__link__bandwidth": chip.link.bandwidth,
        "chip__tdp": chip.tdp,
        "chip__node": chip.node,
        "chip__sram__fast_fraction": chip.sram.fast_fraction,
        "chip__dram__stack_capacity": chip.dram.stack_capacity,
        "chip__dram__stack_bandwidth": chip.dram.stack_bandwidth,
        "chip__dram__generation": chip.dram.generation,
    }
    given = preset_design(name, "llama-3-8b")
    moved = with_values(given, **{path: 1.7 * value for path, value in free.items()})
    candidate = with_values(moved, **free)
    assert_trees_close(evaluate(candidate), evaluate(given), rtol=0.0)


def test_limits_of_an_existing_chip_do_not_exclude_it():
    for name in list_presets("chips"):
        found = evaluate(preset_design(name, "llama-3-8b")).limits
        for limit in LIMITS_OF_SHIPPED:
            assert float(getattr(found, limit)) <= 1e-9, f"{name}: {limit}"
