import csv
from pathlib import Path

import jax.numpy as jnp
import pytest
from jax import Array

from codesign.config.catalogue import find_preset, list_aliases, list_presets
from codesign.config.chips import chip_info, load_chip, load_published, load_system
from codesign.config.stacks import load_stack
from codesign.config.technology import load_technology
from codesign.core.errors import BoundsError, InputError, UnknownNameError
from codesign.core.quantities import unit_of
from codesign.core.record import field_units
from codesign.core.solve import rising_root
from codesign.hardware.chip import Chip
from codesign.hardware.silicon import silicon
from codesign.hardware.voltage import operating_point
from codesign.serving.stack import Stack

CHIPS = list_presets("chips")
STACKS = list_presets("stacks")


def sustained_gemm(chip: Chip, bits: int) -> float:
    """Rate of a large square GEMM at the power limit, kernel efficiency included."""
    technology = load_technology()
    built = silicon(chip, technology)
    faster = {16: 1.0, 8: chip.compute.rate_8bit}[bits]
    alu = {16: built.mac_energy_16bit, 8: built.mac_energy_8bit}[bits]
    rate = technology.arithmetic.kernel_efficiency * built.peak_compute * faster
    stream = built.dram_energy + built.path_energy

    def power(drive: Array) -> Array:
        point = operating_point(chip, drive)
        running = rate * point.clock_factor
        return (
            built.static_power * point.static_factor
            + built.memory_power
            + built.active_power * point.dynamic_factor * point.clock_factor
            + running / 2 * (alu + bits * built.delivery_energy) * point.dynamic_factor
            + running * 3 * bits / 16 / 8192 * stream
        )

    drive = rising_root(lambda v: power(v) - chip.tdp, low=0.0, high=chip.voltage)
    return float(rate * operating_point(chip, drive).clock_factor)


@pytest.mark.parametrize("name", CHIPS)
def test_anchored_chip_is_the_published_chip(name: str):
    chip, known = load_chip(name), load_published(name)
    built = silicon(chip, load_technology())
    idle = built.static_power + built.memory_power
    for derived, published in (
        (built.area, known.area),
        (idle, known.static_power),
        (built.price, known.price),
        (built.sram_bandwidth, known.sram_bandwidth),
    ):
        if bool(jnp.isfinite(published)):
            assert float(derived) == pytest.approx(float(published), rel=1e-6)


@pytest.mark.parametrize("name", CHIPS)
def test_chip_keeps_its_datasheet(name: str):
    chip, values = load_chip(name), chip_info(name).values
    peak = silicon(chip, load_technology()).peak_compute
    sheet = {
        key.removeprefix("parameters."): info.value for key, info in values.items()
    }
    assert float(peak) == pytest.approx(sheet["peak_compute_16bit"], rel=1e-9)
    assert float(chip.dram.bandwidth) == pytest.approx(sheet["dram_bandwidth"])
    streamed = chip.dram.stacks * chip.dram.stack_bandwidth
    assert float(streamed) == pytest.approx(sheet["dram_bandwidth"])
    assert all(leaf.dtype == jnp.float64 for leaf in (chip.tdp, chip.link.energy))
    shares = chip.sram.tile_fraction + chip.sram.weight_fraction + chip.sram.kv_fraction
    assert 0 < float(shares) <= 1


def test_known_figures_of_an_h100():
    chip = load_chip("h100-sxm")
    assert float(chip.dram.stacks * chip.dram.stack_capacity) == pytest.approx(80e9)
    assert float(chip.compute.macs) == pytest.approx(132 * 2048, rel=0.002)
    assert float(chip.compute.rate_8bit) == pytest.approx(2.0, rel=0.01)
    assert float(chip.compute.rate_4bit) == pytest.approx(float(chip.compute.rate_8bit))


@pytest.mark.parametrize(
    ("name", "bits", "published", "tolerance"),
    [
        ("a100-sxm-80gb", 16, 271.2e12, 0.001),
        ("h100-sxm", 16, 794.5e12, 0.001),
        ("b200-sxm", 16, 1745e12, 0.001),
        ("mi300x", 16, 668.4e12, 0.001),
        ("h100-sxm", 8, 1402.6e12, 0.18),
        ("h200-sxm", 8, 1453.4e12, 0.15),
        ("b200-sxm", 8, 3432.5e12, 0.10),
    ],
)
def test_sustained_gemm_at_the_power_limit(
    *, name: str, bits: int, published: float, tolerance: float
):
    """16 bit holds by construction of the anchor; 8 bit follows from the style.

    8-bit rows also entered the fit of delivery_energy. Known errors: H100 +15 %,
    H200 +11 %, B200 +4 %; the tolerances bound these, they are not a forecast.
    """
    found = sustained_gemm(load_chip(name), bits)
    assert found == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize(
    ("name", "published"),
    [("h100-sxm", 3320.0), ("b200-sxm", 6400.0), ("mi300x", 5300.0)],
)
def test_bill_of_material_before_anchoring(name: str, published: float):
    """Published: Raymond James via Epoch AI, Epoch AI, Silicon Analysts.

    Known errors: H100 -7 %, B200 -15 %, MI300X +21 %; the tolerance bounds them.
    Package and test prices stem from the same bills: consistency, not validation.
    """
    chip = load_chip(name)
    price = silicon(chip, load_technology()).price * jnp.exp(-chip.anchor.price)
    cost = float(price * (1 - chip.style.gross_margin))
    assert cost == pytest.approx(published, rel=0.25)


def test_derived_die_areas_before_anchoring():
    """Published areas (grade A or B): mean error 14 %, worst 40 % (MTIA v1).

    Most dies were in the area fit; benchmarks/silicon.py leaves each one out.
    """
    residuals = [
        abs(float(load_chip(name).anchor.area))
        for name in CHIPS
        if (known := chip_info(name).values.get("published.area"))
        and known.confidence in {"A", "B"}
    ]
    assert len(residuals) > 20
    assert max(residuals) < 0.42
    assert sum(residuals) / len(residuals) < 0.15


def test_chips_without_dram_have_none():
    for name in ("groqchip1", "groq3", "wse-2", "wse-3", "gc200"):
        dram = load_chip(name).dram
        assert float(dram.stacks) == pytest.approx(0.0)
        assert float(dram.bandwidth) == pytest.approx(0.0)


def test_names_and_aliases_are_unique_and_matched_without_case():
    folded = [name.casefold() for name in (*CHIPS, *list_aliases("chips"))]
    assert len(folded) == len(set(folded))
    for name in CHIPS:
        assert chip_info(name).name == name
    assert find_preset("chips", "h100").stem == "h100-sxm"
    assert find_preset("chips", "a100-sxm4-40gb").stem == "a100-sxm-40gb"


def test_chips_of_the_measured_rows_are_known(shared_data: Path):
    for file in ("serving.csv", "serving_latency.csv"):
        with (shared_data / file).open(encoding="utf-8") as rows:
            names = {row["gpu"] for row in csv.DictReader(rows)}
        for name in names:
            assert find_preset("chips", name).is_file()


def test_unknown_chip_names_the_nearest_and_the_command():
    with pytest.raises(UnknownNameError) as caught:
        load_chip("h100-smx")
    assert "h100-sxm" in str(caught.value)
    assert "codesign presets" in str(caught.value)


def test_system_counts_its_chips():
    system = load_system("h100-sxm", num_chips=16)
    assert float(system.num_chips) == pytest.approx(16.0)
    assert float(system.domain_size) == pytest.approx(8.0)
    assert float(system.outer_bandwidth) == pytest.approx(50e9)
    with pytest.raises(BoundsError, match="at least 1"):
        load_system("h100-sxm", num_chips=0)


def test_default_stack_of_every_chip_exists():
    for name in CHIPS:
        assert chip_info(name).stack in STACKS


@pytest.mark.parametrize("name", STACKS)
def test_stacks_are_possible(name: str):
    stack, units = load_stack(name), dict(field_units(Stack))
    for field, unit in units.items():
        value = float(getattr(stack, field))
        assert value >= 0
        if field.endswith(("_efficiency", "_fraction")):
            assert 0 < value <= 1, field
        if unit.text == "s":
            assert value < (0.1 if field == "request_time" else 0.01), field
    assert unit_of(Stack.__annotations__["layer_time"]).text == "s"


def test_ideal_stack_has_no_overhead():
    stack = load_stack("ideal")
    times = [name for name, unit in field_units(Stack) if unit.text == "s"]
    assert all(float(getattr(stack, name)) == pytest.approx(0.0) for name in times)
    assert float(stack.dram_efficiency) == pytest.approx(1.0)


CUSTOM = """\
name: mine
style: gpu-hopper
memory: hbm3e
link: nvlink
stack: ideal
system: {domain_size: 8, outer_bandwidth: 50 GB/s, outer_latency: 5 us, hops: 1}
parameters:
  node: 3 nm
  tdp: 500 W
  clock: 1.5 GHz
  peak_compute_16bit: 600 TFLOP/s
  dies: 1
  stacks: 4
  stack_capacity: 36 GB
  dram_bandwidth: 4 TB/s
  sram_capacity: 256 MiB
  sram_bandwidth: 40 TB/s
  fast_fraction: 0.3
  link_bandwidth: 400 GB/s
"""


def test_own_chip_from_a_file(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(CUSTOM, encoding="utf-8")
    chip = load_chip(path)
    assert float(chip.compute.rate_4bit) == pytest.approx(1.0)
    assert float(chip.dram.stack_bandwidth) == pytest.approx(1e12)
    assert float(chip.anchor.area) == pytest.approx(0.0)
    assert float(chip.anchor.price) == pytest.approx(0.0)


def test_all_problems_of_a_file_are_named_at_once(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    broken = (
        CUSTOM.replace("  tdp: 500 W", "  tpd: 500 W")
        .replace("4 TB/s", "4 TB")
        .replace("clock: 1.5 GHz", "clock: 1.5")
        .replace("style: gpu-hopper", "style: gpu-hoper")
    )
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_chip(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    text = "\n".join(lines)
    assert "mine.yaml:9  parameters.tpd: unknown key. Did you mean tdp?" in text
    assert "missing key: tdp" in text
    assert 'mine.yaml:2  style: no style is called "gpu-hoper"' in text
    assert "is an amount of data; parameters.dram_bandwidth is a bandwidth" in text
    assert "parameters.clock needs a unit" in text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name: [", "not valid YAML"),
        ("name: a\nname: b\n", "mine.yaml:2"),
        ("- a\n- b\n", "expected a mapping"),
        ("name: mine\n", "missing keys: style, memory, link, stack"),
        ("name: mine\nstyle: {a: 1}\n", "style"),
    ],
)
def test_broken_files_say_where(*, tmp_path: Path, text: str, found: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.yaml") as caught:
        load_chip(path)
    assert found in str(caught.value)


def test_missing_file_is_an_input_error(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        load_chip(tmp_path / "absent.yaml")
