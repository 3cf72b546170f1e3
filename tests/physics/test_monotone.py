"""More of a resource is never slower, never smaller and never cheaper."""

import itertools

import jax
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.core.paths import get_path
from codesign.cost.record import Cost
from codesign.hardware.silicon import Silicon
from codesign.serving.design import Design
from tests.physics.designs import (
    costs_along,
    preset_design,
    silicon_along,
    with_values,
)

CHIPS = list_presets("chips")
FACTORS = np.geomspace(0.5, 4.0, 7)
SLACK = 1e-9


def swept(design: Design, path: str, *, factors: np.ndarray = FACTORS) -> list[Cost]:
    """Costs with one parameter multiplied by each factor."""
    return costs_along(design, **column(design, path, factors=factors))


def column(design: Design, path: str, *, factors: np.ndarray) -> dict[str, np.ndarray]:
    """One parameter multiplied by each factor, by the name that replaces it."""
    return {path.replace(".", "__"): float(get_path(design, path)) * factors}


def with_dram(chip: str) -> str:
    """The chip, where it has off-chip memory."""
    if not preset_design(chip, "llama-3-8b").chip.dram.stacks:
        pytest.skip("the chip has no off-chip memory")
    return chip


def decode_seconds(found: Cost) -> float:
    return sum(float(part) for part in jax.tree.leaves(found.breakdown.decode_seconds))


def assert_falls(values: list[float], what: str) -> None:
    for before, after in itertools.pairwise(values):
        assert after <= before * (1 + SLACK), f"{what} rises: {values}"


def assert_rises(values: list[float], what: str) -> None:
    for before, after in itertools.pairwise(values):
        assert after >= before * (1 - SLACK), f"{what} falls: {values}"


@pytest.mark.parametrize("batch", [1.0, 64.0, 1024.0])
@pytest.mark.parametrize("chip", CHIPS)
def test_more_memory_bandwidth_is_never_slower(chip: str, batch: float):
    """Power out of the way: prefill steps share one voltage, set by the hottest.

    Under a power limit a faster memory may heat one of them and slow the other.
    """
    design = preset_design(with_dram(chip), "llama-3-8b", batch=batch)
    free = with_values(design, chip__tdp=1e5, deployment__power_limit=1e5)
    costs = swept(free, "chip.dram.bandwidth")
    assert_falls([decode_seconds(c) for c in costs], "decode time")
    for metric in ("time_to_first_token", "time_per_output_token"):
        assert_falls([float(getattr(c, metric)) for c in costs], metric)


@pytest.mark.parametrize("path", ["chip.tdp", "deployment.power_limit"])
@pytest.mark.parametrize("chip", CHIPS)
def test_more_power_is_never_slower(chip: str, path: str):
    """Both limits from half to four times the TDP, the other one out of the way."""
    other = {"chip.tdp": "deployment.power_limit", "deployment.power_limit": "chip.tdp"}
    design = preset_design(chip, "llama-3-8b", batch=256.0)
    free = with_values(design, **{other[path].replace(".", "__"): 1e5})
    costs = swept(free, path)
    assert_falls([decode_seconds(c) for c in costs], "decode time")
    for metric in ("time_to_first_token", "time_per_output_token"):
        assert_falls([float(getattr(c, metric)) for c in costs], metric)


@pytest.mark.parametrize("kind", ["decode", "prefill"])
@pytest.mark.parametrize("chip", CHIPS)
def test_higher_voltage_ceiling_is_never_slower(chip: str, kind: str):
    design = preset_design(chip, "llama-3-8b", batch=256.0)
    path = f"deployment.{kind}_voltage"
    costs = swept(design, path, factors=np.linspace(0.4, 1.2, 9))
    assert_falls([decode_seconds(c) for c in costs], "decode time")
    for metric in ("time_to_first_token", "time_per_output_token"):
        assert_falls([float(getattr(c, metric)) for c in costs], metric)


@pytest.mark.parametrize("chip", CHIPS)
def test_faster_silicon_is_faster_when_power_allows(chip: str):
    design = with_values(
        preset_design(chip, "llama-3-8b", batch=256.0),
        chip__tdp=1e6,
        deployment__power_limit=1e6,
    )
    voltages = np.linspace(0.66, 0.95, 6)
    volts = costs_along(
        design,
        chip__voltage=voltages,
        deployment__decode_voltage=voltages,
        deployment__prefill_voltage=voltages,
    )
    first = [float(c.time_to_first_token) for c in volts]
    assert_falls(first, "time to first token")
    prompt = volts[0].breakdown.prompt_seconds
    computing = float(prompt.compute) > 0.1 * sum(map(float, jax.tree.leaves(prompt)))
    assert first[-1] < (0.99 if computing else 1 + SLACK) * first[0]
    assert_rises([float(c.power) for c in volts], "power")


@pytest.mark.parametrize("path", ["chip.compute.macs", "chip.link.bandwidth"])
@pytest.mark.parametrize("chip", ["h100-sxm", "tpu-v4"])
def test_more_units_and_links_are_never_slower_when_power_allows(chip: str, path: str):
    """Units with their SRAM: more of them around the same store have smaller tiles."""
    design = with_values(
        preset_design(chip, "llama-3-70b", num_chips=8, batch=256.0),
        chip__tdp=1e6,
        deployment__power_limit=1e6,
    )
    names = [path, "chip.sram.capacity"] if "macs" in path else [path]
    columns = [column(design, name, factors=FACTORS) for name in names]
    costs = costs_along(design, **dict(itertools.chain(*(c.items() for c in columns))))
    for metric in ("time_to_first_token", "time_per_output_token"):
        assert_falls([float(getattr(c, metric)) for c in costs], metric)


def built(chip: str, path: str) -> list[Silicon]:
    """Silicon of a chip with one parameter from half to four times its value."""
    design = preset_design(chip, "llama-3-8b")
    return silicon_along(design, **column(design, path, factors=FACTORS))


@pytest.mark.parametrize(
    "path", ["chip.sram.capacity", "chip.compute.macs", "chip.link.bandwidth"]
)
@pytest.mark.parametrize("chip", CHIPS)
def test_more_area_is_never_cheaper(chip: str, path: str):
    chips = built(chip, path)
    assert_rises([float(c.area) for c in chips], "area")
    assert float(chips[-1].area) > float(chips[0].area)
    assert_rises([float(c.price) for c in chips], "price")
    assert_rises([float(c.carbon) for c in chips], "carbon")
    assert_rises([float(c.static_power) for c in chips], "static power")
    assert_falls([float(c.yield_fraction) for c in chips], "yield")


@pytest.mark.parametrize("chip", CHIPS)
def test_more_stacks_hold_more_and_cost_more(chip: str):
    chips = built(with_dram(chip), "chip.dram.stacks")
    beside = float(preset_design(chip, "llama-3-8b").chip.dram.edge) > 0
    edge = ("edge_used",) if beside else ()
    for metric in ("dram_capacity", "area", "price", "carbon", *edge):
        values = [float(getattr(c, metric)) for c in chips]
        assert_rises(values, metric)
        assert values[-1] > values[0], metric
    costs = swept(preset_design(chip, "llama-3-8b"), "chip.dram.stacks")
    assert_rises([float(c.max_batch) for c in costs], "largest batch")


@pytest.mark.parametrize("model", ["llama-3-8b", "qwen3-30b-a3b", "deepseek-v3"])
@pytest.mark.parametrize("path", ["weight_bits", "kv_bits", "head_bits"])
def test_more_bits_are_never_fewer_bytes(model: str, path: str):
    """Nor less time, where kernels of every width are equally good."""
    design = with_values(
        preset_design("h200-sxm", model, num_chips=8),
        stack__time_factor_16bit=1.0,
        stack__time_factor_8bit=1.0,
        stack__time_factor_4bit=1.0,
    )
    bits = np.array([3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 12.0, 16.0])
    costs = costs_along(design, **{f"model__{path}": bits})
    for metric in ("weight_bytes", "kv_bytes", "used"):
        assert_rises([float(getattr(c.memory, metric)) for c in costs], metric)
    assert float(costs[-1].memory.used) > float(costs[0].memory.used)
    assert_rises([float(c.breakdown.energy.dram) for c in costs], "DRAM energy")
    assert_falls([float(c.max_batch) for c in costs], "largest batch")
    assert_rises([decode_seconds(c) for c in costs], "decode time")


@pytest.mark.parametrize("model", ["llama-3-8b", "qwen3-30b-a3b", "gemma-3-12b"])
@pytest.mark.parametrize("chip", CHIPS)
def test_bigger_batch_gives_more_tokens_per_second(chip: str, model: str):
    """Up to what the memory holds.

    But for 7 % at the edge of a tile, and 16 % where mixed steps outgrow a graph.
    """
    design = preset_design(with_dram(chip), model, prompt_length=64.0)
    one = np.ones(1)
    most = costs_along(design, deployment__batch=one)[0].max_batch
    largest = min(4096.0, float(most))
    if largest < 8.0:
        pytest.skip("the model does not fit")
    batches = np.unique(np.floor(np.geomspace(1.0, largest, 12)))
    costs = costs_along(design, deployment__batch=batches)
    speed = [float(c.throughput) for c in costs]
    best = np.maximum.accumulate(speed)
    prompts = batches / 256.0 / -np.expm1(-batches / 256.0)
    outgrown = batches + 64.0 * prompts > float(design.stack.graph_tokens)
    assert (speed >= np.where(outgrown, 0.84, 0.93) * best).all(), speed
    assert speed[-1] > 4 * speed[0]
    assert_rises([float(c.time_per_output_token) for c in costs], "time per token")


@pytest.mark.parametrize("chip", CHIPS)
def test_longer_context_is_never_faster(chip: str):
    costs = swept(
        preset_design(with_dram(chip), "llama-3-8b"),
        "request.prompt_length",
        factors=2.0 ** np.arange(6),
    )
    assert_rises([decode_seconds(c) for c in costs], "decode time")
    assert_rises([float(c.time_to_first_token) for c in costs], "time to first token")
    assert_rises([float(c.energy_per_token) for c in costs], "energy")
    assert_rises([float(c.memory.kv_bytes) for c in costs], "cache")


def test_prefix_hits_save_prefill_but_no_cache():
    design = preset_design("h100-sxm", "llama-3-8b", prompt_length=8192.0)
    shares = np.array([0.0, 0.3, 0.6, 0.9])
    costs = costs_along(design, request__prefix_hit_fraction=shares)
    assert_falls([float(c.time_to_first_token) for c in costs], "time to first token")
    assert_falls([float(c.energy_per_token) for c in costs], "energy")
    caches = [float(c.memory.kv_bytes) for c in costs]
    assert caches == pytest.approx([caches[0]] * len(caches))


def test_older_node_is_larger_and_takes_more_energy():
    design = preset_design("h100-sxm", "llama-3-8b")
    nodes = np.array([2e-9, 2.5e-9, 3e-9, 4e-9, 5e-9, 7e-9, 12e-9, 16e-9, 28e-9])
    chips = silicon_along(design, chip__node=nodes)
    for metric in ("area", "mac_energy_16bit", "delivery_energy"):
        assert_rises([float(getattr(c, metric)) for c in chips], metric)
