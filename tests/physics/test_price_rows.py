"""Every lever of hardware and deployment buys something and costs something.

One row per lever: what a change of it improves and what it worsens, with the
power limit out of the way unless it is the subject.
"""

from typing import Any, NamedTuple

import pytest

from codesign.core.paths import get_path
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.serving.design import Design
from tests.physics.designs import preset_design, with_values

FREE_POWER = {"chip__tdp": 1e5, "deployment__power_limit": 1e5}
NOTICEABLE = 1e-4  # relative


class Lever(NamedTuple):
    """A change of one parameter and the metrics it raises (+) or lowers (-)."""

    path: str
    factor: float
    better: dict[str, int]
    worse: dict[str, int]
    chip: str = "h100-sxm"
    model: str = "llama-3-8b"
    given: dict[str, Any] | None = None
    fixed: dict[str, Any] | None = None


def lever(path: str, factor: float, **more: Any) -> Lever:
    return Lever(path, factor, **more)


EIGHT = {"num_chips": 8, "tensor_parallel": 8}
WAFER = {"chip": "wse-3", "model": "llama-3-8b"}
LEVERS = (
    lever(
        "chip.sram.fast_fraction",
        3.0,
        chip="tpu-v4",
        fixed={"chip__sram__bandwidth": 1e18, **FREE_POWER},
        better={"chip.sram_bandwidth": 1, "chip.tile_edge": 1},
        worse={"chip.area": 1, "chip.price": 1},
    ),
    lever(
        "chip.sram.fast_fraction",
        0.15,
        fixed=FREE_POWER,
        given={"prompt_length": 4096.0},
        better={"chip.area": -1, "chip.price": -1},
        worse={
            "chip.tile_edge": -1,
            "chip.delivery_energy": 1,
            "time_to_first_token": 1,
        },
    ),
    lever(
        "chip.sram.capacity",
        20.0,
        chip="tpu-v4",
        fixed=FREE_POWER,
        better={"breakdown.energy.dram": -1, "time_per_output_token": -1},
        worse={"chip.area": 1, "chip.price": 1, "chip.resident_energy": 1},
    ),
    lever(
        "chip.sram.tile_fraction",
        0.05,
        fixed=FREE_POWER,
        better={},
        worse={"breakdown.energy.dram": 1},
        given={"prompt_length": 4096.0},
    ),
    lever(
        "chip.voltage",
        1.15,
        fixed={
            **FREE_POWER,
            "deployment__prefill_voltage": 2.0,
            "deployment__decode_voltage": 2.0,
        },
        better={"time_to_first_token": -1, "chip.peak_compute": 1},
        worse={"energy_per_token": 1, "limits.voltage": 1, "chip.static_power": 1},
    ),
    lever(
        "chip.tdp",
        0.5,
        better={"chip.price": -1, "limits.power_density": -1},
        worse={"time_to_first_token": 1},
        given={"prompt_length": 4096.0},
    ),
    lever(
        "deployment.power_limit",
        0.7,
        better={"energy_per_token": -1, "power": -1},
        worse={"time_to_first_token": 1},
        given={"prompt_length": 4096.0},
    ),
    lever(
        "chip.compute.macs",
        2.0,
        fixed=FREE_POWER,
        better={"time_to_first_token": -1},
        worse={"chip.area": 1, "chip.price": 1, "chip.vector_compute": 1},
    ),
    lever(
        "chip.compute.num_extra_formats",
        2.0,
        better={},
        worse={"chip.area": 1, "chip.price": 1},
    ),
    lever(
        "chip.compute.sparse_rate",
        2.0,
        fixed={
            **FREE_POWER,
            "model__weight_density": 0.5,
            "chip__compute__sparse_rate": 1.0,
        },
        given={"prompt_length": 4096.0},
        better={"time_to_first_token": -1, "breakdown.energy.compute": -1},
        worse={"chip.area": 1, "chip.price": 1},
    ),
    lever(
        "model.weight_density",
        0.5,
        better={"limits.memory": -1, "breakdown.energy.dram": -1},
        worse={},
    ),
    lever(
        "chip.dram.stacks",
        1.4,
        better={"max_batch": 1, "limits.memory": -1},
        worse={
            "chip.area": 1,
            "chip.price": 1,
            "chip.edge_used": 1,
            "chip.memory_power": 1,
        },
    ),
    lever(
        "chip.dram.stack_capacity",
        1.5,
        better={"max_batch": 1, "limits.memory": -1},
        worse={
            "chip.price": 1,
            "chip.memory_power": 1,
            "limits.stack_height": 1,
        },
    ),
    lever(
        "chip.dram.stack_bandwidth",
        1.2,
        better={"limits.dram_pins": -1},
        worse={
            "chip.price": 1,
            "breakdown.energy.dram": 1,
            "limits.pin_speed": 1,
        },
    ),
    lever(
        "chip.dram.generation",
        4 / 3,
        better={
            "breakdown.energy.dram": -1,
            "limits.stack_height": -1,
            "limits.pin_speed": -1,
        },
        worse={"chip.price": 1},
    ),
    lever(
        "chip.dram.bandwidth",
        1.5,
        fixed=FREE_POWER,
        better={"time_per_output_token": -1},
        worse={"limits.dram_pins": 1},
    ),
    lever(
        "chip.link.bandwidth",
        2.0,
        given=EIGHT,
        fixed=FREE_POWER,
        better={"breakdown.step_seconds.link": -1},
        worse={
            "chip.area": 1,
            "chip.edge_used": 1,
            "chip.static_power": 1,
            "chip.price": 1,
        },
    ),
    lever(
        "system.hops",
        4.0,
        given=EIGHT,
        better={},
        worse={"breakdown.step_seconds.link": 1, "time_per_output_token": 1},
    ),
    lever(
        "system.num_chips",
        2.0,
        better={"time_per_output_token": -1},
        worse={"energy_per_token": 1, "usd_per_token": 1, "carbon_per_token": 1},
        given={"num_chips": 8, "tensor_parallel": 1},
    ),
    lever(
        "deployment.batch",
        4.0,
        better={"energy_per_token": -1, "usd_per_token": -1, "throughput": 1},
        worse={"time_per_output_token": 1, "limits.memory": 1},
    ),
    lever(
        "model.num_experts",
        2.0,
        model="qwen3-30b-a3b",
        better={},
        worse={"limits.memory": 1, "time_per_output_token": 1},
    ),
    lever(
        "chip.node",
        0.5,
        fixed=FREE_POWER,
        better={
            "chip.area": -1,
            "chip.mac_energy_16bit": -1,
            "chip.clock": 1,
            "time_to_first_token": -1,
        },
        worse={
            "static density": 1,
            "active density": 1,
            "chip.carbon density": 1,
        },
    ),
    lever(
        "request.prefix_hit_fraction",
        2.0,
        given={"prefix_hit_fraction": 0.4, "prompt_length": 4096.0},
        better={"energy_per_token": -1, "time_to_first_token": -1},
        worse={},
    ),
    lever(
        "model.weight_bits",
        0.5,
        better={"limits.memory": -1, "breakdown.energy.dram": -1},
        worse={},
    ),
    lever(
        "technology.datacenter.facility_price",
        2.0,
        better={},
        worse={"usd_per_token": 1},
    ),
)
ONE_SIDED = {
    "chip.sram.tile_fraction": "its other side is the space of resident bytes, below",
    "chip.compute.num_extra_formats": "its benefit is the rate of that format",
    "system.hops": "set by the topology, not free",
    "model.num_experts": "its benefit is quality, tests/physics/test_prices.py",
    "request.prefix_hit_fraction": "a fact of the demand, not free",
    "model.weight_bits": "its price is quality, tests/physics/test_prices.py",
    "model.weight_density": "its price is quality, tests/physics/test_sparsity.py",
    "technology.datacenter.facility_price": "a constant",
}


def metric(found: Cost, name: str) -> float:
    if name == "static density":
        return float(found.chip.static_power / found.chip.area)
    if name == "active density":
        return float(found.chip.active_power / found.chip.area)
    if name == "chip.carbon density":
        return float(found.chip.carbon / found.chip.area)
    return float(get_path(found, name))


def designs(row: Lever) -> tuple[Design, Design]:
    given = row.given or {}
    before = with_values(
        preset_design(row.chip, row.model, **given), **(row.fixed or {})
    )
    name = row.path.replace(".", "__")
    moved = row.factor * float(get_path(before, row.path))
    return before, with_values(before, **{name: moved})


@pytest.mark.parametrize(
    "row", LEVERS, ids=[f"{i} {r.path}" for i, r in enumerate(LEVERS)]
)
def test_lever_buys_and_costs(row: Lever):
    before, after = (evaluate(design) for design in designs(row))
    assert bool(row.better and row.worse) != (row.path in ONE_SIDED)
    for name, sign in (*row.better.items(), *row.worse.items()):
        old, new = metric(before, name), metric(after, name)
        assert sign * (new - old) > NOTICEABLE * abs(old), f"{name}: {old} to {new}"


def test_a_cache_smaller_than_its_scan_serves_nothing():
    """Twice the cache of an H100 still hits nothing; a scratchpad hits its share."""
    design = preset_design("h100-sxm", "llama-3-8b")
    cached, managed = (
        evaluate(
            with_values(
                design,
                chip__sram__capacity=240e6,
                chip__style__managed_fraction=share,
            )
        ).memory
        for share in (0.0, 1.0)
    )
    assert float(cached.weight_residency) < 1e-6
    wanted = float(managed.weight_bytes)
    weight = 240e6 * float(design.chip.sram.weight_fraction)
    assert float(managed.weight_residency) == pytest.approx(weight / wanted, rel=1e-3)
    assert float(cached.available) < float(managed.available)


@pytest.mark.parametrize("chip", ["tpu-v4", "groqchip1", "wse-3"])
def test_sram_is_shared_out_once(chip: str):
    sram = preset_design(chip, "llama-3-8b").chip.sram
    parts = sram.tile_fraction + sram.weight_fraction + sram.kv_fraction
    assert 0 < float(parts) <= 1


def test_below_the_least_voltage_only_time_is_lost():
    """Dynamic joules stay, static ones grow with the step."""
    design = with_values(preset_design("h100-sxm", "llama-3-8b"), **FREE_POWER)
    least = float(design.chip.style.min_voltage)
    at, below = (
        evaluate(with_values(design, deployment__decode_voltage=f * least)).breakdown
        for f in (1.0, 0.5)
    )
    assert float(below.decode_joules.compute) == pytest.approx(
        float(at.decode_joules.compute)
    )
    assert float(below.decode_joules.static) > float(at.decode_joules.static)


def test_energy_of_a_multiply_falls_with_bits_but_not_quadratically():
    built = evaluate(preset_design("b200-sxm", "llama-3-8b")).chip
    wide, narrow, least = (
        float(alu + built.delivery_energy * bits)
        for alu, bits in (
            (built.mac_energy_16bit, 16),
            (built.mac_energy_8bit, 8),
            (built.mac_energy_4bit, 4),
        )
    )
    assert 0.40 < narrow / wide < 0.60
    assert 0.40 < least / narrow < 0.60


def test_a_product_runs_at_the_rate_of_its_wider_operand():
    """4-bit weights with 16-bit activations save bytes but no arithmetic time."""
    design = with_values(
        preset_design("h100-sxm", "llama-3-8b", prompt_length=8192.0), **FREE_POWER
    )
    narrow = with_values(design, model__weight_bits=4.0, model__activation_bits=16.0)
    both = with_values(design, model__weight_bits=8.0, model__activation_bits=8.0)
    whole, mixed, fast = (
        float(evaluate(d).breakdown.prompt_seconds.compute)
        for d in (design, narrow, both)
    )
    assert mixed > 0.95 * whole
    assert fast < 0.75 * whole


def test_tensor_parallel_copies_the_last_kv_head():
    """8 KV heads over 8 and 16 chips: beyond 8 every chip holds one."""
    sizes = [
        float(
            evaluate(
                preset_design(
                    "gb200-nvl72", "llama-3-70b", num_chips=n, tensor_parallel=n
                )
            ).memory.kv_bytes_per_sequence
        )
        for n in (4, 8, 16)
    ]
    assert sizes[1] == pytest.approx(sizes[0] / 2)
    assert sizes[2] == pytest.approx(sizes[1])


def test_links_beyond_the_domain_are_slower():
    inside, across = (
        evaluate(
            with_values(
                preset_design("gb200-nvl72", "llama-3-70b", num_chips=16),
                system__domain_size=size,
            )
        ).breakdown.step_seconds
        for size in (72.0, 8.0)
    )
    assert float(across.link) > 2 * float(inside.link)


def test_pipeline_of_chips_serves_many_users_for_the_watts_of_one():
    """Groq: static power of all stages all the time, so one user pays for 576 chips."""
    given = {"num_chips": 576, "tensor_parallel": 8, "pipeline_parallel": 72}
    one, many = (
        evaluate(
            with_values(
                preset_design("groqchip1", "llama-2-70b", **given),
                model__weight_bits=8.0,
                deployment__batch=users,
            )
        )
        for users in (1.0, 72.0)
    )
    assert float(many.time_per_output_token) < 1.5 * float(one.time_per_output_token)
    assert float(one.energy_per_token) > 40 * float(many.energy_per_token)
    static = float(one.breakdown.energy.static)
    assert static > 0.8 * float(one.energy_per_token)


def test_padding_to_the_tile_costs_energy_at_small_batch():
    """M is padded to 64 rows on a GPU, to 1 where vectors stream one by one."""
    design = preset_design("h100-sxm", "llama-3-8b", batch=1.0)
    padded, exact = (
        float(
            evaluate(
                with_values(design, chip__style__tile_rows=rows)
            ).breakdown.decode_joules.compute
        )
        for rows in (64.0, 1.0)
    )
    assert padded > 10 * exact


def test_eight_bit_embeddings_do_not_hide_in_four_bit_weights():
    """Head, embedding and norms keep their width, so 4 bit is not a quarter of 16."""
    used = [
        float(
            evaluate(
                with_values(
                    preset_design("h200-sxm", "llama-3-8b"), model__weight_bits=bits
                )
            ).memory.weight_bytes
        )
        for bits in (4.0, 16.0)
    ]
    assert used[0] > 0.3 * used[1]
