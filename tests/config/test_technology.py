import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.chips import chip_info
from codesign.config.records import ValueInfo
from codesign.config.stacks import stack_info
from codesign.config.technology import (
    link_values,
    list_kinds,
    load_style,
    load_technology,
    memory_values,
    store_values,
    style_values,
    technology_values,
)
from codesign.core.errors import UnknownNameError
from codesign.core.paths import path_units
from codesign.technology.constants import Technology
from codesign.technology.node import at_node

PJ_PER_BIT = 8e-12


def assert_documented(values: dict[str, ValueInfo]) -> None:
    """Every value is finite, has source and status, and lies in its own spread."""
    for path, info in values.items():
        assert info.source, f"{path} has no source"
        assert info.status, f"{path} has no status"
        value = np.asarray(info.value, np.float64)
        assert np.all(np.isfinite(value)), path
        if info.low is not None:
            assert np.all(np.asarray(info.low) <= value * (1 + 1e-9)), path
            assert np.all(value <= np.asarray(info.high) * (1 + 1e-9)), path


def test_every_constant_has_unit_source_and_status():
    values = technology_values()
    assert set(values) == set(path_units(Technology))
    assert_documented(values)


@pytest.mark.parametrize("kind", ["styles", "memory", "links", "stores"])
def test_every_kind_is_documented(kind: str):
    read = {
        "styles": style_values,
        "memory": memory_values,
        "links": link_values,
        "stores": store_values,
    }
    for name in list_kinds(kind):
        assert_documented(read[kind](name))


def test_every_value_of_chips_and_stacks_is_documented():
    for name in list_presets("chips"):
        values = chip_info(name).values
        assert_documented(values)
        assert all(v.confidence in {"A", "B", "C"} for v in values.values()), name
    for name in list_presets("stacks"):
        assert_documented(stack_info(name).values)


def test_nodes_ascend_and_shrinking_helps():
    nodes = load_technology().nodes
    size = nodes.node.shape
    assert bool(jnp.all(jnp.diff(nodes.node) > 0))
    for column in (
        nodes.logic_area_factor,
        nodes.sram_area_factor,
        nodes.dynamic_energy_factor,
    ):
        assert column.shape == size
        assert bool(jnp.all(jnp.diff(column) >= 0))
        assert float(at_node(nodes, column, node=7e-9)) == pytest.approx(1.0)
    for column in (nodes.wafer_price, nodes.fab_carbon):
        assert bool(jnp.all(jnp.diff(column) <= 0))


def test_ends_of_the_node_table():
    nodes = load_technology().nodes
    assert float(nodes.node[0]) == pytest.approx(2e-9)
    assert float(nodes.node[-1]) == pytest.approx(28e-9)
    price = float(at_node(nodes, nodes.wafer_price, node=28e-9))
    assert price == pytest.approx(2891.0)


def test_fab_carbon_follows_from_energy_gas_and_materials():
    """ACT: kWh/cm^2 x 642 g/kWh + gas + 500 g/cm^2 of materials."""
    act = {28: (0.9, 137.5), 14: (1.2, 162.5), 7: (2.15, 275.0)}
    act |= {5: (2.75, 327.5), 3: (3.25, 372.5)}
    nodes = load_technology().nodes
    for node, (energy, gas) in act.items():
        expected = (energy * 642 + gas + 500) / 1000 / 1e-4
        found = float(at_node(nodes, nodes.fab_carbon, node=node * 1e-9))
        assert found == pytest.approx(expected, rel=0.01)


def test_sram_law_meets_its_anchors():
    """7.5, 8.5 and 14 pJ per 64 bit at 8, 32 and 1024 KiB (ISCA 2021)."""
    sram = load_technology().sram
    for kibibytes, picojoules in ((8, 7.5), (32, 8.5), (1024, 14.0)):
        energy = sram.bank_energy + sram.bank_energy_root * np.sqrt(kibibytes * 1024)
        assert float(energy) / PJ_PER_BIT == pytest.approx(picojoules / 64, rel=0.1)


def test_memory_energy_of_measured_chips():
    """Device and path: 89 pJ/B on H100, 72 pJ/B on B200, fitted to served rows."""
    for style, memory, expected in (
        ("gpu-hopper", "hbm3", 89e-12),
        ("gpu-blackwell", "hbm3e", 72e-12),
    ):
        total = float(load_style(style).path_energy) + (
            memory_values(memory)["device_energy"].value
        )
        assert total == pytest.approx(expected, rel=0.02)


def test_each_memory_generation_is_faster_and_cheaper_to_read():
    kinds = [memory_values(f"hbm{g}") for g in ("2", "2e", "3", "3e", "4")]
    bandwidth = [kind["stack_bandwidth"].value for kind in kinds]
    energy = [kind["device_energy"].value for kind in kinds]
    assert bandwidth == sorted(bandwidth)
    assert energy == sorted(energy, reverse=True)
    kept = {"cooling_factor"}
    nothing = {p: v.value for p, v in memory_values("none").items() if p not in kept}
    assert not any(nothing.values())


def test_styles_are_possible():
    for name in list_kinds("styles"):
        style = load_style(name)
        assert style.threshold_voltage < style.min_voltage < style.reference_voltage
        assert style.reference_voltage < style.max_voltage
        parts = ("tile", "weight", "kv")
        shares = [style_values(name)[f"partition.{p}_fraction"].value for p in parts]
        assert 0 < sum(shares) <= 1
        fractions = ("managed", "vector", "idle_lane")
        assert all(0 <= float(getattr(style, f"{f}_fraction")) <= 1 for f in fractions)


def test_unknown_style_names_the_nearest():
    with pytest.raises(UnknownNameError, match="gpu-hopper"):
        load_style("gpu-hoper")
