"""The chip that is written reads back, and a design on it is priced with it."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import jax.numpy as jnp
import pytest

from codesign.config.chips import chip_info, load_chip
from codesign.config.design import build_design
from codesign.config.technology import load_technology
from codesign.config.yaml import yaml_text
from codesign.cost.evaluate import evaluate
from codesign.hardware.anchor import dense_mac_energy
from codesign.hardware.silicon import silicon
from codesign.measure.device import Device
from codesign.measure.documents import chip_document, with_energies
from codesign.measure.energies import Energies, expected_energies, fit_energies
from codesign.measure.kernels import SHARED, Kernel
from tests.measure.rows import CORES, NARROW_RATE, TRUE, WIDE_RATE, kernels

LIKE = "h100-sxm"


def written(
    folder: Path, rows: list[Kernel], *, own: bool = False, expected: Energies = TRUE
) -> Path:
    preset = LIKE if own else ""
    device = Device("Test", "gpu", memory=80e9, meter=None, preset=preset)
    chip = chip_document(device, rows, name="mine", like=LIKE, stack="ideal")
    path = folder / "chip.yaml"
    chip = with_energies(chip, fit_energies(rows, expected))
    path.write_text(yaml_text(chip), encoding="utf-8")
    return path


def energy_per_token(chip: Path, *, bits: int) -> float:
    design = build_design(
        chip=chip,
        model="llama-3-8b",
        stack="ideal",
        batch=256,
        prompt_length=1024,
        output_length=64,
        overrides=[f"model.weight_bits={bits}", f"model.activation_bits={bits}"],
    )
    return float(evaluate(design).energy_per_token)


def test_measured_energies_read_back(tmp_path: Path):
    path = written(tmp_path, kernels())
    chip = load_chip(path)
    built = silicon(chip, load_technology())
    narrow = dense_mac_energy(built, bits=8) * jnp.exp(chip.anchor.mac_energy_8bit)
    idle = built.static_power + built.memory_power
    for found, true in (
        (idle, TRUE.static),
        (dense_mac_energy(built, bits=16), TRUE.mac_16bit),
        (narrow, TRUE.mac_8bit),
        (built.bank_energy, TRUE.bank_byte),
        (built.resident_energy, TRUE.resident_byte),
    ):
        assert float(found) == pytest.approx(float(true), rel=0.01)
    values = chip_info(path).values
    for name in ("mac_energy_16bit", "mac_energy_8bit", "bank_energy"):
        assert values[f"published.{name}"].status == "measured"


def test_measured_rates_read_back(tmp_path: Path):
    chip = load_chip(written(tmp_path, kernels()))
    built = silicon(chip, load_technology())
    assert float(built.peak_compute) == pytest.approx(WIDE_RATE, rel=1e-3)
    assert float(chip.compute.rate_8bit) == pytest.approx(
        NARROW_RATE / WIDE_RATE, rel=1e-3
    )
    assert float(chip.compute.num_extra_formats) == 1
    assert float(built.sram_bandwidth) == pytest.approx(CORES, rel=1e-3)


def test_eight_bits_that_are_no_faster_are_no_format_of_the_chip(tmp_path: Path):
    path = written(tmp_path, kernels(narrow=0.9 * WIDE_RATE))
    assert "parameters.peak_compute_8bit" not in chip_info(path).values
    assert "published.mac_energy_8bit" not in chip_info(path).values
    assert float(load_chip(path).compute.rate_8bit) == 1


def test_a_removed_loop_is_neither_a_bandwidth_nor_an_energy(tmp_path: Path):
    rows = [replace(k, seconds=1e-6) if k.kind == SHARED else k for k in kernels()]
    path = written(tmp_path, rows)
    assert float(load_chip(path).sram.bandwidth) < CORES
    assert "published.bank_energy" not in chip_info(path).values


def test_a_chip_of_the_library_keeps_its_data_sheet(tmp_path: Path):
    path = written(tmp_path, kernels(), own=True)
    given, found = load_chip(LIKE), load_chip(path)
    assert float(found.compute.rate_8bit) == float(given.compute.rate_8bit)
    assert float(found.sram.bandwidth) == float(given.sram.bandwidth)
    assert "published.mac_energy_8bit" in chip_info(path).values


def test_without_a_meter_energies_are_those_of_the_preset(tmp_path: Path):
    dark = [replace(kernel, power=math.nan) for kernel in kernels()]
    chip = load_chip(written(tmp_path, dark))
    assert float(chip.anchor.mac_energy_8bit) == 0
    assert float(chip.anchor.bank_energy) == 0
    assert float(chip.anchor.resident_energy) == 0
    assert "published.static_power" not in chip_info(tmp_path / "chip.yaml").values


def test_a_measured_mac_of_eight_bits_moves_designs_in_eight_bits_only(tmp_path: Path):
    costs: dict[float, list[float]] = {}
    for factor in (1.0, 2.0):
        energies = replace(TRUE, mac_8bit=factor * float(TRUE.mac_8bit))
        chip = written(tmp_path, kernels(true=energies), expected=energies)
        costs[factor] = [energy_per_token(chip, bits=bits) for bits in (8, 16)]
    assert costs[2.0][0] > 1.02 * costs[1.0][0]
    assert costs[2.0][1] == pytest.approx(costs[1.0][1], rel=1e-3)


def test_kernels_of_a_chip_as_expected_change_nothing(tmp_path: Path):
    """Powers that the model itself expects lead back to its energies."""
    bare = load_chip(written(tmp_path, kernels()))
    expected = expected_energies(silicon(bare, load_technology()))
    true = Energies(**{**asdict(expected), "static": 140.0})
    path = written(tmp_path, kernels(true=true), expected=expected)
    again = expected_energies(silicon(load_chip(path), load_technology()))
    for name in ("byte", "resident_byte", "bank_byte", "mac_16bit"):
        assert getattr(again, name) == pytest.approx(getattr(expected, name), rel=1e-3)
