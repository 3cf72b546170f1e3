import re
from collections.abc import Callable
from typing import Any, get_type_hints

import hypothesis.strategies as st
import jax.numpy as jnp
import pytest
from hypothesis import given

from codesign.config.chips import load_chip, load_published
from codesign.config.technology import load_technology
from codesign.core.paths import get_path, path_units
from codesign.core.quantities import (
    BASE_UNITS,
    Bytes,
    BytesPerSecond,
    Flop,
    FlopPerSecond,
    Joules,
    Seconds,
    Unit,
    unit_of,
)
from codesign.core.record import Record, part_of
from codesign.cost.evaluate import evaluate
from codesign.cost.load import queue_time
from codesign.cost.money import (
    capital_recovery,
    carbon_bill,
    money_bill,
    server_power,
    usable_power,
)
from codesign.cost.residency import resident_share
from codesign.hardware.anchor import anchor_chip
from codesign.hardware.chip import Chip, Published, System
from codesign.hardware.dram import (
    height_ratio,
    speed_ratio,
    stack_energy,
    stack_price,
)
from codesign.hardware.shoreline import (
    edge_available,
    edge_used,
    stack_edge,
    stack_edge_available,
)
from codesign.hardware.silicon import (
    chip_carbon,
    chip_clock,
    chip_price,
    die_yield,
    model_price,
    power_density_limit,
    resident_energy,
    silicon,
    static_power,
)
from codesign.hardware.store import converter_energy, rewrite_power, store_area
from codesign.hardware.tile import delivery_energy, tile_edge, tile_store
from codesign.hardware.voltage import operating_point
from codesign.model.parameters import count_parameters
from codesign.operators.phases import operator_table
from codesign.serving.design import Design
from codesign.serving.load import StepTokens
from codesign.technology.arithmetic import mac_energy, speed
from codesign.technology.constants import NodeTable, Technology
from codesign.technology.node import at_node
from tests.helpers import (
    assert_follows_units,
    assert_trees_close,
    random_factors,
    random_record,
    rescale_record,
    tree_finite,
    unit_factor,
)
from tests.physics.designs import preset_design

RECORDS = [Technology, Chip, System, Published]
EXPONENTS = st.integers(min_value=-3, max_value=3)


@pytest.mark.parametrize(
    ("text", "dimensions"),
    [
        ("1", {}),
        ("bit", {}),
        ("W", {"J": 1, "s": -1}),
        ("Hz", {"s": -1}),
        ("J/MAC", {"J": 1, "FLOP": -1}),
        ("J/B/m", {"J": 1, "B": -1, "m": -1}),
        ("J/B^1.5", {"J": 1, "B": -1.5}),
        ("m^2*s/B", {"m": 2, "s": 1, "B": -1}),
        ("1/m^2", {"m": -2}),
        ("USD/W", {"USD": 1, "J": -1, "s": 1}),
        ("kgCO2e/token", {"kgCO2e": 1, "token": -1}),
        ("s/s", {}),
    ],
)
def test_unit_text_gives_its_exponents(text: str, dimensions: dict[str, float]):
    assert Unit(text).dimensions == dimensions


@pytest.mark.parametrize("text", ["GB", "furlong", "W//s", "m^", "", "J/ (s)"])
def test_unknown_or_broken_unit_is_named(text: str):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        Unit(text)


@given(st.dictionaries(st.sampled_from(BASE_UNITS), EXPONENTS, min_size=1))
def test_unit_survives_text(exponents: dict[str, int]):
    text = "*".join(f"{base}^{power}" for base, power in exponents.items())
    assert Unit(text).dimensions == {b: p for b, p in exponents.items() if p}


@pytest.mark.parametrize("record_type", [Design, *RECORDS])
def test_every_leaf_declares_a_unit(record_type: type[Record]):
    for name, hint in get_type_hints(record_type, include_extras=True).items():
        is_record = isinstance(hint, type) and issubclass(hint, Record)
        optional = part_of(hint) is not None
        assert is_record or optional or unit_of(hint) is not None, name


@pytest.mark.parametrize("record_type", RECORDS)
def test_rescaling_follows_the_unit_of_each_leaf(record_type: type[Record]):
    factors = random_factors(1)
    record = random_record(record_type)
    scaled = rescale_record(record, factors)
    for path, unit in path_units(record_type).items():
        ratio = get_path(scaled, path) / get_path(record, path)
        assert float(ratio) == pytest.approx(unit_factor(unit, factors)), path


def test_rescaling_by_hand():
    chip = random_record(Chip)
    scaled = rescale_record(chip, {"B": 3.0, "s": 2.0, "J": 5.0, "m": 7.0})
    assert_trees_close(scaled.dram.bandwidth, chip.dram.bandwidth * 3.0 / 2.0)
    assert_trees_close(scaled.tdp, chip.tdp * 5.0 / 2.0)
    assert_trees_close(scaled.dram.phy_area, chip.dram.phy_area * 49.0)
    assert_trees_close(scaled.dram.stacks, chip.dram.stacks)


@pytest.mark.parametrize("record_type", RECORDS)
def test_rescaling_back_restores_the_record(record_type: type[Record]):
    factors = random_factors(2)
    inverse = {base: 1.0 / factor for base, factor in factors.items()}
    record = random_record(record_type)
    assert tree_finite(record)
    assert_trees_close(rescale_record(rescale_record(record, factors), inverse), record)


def test_rescaling_reaches_arrays():
    nodes = random_record(Technology).nodes
    nodes = nodes.replace(wafer_price=jnp.array([4e3, 9e3, 17e3]))
    scaled = rescale_record(nodes, {"USD": 2.0})
    assert_trees_close(scaled.wafer_price, jnp.array([8e3, 18e3, 34e3]))


def _transfer_time(size: Bytes, *, bandwidth: BytesPerSecond) -> Seconds:
    return size / bandwidth


def _wrong_time(work: Flop, *, rate: FlopPerSecond) -> Joules:
    return work / rate


def test_check_passes_a_formula_and_catches_a_wrong_one():
    factors = random_factors(3)
    assert_follows_units(
        _transfer_time, {"size": 6.0, "bandwidth": 3.0}, factors=factors
    )
    with pytest.raises(AssertionError):
        assert_follows_units(_wrong_time, {"work": 6.0, "rate": 3.0}, factors=factors)


KEPT = ("s", "J", "m", "USD", "kgCO2e", "V")
"""Bases that no shape of a model is counted in: FLOP, bytes and tokens are."""

WORKLOADS = [
    ("h100-sxm", "llama-3-70b", {"num_chips": 8.0}),
    ("tpu-v4", "nemotron-nano-9b-v2", {"batch": 300.0}),
    ("b200-sxm", "deepseek-v3", {"num_chips": 8.0, "power_limit": 500.0}),
    ("groqchip1", "llama-3-8b", {"num_chips": 32.0, "pipeline_parallel": 32.0}),
    ("analog-in-memory", "llama-3-8b", {"num_chips": 8.0}),
]


@pytest.fixture(scope="module")
def technology() -> Technology:
    return load_technology()


@pytest.fixture(scope="module")
def chip() -> Chip:
    return load_chip("h100-sxm")


def assert_cost_follows(design: Design, factors: dict[str, float]) -> None:
    """Every leaf scales with its unit; but for rounding where terms cancel."""
    found = evaluate(rescale_record(design, factors))
    expected = rescale_record(evaluate(design), factors)
    assert_trees_close(found.limits, expected.limits, rtol=1e-8, atol=1e-12)
    rest = found.replace(limits=expected.limits)
    assert_trees_close(rest, expected, rtol=1e-8, atol=1e-17)


@pytest.mark.parametrize("seed", [4, 5])
@pytest.mark.parametrize(("chip", "model", "given"), WORKLOADS)
def test_every_metric_follows_its_unit(
    *, chip: str, model: str, given: dict[str, float], seed: int
):
    design = preset_design(chip, model, **given)
    factors = random_factors(seed, bases=KEPT)
    assert_cost_follows(design, factors)


def test_open_loop_follows_its_units():
    design = preset_design("h100-sxm", "llama-3-8b", rate=4.0)
    factors = random_factors(6, bases=KEPT)
    assert_cost_follows(design, factors)


@pytest.mark.parametrize(
    "name", ["h100-sxm", "tpu-v4", "groqchip1", "wse-3", "analog-in-memory"]
)
def test_silicon_follows_its_units_in_every_base(technology: Technology, name: str):
    arguments = {"chip": load_chip(name), "technology": technology}
    assert_follows_units(silicon, arguments, factors=random_factors(7))


def test_anchor_is_a_pure_number(technology: Technology):
    """Bytes per FLOP of the reference GEMM are counted from its shape."""
    factors = random_factors(8, bases=KEPT)
    chip, known = load_chip("h100-sxm"), load_published("h100-sxm")
    scaled = anchor_chip(
        rescale_record(chip, factors),
        rescale_record(known, factors),
        technology=rescale_record(technology, factors),
    )
    assert_trees_close(scaled.anchor, chip.anchor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("node", [2.2e-9, 4e-9, 6.5e-9, 20e-9])
def test_node_table_follows_its_units(technology: Technology, node: float):
    factors = random_factors(9)
    table = technology.nodes
    scaled = rescale_record(table, factors)
    for name, unit in path_units(NodeTable).items():
        plain = at_node(table, getattr(table, name), node=node)
        moved = at_node(scaled, getattr(scaled, name), node=node * factors["m"])
        ratio = unit_factor(unit, factors)
        assert float(moved) == pytest.approx(ratio * float(plain)), name


def test_mac_energy_follows_its_units():
    arguments = {
        "alu": 0.59e-12,
        "delivery": 0.1e-12,
        "stored_bits": 4.25,
        "activation_bits": 8.0,
        "node_factor": 0.7,
    }
    assert_follows_units(mac_energy, arguments, factors=random_factors(10))


def test_speed_is_the_same_ratio_in_any_unit_of_voltage():
    ratios = [
        speed(0.9 * unit, threshold=0.35 * unit)
        / speed(0.6 * unit, threshold=0.35 * unit)
        for unit in (1.0, 1e3)
    ]
    assert float(ratios[0]) == pytest.approx(float(ratios[1]))


def test_parts_of_the_chip_follow_their_units(chip: Chip, technology: Technology):
    factors = random_factors(11)
    base = {"chip": chip, "technology": technology}
    area = {"area": 814e-6}
    cases = {
        static_power: area,
        resident_energy: area,
        edge_used: {},
        edge_available: {"die_area": 814e-6},
        stack_edge_available: {"die_area": 814e-6},
        stack_energy: {},
        stack_price: {},
        height_ratio: {},
        speed_ratio: {},
        tile_edge: {},
        delivery_energy: {},
        chip_clock: {},
        die_yield: {"die_area": 814e-6},
        chip_price: {**area, "yielded": 0.8},
        chip_carbon: {**area, "yielded": 0.8},
    }
    for function, more in cases.items():
        assert_follows_units(function, {**base, **more}, factors=factors)
    cells = {"chip": load_chip("analog-in-memory")}
    for function in (converter_energy, rewrite_power):
        assert_follows_units(function, cells, factors=factors)
    for function in (store_area, model_price, power_density_limit):
        both = {**cells, "technology": technology}
        assert_follows_units(function, both, factors=factors)
    for function in (stack_edge, tile_store):
        assert_follows_units(function, {"chip": chip}, factors=factors)
    assert_follows_units(operating_point, {"chip": chip, "drive": 0.7}, factors=factors)
    assert_follows_units(operating_point, {"chip": chip, "drive": 0.3}, factors=factors)


def test_money_and_load_follow_their_units():
    factors = random_factors(12)
    design = preset_design()
    built = silicon(design.chip, design.technology)
    year = 365 * 86400.0
    cases = [
        (capital_recovery, {"rate": 0.1 / year, "lifetime": 5 * year}),
        (server_power, {"design": design, "power": 500.0}),
        (usable_power, {"design": design}),
        (money_bill, {"design": design, "built": built, "power": 500.0, "plug": 700.0}),
        (carbon_bill, {"design": design, "built": built, "plug": 700.0}),
        (
            queue_time,
            {"rate": 2.0, "slots": 8.0, "service": 3.0, "variation": 1.0},
        ),
    ]
    for function, arguments in cases:
        assert_follows_units(function, arguments, factors=factors)


def test_bytes_of_sram_and_share_follow_their_units(chip: Chip):
    factors = random_factors(13)
    assert_follows_units(
        resident_share,
        {"chip": chip, "wanted": 70e6, "fraction": 0.3, "sharpness": None},
        factors=factors,
    )


@pytest.mark.parametrize(("chip", "model", "given"), WORKLOADS)
def test_work_does_not_move_with_seconds_joules_or_meters(
    *, chip: str, model: str, given: dict[str, float]
):
    design = preset_design(chip, model, **given)
    scaled = rescale_record(design, random_factors(14, bases=KEPT))
    step = StepTokens(
        sequences=8.0,
        context=700.0,
        prefill_tokens=512.0,
        prompts=2.0,
        prefill_context=128.0,
    )
    assert_trees_close(
        operator_table(scaled, step), operator_table(design, step), rtol=1e-12
    )
    assert_trees_close(
        count_parameters(scaled.model), count_parameters(design.model), rtol=0.0
    )


@pytest.mark.parametrize("wanted", [static_power, silicon, chip_price, queue_time])
def test_return_annotations_carry_units(wanted: Callable[..., Any]):
    """Else the checks above would compare nothing."""
    hint = get_type_hints(wanted, include_extras=True)["return"]
    assert unit_of(hint) is not None or issubclass(hint, Record)
