"""Every chip of the library runs a language model that it can hold."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from codesign.config.catalogue import find_preset, list_aliases, list_presets
from codesign.config.chips import chip_info, load_chip
from codesign.config.design import build_design
from codesign.config.yaml import read_yaml
from codesign.cost.evaluate import evaluate

CLAIMED = (
    "A100-SXM4-40GB",
    "H100",
    "DGX H100",
    "H200",
    "B200",
    "GB200 NVL72",
    "MI300X",
    "TPU v4",
    "TPU v5e",
    "TPU v6e",
    "Inferentia2",
    "Trainium2",
    "Groq LPU",
    "Groq 3",
    "CS-3",
    "Wormhole",
    "Blackhole",
    "SN40L",
    "M4 Max",
    "Qualcomm Cloud AI 100",
    "L4",
    "RTX 4090",
)
"""Systems that the project's claims name."""

LARGEST_SYSTEM = 1024.0
STRUCTURAL = (
    "memory",
    "power_density",
    "shoreline",
    "dram_pins",
    "stack_area",
    "adc_bits",
    "voltage",
    "chips",
)


class Run(NamedTuple):
    """A deployment that a system was published with."""

    model: str
    num_chips: float
    tensor_parallel: float
    pipeline_parallel: float
    bits: float


SYSTEMS = {
    "groqchip1": Run("llama-2-70b", 576.0, 8.0, 72.0, 8.0),
    "groq3": Run("llama-3-70b", 256.0, 8.0, 32.0, 8.0),
    "wse-3": Run("llama-3-70b", 4.0, 1.0, 4.0, 16.0),
    "wse-2": Run("llama-3-8b", 1.0, 1.0, 1.0, 16.0),
    "sn40l": Run("llama-3.1-405b", 16.0, 16.0, 1.0, 16.0),
    "h100-sxm": Run("llama-3-70b", 8.0, 8.0, 1.0, 16.0),
    "gb200-nvl72": Run("deepseek-v3", 72.0, 8.0, 1.0, 8.0),
    "gc200": Run("llama-3-8b", 64.0, 4.0, 16.0, 8.0),
    "analog-in-memory": Run("llama-3-8b", 16.0, 8.0, 2.0, 4.0),
    "weights-in-rom": Run("llama-3-8b", 2.0, 2.0, 1.0, 4.0),
    "inhouse-asic": Run("llama-3-70b", 4.0, 4.0, 1.0, 4.0),
    "dram-on-logic": Run("llama-3-8b", 1.0, 1.0, 1.0, 16.0),
}


def smallest_run(name: str) -> Run:
    """Llama-3-8B in 8 bit (12 GB with head and cache) on as few chips as hold it."""
    chip = load_chip(name)
    dram = float(chip.dram.stacks * chip.dram.stack_capacity)
    chips = 2.0 ** max(0, math.ceil(math.log2(13e9 / (0.9 * dram))))
    return Run("llama-3-8b", chips, min(chips, 8.0), max(1.0, chips / 8), 8.0)


@pytest.mark.parametrize("name", list_presets("chips"))
def test_chip_runs_a_model_that_it_holds(name: str):
    run = SYSTEMS.get(name) or smallest_run(name)
    assert run.num_chips <= LARGEST_SYSTEM
    found = evaluate(
        build_design(
            chip=name,
            model=run.model,
            num_chips=run.num_chips,
            tensor_parallel=run.tensor_parallel,
            pipeline_parallel=run.pipeline_parallel,
            expert_parallel=8.0 if run.model == "deepseek-v3" else 1.0,
            batch=8.0,
            prompt_length=512.0,
            output_length=256.0,
            overrides=[f"model.weight_bits={run.bits}"],
        )
    )
    for limit in STRUCTURAL:
        assert float(getattr(found.limits, limit)) <= 1e-9, limit
    for metric in ("energy_per_token", "usd_per_token", "carbon_per_token"):
        assert 0 < float(getattr(found, metric)) < math.inf, metric
    chip = load_chip(name)
    rate = max(float(chip.dram.bandwidth), float(chip.sram.bandwidth))
    fastest = float(found.memory.weight_bytes) * run.pipeline_parallel / rate
    assert float(found.time_per_output_token) > 0.9 * fastest
    assert float(found.power) <= float(chip.tdp) * (1 + 1e-9)


@pytest.mark.parametrize("name", CLAIMED)
def test_claimed_system_is_in_the_library(name: str):
    assert find_preset("chips", name).is_file()


def test_every_chip_of_the_data_has_a_preset(shared_data: Path):
    titles = {_key(a) for a in (*list_presets("chips"), *list_aliases("chips"))}
    with (shared_data / "accelerators.csv").open(encoding="utf-8") as rows:
        names = {row["name"] for row in csv.DictReader(rows)}
    missing = {n for n in names if not _shortened(n) & titles}
    assert not missing


def _key(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _shortened(name: str) -> set[str]:
    """A name, what stands before its bracket, and what stands in it."""
    head, _, rest = name.partition("(")
    return {_key(text) for text in (name, head, rest, f"{head}sxm")}


def test_presets_agree_with_the_data(shared_data: Path):
    """Power, memory and 16-bit rate; a preset that takes another says so."""
    stems = {_key(n): n for n in list_presets("chips")}
    stems |= {_key(alias): stem for alias, stem in list_aliases("chips").items()}
    columns = {"tdp_w": ("tdp", 1.0), "bf16_tflops": ("peak_compute_16bit", 1e12)}
    with (shared_data / "accelerators.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            found = [stems[k] for k in _shortened(row["name"]) if k in stems]
            if not found:
                continue
            values = chip_info(found[0]).values
            for column, (path, scale) in columns.items():
                if row[column]:
                    value = values[f"parameters.{path}"].value
                    assert np.isclose(value, float(row[column]) * scale), row["name"]
            if row["mem_stacks"]:
                stacks = float(row["mem_stacks"])
                assert np.isclose(values["parameters.stacks"].value, stacks)


@pytest.mark.parametrize("kind", ["chips", "models", "stacks"])
def test_aliases_are_those_of_the_parsed_files(kind: str):
    whole = {
        alias: name
        for name in list_presets(kind)
        for alias in read_yaml(find_preset(kind, name)).data.get("aliases") or []
    }
    assert list_aliases(kind) == whole
