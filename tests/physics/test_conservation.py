"""What is counted in parts adds up to the whole."""

import jax
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.chips import load_chip
from codesign.config.technology import load_technology
from codesign.core.record import Record
from codesign.cost.evaluate import evaluate
from codesign.cost.money import server_power
from codesign.cost.record import Cost
from codesign.hardware.silicon import silicon
from codesign.serving.design import Design
from tests.helpers import tree_finite
from tests.physics.designs import preset_design, with_values

CASES = {
    "dense": ("h100-sxm", "llama-3-70b", {"num_chips": 8}),
    "expert": ("b200-sxm", "qwen3-235b-a22b", {"num_chips": 8, "expert_parallel": 8.0}),
    "latent": ("h200-sxm", "deepseek-v3", {"num_chips": 16, "pipeline_parallel": 2.0}),
    "window": ("mi300x", "gemma-3-27b", {"batch": 7.0}),
    "recurrent": ("tpu-v4", "nemotron-nano-9b-v2", {"num_chips": 4, "batch": 300.0}),
    "pipeline": (
        "groqchip1",
        "llama-3-8b",
        {"num_chips": 32, "pipeline_parallel": 32.0},
    ),
    "long": ("a100-sxm-80gb", "llama-3-8b", {"prompt_length": 32768.0}),
    "throttled": ("h100-sxm", "llama-3-8b", {"power_limit": 250.0, "batch": 512.0}),
}


def case(name: str) -> Design:
    chip, model, given = CASES[name]
    return preset_design(chip, model, **given)


def found(name: str) -> Cost:
    return evaluate(case(name))


def summed(bill: Record) -> float:
    return float(sum(jax.tree.leaves(bill)))


each_case = pytest.mark.parametrize("name", CASES)


@each_case
def test_money_and_carbon_parts_sum(name: str):
    cost, design = found(name), case(name)
    assert summed(cost.breakdown.usd) == pytest.approx(float(cost.usd_per_second))
    chips = float(design.system.num_chips)
    per_token = chips / float(cost.throughput)
    assert per_token * summed(cost.breakdown.usd) == pytest.approx(
        float(cost.usd_per_token)
    )
    assert per_token * summed(cost.breakdown.carbon) == pytest.approx(
        float(cost.carbon_per_token)
    )


def test_idle_hours_are_paid_by_the_hours_of_work():
    """At half utilisation: twice the capital, and the idle joules of another hour."""
    full = found("dense")
    half = evaluate(with_values(case("dense"), technology__datacenter__utilization=0.5))
    assert float(half.breakdown.usd.chip) == pytest.approx(
        2 * float(full.breakdown.usd.chip)
    )
    assert float(half.power) == pytest.approx(float(full.power))
    idle = float(full.chip.static_power + full.chip.memory_power)
    per_token = 8 / float(full.throughput)
    assert float(half.energy_per_token - full.energy_per_token) == pytest.approx(
        idle * per_token
    )
    assert float(half.breakdown.carbon.embodied) == pytest.approx(
        2 * float(full.breakdown.carbon.embodied)
    )


@each_case
def test_energy_parts_sum_to_energy_per_token(name: str):
    cost = found(name)
    parts = jax.tree.leaves(cost.breakdown.energy)
    assert all(float(part) >= 0 for part in parts)
    assert sum(map(float, parts)) == pytest.approx(float(cost.energy_per_token))


@each_case
def test_decode_and_prefill_shares_sum_to_energy_per_token(name: str):
    cost = found(name)
    shares = cost.breakdown.decode_energy, cost.breakdown.prefill_energy
    assert all(float(share) >= 0 for share in shares)
    assert sum(map(float, shares)) == pytest.approx(float(cost.energy_per_token))


@each_case
def test_seconds_sum_to_the_mean_step(name: str):
    cost = found(name)
    parts = jax.tree.leaves(cost.breakdown.step_seconds)
    assert all(float(part) >= 0 for part in parts)
    assert sum(map(float, parts)) == pytest.approx(float(cost.time_per_output_token))


@each_case
def test_mean_power_lies_between_idle_and_the_hottest_step(name: str):
    """``prefill_power`` is that of the hotter of the steps with prefill."""
    cost = found(name)
    bill = cost.breakdown
    decode = summed(bill.decode_joules) / summed(bill.decode_seconds)
    assert decode == pytest.approx(float(cost.decode_power))
    idle = float(cost.chip.memory_power)
    hottest = max(float(cost.decode_power), float(cost.prefill_power))
    assert idle < float(cost.power) <= hottest * (1 + 1e-9)


@each_case
def test_energy_per_token_is_power_over_throughput(name: str):
    design, cost = case(name), found(name)
    chips = float(design.system.num_chips)
    tokens = float(cost.throughput)
    assert float(cost.energy_per_token) == pytest.approx(
        chips * float(cost.power) / tokens
    )
    assert float(cost.energy_per_token_server) == pytest.approx(
        chips * float(cost.power_server) / tokens
    )
    assert float(cost.throughput) == pytest.approx(
        float(cost.batch) / float(cost.time_per_output_token)
    )
    assert float(cost.energy_per_request) == pytest.approx(
        float(cost.energy_per_token) * float(design.request.output_length)
    )


@each_case
def test_boundaries_enclose_each_other(name: str):
    design, cost = case(name), found(name)
    assert float(cost.power_server) > float(cost.power)
    assert float(cost.power_server) == pytest.approx(
        float(server_power(design, cost.power))
    )
    overhead = float(design.technology.datacenter.power_usage_effectiveness)
    ratio = float(cost.energy_per_token_facility / cost.energy_per_token_server)
    assert ratio == pytest.approx(overhead)


@each_case
def test_request_latency_is_first_token_and_the_others(name: str):
    design, cost = case(name), found(name)
    others = (float(design.request.output_length) - 1) * float(
        cost.time_per_output_token
    )
    assert float(cost.request_latency) == pytest.approx(
        float(cost.time_to_first_token) + others
    )


@each_case
def test_every_metric_is_finite_and_shares_are_shares(name: str):
    cost = found(name)
    assert tree_finite(cost)
    for share in (
        cost.memory.weight_residency,
        cost.memory.kv_residency,
        cost.chip.yield_fraction,
    ):
        assert 0.0 <= float(share) <= 1.0


@pytest.mark.parametrize("chip", list_presets("chips"))
def test_sram_is_not_used_twice(chip: str):
    sram = load_chip(chip).sram
    shares = [sram.tile_fraction, sram.weight_fraction, sram.kv_fraction]
    assert all(0.0 <= float(share) <= 1.0 for share in shares)
    assert sum(map(float, shares)) <= 1.0 + 1e-12


@pytest.mark.parametrize("chip", list_presets("chips"))
def test_area_parts_sum_to_the_die(chip: str):
    given = load_chip(chip)
    built = silicon(given, load_technology())
    parts = built.compute_area + built.sram_area + built.phy_area + built.store_area
    scale = np.exp(float(given.anchor.area))
    assert float(built.area) == pytest.approx(scale * float(parts))
    assert float(built.die_area * given.dies) == pytest.approx(float(built.area))


@each_case
def test_memory_in_use_is_weights_and_cache(name: str):
    memory = found(name).memory
    # The peak holds at least the mean cache.
    assert float(memory.used) >= float(memory.weight_bytes + memory.kv_bytes)
    assert float(memory.kv_bytes) >= 0


@each_case
def test_all_chips_are_paid_and_powered(name: str):
    """Twice the chips at twice the batch: the same step, energy and price per token."""
    design = case(name)
    twice = with_values(
        design,
        system__num_chips=2 * design.system.num_chips,
        deployment__batch=2 * design.deployment.batch,
    )
    one, two = evaluate(design), evaluate(twice)
    for metric in (
        "time_per_output_token",
        "energy_per_token",
        "usd_per_token",
        "carbon_per_token",
        "power",
    ):
        assert float(getattr(two, metric)) == pytest.approx(
            float(getattr(one, metric)), rel=1e-9
        ), metric
    assert float(two.throughput) == pytest.approx(2 * float(one.throughput))
    assert float(two.max_batch) == pytest.approx(2 * float(one.max_batch))


@pytest.mark.parametrize("name", [name for name in CASES if name != "throttled"])
def test_idle_replicas_do_not_come_free(name: str):
    """Twice the chips at the same batch never cost less per token.

    But under a tight power limit they may, since each runs less throttled.
    """
    design = case(name)
    twice = with_values(design, system__num_chips=2 * design.system.num_chips)
    one, two = evaluate(design), evaluate(twice)
    assert float(two.energy_per_token) >= float(one.energy_per_token) * (1 - 1e-9)
    assert float(two.usd_per_token) >= float(one.usd_per_token) * (1 - 1e-9)
