"""Where one effect rules alone, the answer can be worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from codesign.config.catalogue import list_presets
from codesign.config.stacks import load_stack
from codesign.core.compiler import cpu_options
from codesign.core.paths import get_path
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.cost.total import cost
from codesign.model.parameters import count_parameters
from codesign.serving.design import Design
from tests.physics.designs import (
    COSTS,
    METRICS,
    box_point,
    box_values,
    preset_design,
    with_values,
)

FAST = {
    "chip__dram__bandwidth": 1e30,
    "chip__sram__bandwidth": 1e30,
    "chip__anchor__sram_bandwidth": 40.0,
}

WITHOUT_TILES = {f"chip__style__tile_{edge}": 1.0 for edge in ("rows", "cols", "inner")}
SHARPEST = 2.0**56
UNLIMITED = {"chip__tdp": 1e60, "deployment__power_limit": 1e60}


def ideal(design: Design) -> Design:
    """The same design under software without any loss, power unlimited."""
    return with_values(
        design.replace(stack=load_stack("ideal")),
        chip__tdp=1e6,
        deployment__power_limit=1e6,
    )


def seconds(found: Cost) -> float:
    """Time of a decode step without prefill."""
    return sum(float(part) for part in jax.tree.leaves(found.breakdown.decode_seconds))


def prompt_power(found: Cost) -> float:
    """Mean power of the step that prefills a waiting prompt."""
    bill = found.breakdown
    joules, duration = map(jax.tree.leaves, (bill.prompt_joules, bill.prompt_seconds))
    return float(sum(joules)) / float(sum(duration))


def large_batch() -> Design:
    """Compute-bound decode: Llama-3-8B on an ideal H100, short context."""
    return ideal(
        preset_design(
            "h100-sxm",
            "llama-3-8b",
            batch=4096.0,
            prompt_length=16.0,
            output_length=16.0,
        )
    )


def test_infinite_bandwidth_leaves_arithmetic():
    design = with_values(large_batch(), **FAST, **WITHOUT_TILES)
    found = evaluate(design)
    bill = found.breakdown.decode_seconds
    assert float(bill.memory) < 1e-9 * seconds(found)
    weights = count_parameters(design.model)
    matrices = float(weights.active - weights.embedding - weights.norm)
    flops = 2 * matrices * 4096
    assert float(bill.compute) == pytest.approx(
        flops / float(found.chip.peak_compute), rel=0.02
    )


def test_infinite_compute_leaves_bytes():
    bandwidth = float(large_batch().chip.dram.bandwidth)
    fast = {**FAST, "chip__dram__bandwidth": bandwidth, "chip__compute__macs": 1e30}
    design = with_values(large_batch(), **(fast | UNLIMITED))
    found = evaluate(design)
    bill = found.breakdown.decode_seconds
    assert float(bill.compute + bill.vector) < 1e-9 * seconds(found)
    slower = with_values(design, chip__dram__bandwidth=bandwidth / 2)
    assert seconds(evaluate(slower)) == pytest.approx(2 * seconds(found), rel=1e-6)


def test_infinite_chip_leaves_software():
    fast = {**FAST, "chip__compute__macs": 1e30, "chip__link__bandwidth": 1e30}
    design = with_values(
        preset_design("h100-sxm", "llama-3-70b", num_chips=8),
        **(fast | UNLIMITED),
    )
    bill = evaluate(design).breakdown.decode_seconds
    assert float(bill.compute + bill.memory + bill.vector) < 1e-12
    stack, layers = design.stack, float(design.model.num_layers)
    host = layers * stack.layer_time + stack.step_time + 64 * stack.sequence_time
    assert float(bill.host) == pytest.approx(float(host))
    # Two all-reduces per layer.
    each = stack.collective_time + design.system.hops * design.chip.link.hop_latency
    assert float(bill.link) == pytest.approx(2 * layers * float(each))


def test_single_user_decode_is_bytes_over_bandwidth():
    design = ideal(
        preset_design(
            "h200-sxm", "llama-3-70b", batch=1.0, prompt_length=64.0, output_length=64.0
        )
    )
    found = evaluate(with_values(design, model__weight_bits=8.0))
    weights = count_parameters(design.model)
    read = float(weights.active - weights.embedding - weights.head) + 2 * float(
        weights.head
    )
    assert read == pytest.approx(70e9, rel=0.02)
    assert seconds(found) == pytest.approx(
        read / float(design.chip.dram.bandwidth), rel=0.03
    )


def test_real_software_is_slower_than_ideal():
    for chip in list_presets("chips"):
        design = preset_design(chip, "llama-3-8b", batch=1.0)
        assert seconds(evaluate(design)) > seconds(evaluate(ideal(design)))


def test_young_software_takes_all_its_time_longer():
    """Time of every part, and no dynamic energy more, under no power limit."""
    design = with_values(preset_design("h100-sxm", "llama-3-8b"), **UNLIMITED)
    old, young = (
        evaluate(with_values(design, stack__maturity=factor)) for factor in (1.0, 1.25)
    )
    assert seconds(young) == pytest.approx(1.25 * seconds(old))
    assert float(young.time_per_output_token) == pytest.approx(
        1.25 * float(old.time_per_output_token)
    )
    energies = young.breakdown.energy, old.breakdown.energy
    assert float(energies[0].dram) == pytest.approx(float(energies[1].dram))
    assert float(energies[0].static) == pytest.approx(1.25 * float(energies[1].static))


@pytest.mark.parametrize("batch", [1.0, 8.0, 333.0])
def test_all_experts_active_is_a_dense_model(batch: float):
    dense = ideal(preset_design("h100-sxm", "llama-3-8b", batch=batch))
    experts = with_values(
        dense,
        model__num_experts=8.0,
        model__num_active_experts=8.0,
        model__expert_size=dense.model.ffn_size / 8,
    )
    one, other = evaluate(dense), evaluate(experts)
    # The router is all that is added: 8 columns beside 3 x 14336, padded to a tile.
    assert seconds(other) == pytest.approx(seconds(one), rel=5e-3)
    for part in ("compute", "dram", "path", "static"):
        assert float(getattr(other.breakdown.energy, part)) == pytest.approx(
            float(getattr(one.breakdown.energy, part)), rel=1e-2
        ), part
    assert float(other.memory.weight_bytes) == pytest.approx(
        float(one.memory.weight_bytes), rel=1e-3
    )


def test_single_chip_sends_nothing():
    for model in ("llama-3-8b", "qwen3-30b-a3b", "nemotron-nano-9b-v2"):
        found = evaluate(preset_design("h100-sxm", model))
        assert float(found.breakdown.step_seconds.link) == 0.0
        assert float(found.breakdown.energy.link) == 0.0


def test_tensor_parallel_chips_do_send():
    found = evaluate(preset_design("h100-sxm", "llama-3-8b", num_chips=2))
    assert float(found.breakdown.step_seconds.link) > 0.0
    assert float(found.breakdown.energy.link) > 0.0


@pytest.mark.parametrize("share", [1.0, 0.6])
@pytest.mark.parametrize("chip", list_presets("chips"))
def test_power_stays_within_the_limit(chip: str, share: float):
    for batch in (1.0, 8.0, 64.0, 512.0, 4096.0):
        design = preset_design(chip, "llama-3-8b", batch=batch)
        limit = share * float(design.chip.tdp)
        found = evaluate(with_values(design, deployment__power_limit=limit))
        assert float(found.decode_power) <= limit * (1 + 1e-9), batch
        assert float(found.prefill_power) <= limit * (1 + 1e-9), batch
        assert float(found.power) <= limit * (1 + 1e-9), batch
        assert prompt_power(found) <= limit * (1 + 1e-9), batch


def test_governor_gives_back_voltages_that_are_allowed():
    design = preset_design("h100-sxm", "llama-3-70b", num_chips=8, power_limit=450.0)
    found = evaluate(design)
    chosen = with_values(
        design,
        deployment__decode_voltage=found.decode_voltage,
        deployment__prefill_voltage=found.prefill_voltage,
    )
    again = evaluate(chosen)
    direct = box_values(chosen, box_point(chosen)[None], kind="hard")[0]
    for metric in ("energy_per_token_server", "time_per_output_token", "usd_per_token"):
        expected = pytest.approx(float(getattr(found, metric)), rel=1e-9)
        assert float(getattr(again, metric)) == expected
        assert np.exp(direct[METRICS.index(metric)]) == expected


def test_memory_bound_decode_does_not_slow_with_the_clock():
    design = ideal(preset_design("h100-sxm", "llama-3-8b", batch=1.0))
    slow = with_values(design, deployment__decode_voltage=0.66)
    assert seconds(evaluate(slow)) == pytest.approx(seconds(evaluate(design)), rel=0.01)
    assert float(evaluate(slow).decode_power) < float(evaluate(design).decode_power)


@pytest.fixture(scope="module")
def smooth_errors() -> list[float]:
    """Largest log-distance of smooth from hard costs, at rising sharpness."""
    ready = [
        settled(design)
        for design in (
            preset_design("h100-sxm", "llama-3-70b", num_chips=8),
            preset_design("b200-sxm", "qwen3-30b-a3b", batch=96.0),
            preset_design("tpu-v4", "nemotron-nano-9b-v2", batch=5.0),
        )
    ]

    def costs(design: Design, kind: str) -> np.ndarray:
        return box_values(design, box_point(design)[None], kind=kind)[0, : len(COSTS)]

    def sharp(design: Design) -> Array:
        found = cost(design, sharpness=SHARPEST)
        return jnp.log(jnp.stack([get_path(found, name) for name in COSTS]))

    run = jax.jit(sharp, compiler_options=cpu_options(level=0))
    exact = [costs(design, "hard") for design in ready]
    found = [
        [costs(design, "smooth") for design in ready],
        [run(design) for design in ready],
    ]
    return [float(np.abs(np.stack(values) - exact).max()) for values in found]


def settled(design: Design) -> Design:
    """The design at the voltages that its governor sets."""
    found = evaluate(design)
    return with_values(
        design,
        deployment__decode_voltage=found.decode_voltage,
        deployment__prefill_voltage=found.prefill_voltage,
    )


def test_smooth_model_is_close_to_the_hard_one(smooth_errors: list[float]):
    assert 0.0 < smooth_errors[0] < 0.10


def test_smooth_model_tends_to_the_hard_one(smooth_errors: list[float]):
    """Slowly where a shape ends just above a tile: a step rises with p^(1/8)."""
    assert smooth_errors[1] < 1e-3


def open_loop(rate: float, **given: float) -> Design:
    """Llama-3-8B on one H100 with an arrival rate."""
    return preset_design("h100-sxm", "llama-3-8b", rate=rate, **given)


@pytest.mark.parametrize("rate", [0.5, 4.0, 16.0])
def test_settled_batch_obeys_littles_law(rate: float):
    found = evaluate(open_loop(rate))
    assert 0 < float(found.batch) < float(found.max_batch)
    length = float(open_loop(rate).request.output_length)
    served = length * float(found.time_per_output_token)
    assert float(found.batch) == pytest.approx(rate * served, rel=1e-9)


@pytest.mark.parametrize("rate", [0.5, 4.0, 16.0])
@pytest.mark.parametrize("prompt", [1024.0, 16384.0])
def test_as_many_tokens_leave_as_are_asked_for(rate: float, prompt: float):
    """In a steady state throughput is the rate times the output length."""
    design = open_loop(rate / (prompt / 1024.0), prompt_length=prompt)
    found = evaluate(design)
    asked = float(design.request.rate * design.request.output_length)
    assert float(found.throughput) == pytest.approx(asked, rel=0.01)


@pytest.mark.parametrize("rate", [0.5, 4.0, 16.0])
def test_open_and_closed_loop_agree(rate: float):
    found = evaluate(open_loop(rate))
    closed = evaluate(
        with_values(open_loop(rate), request__rate=0.0, deployment__batch=found.batch)
    )
    assert float(closed.queue_time) == 0.0
    for metric in ("energy_per_token", "time_per_output_token", "usd_per_token"):
        assert float(getattr(closed, metric)) == pytest.approx(
            float(getattr(found, metric)), rel=1e-9
        )
    assert float(closed.time_to_first_token) == pytest.approx(
        float(found.time_to_first_token - found.queue_time)
    )


def test_queue_grows_with_the_rate():
    waits = [float(evaluate(open_loop(rate)).queue_time) for rate in (0.5, 4.0, 30.0)]
    assert waits[0] < 1e-6
    assert waits[0] <= waits[1] <= waits[2]


def test_without_arrivals_nobody_waits():
    for chip in ("h100-sxm", "tpu-v4"):
        assert float(evaluate(preset_design(chip, "llama-3-8b")).queue_time) == 0.0


def test_rare_requests_read_the_weights_once_per_token():
    """A server that is idle most of the time does not stream weights meanwhile."""
    rare = evaluate(open_loop(0.01)).breakdown.energy
    single = evaluate(preset_design("h100-sxm", "llama-3-8b", batch=1.0))
    alone = single.breakdown.energy
    assert float(rare.dram) <= 1.01 * float(alone.dram)
    assert float(rare.static) > 2 * float(alone.static)


def test_rare_requests_are_as_fast_as_a_single_user():
    rare = seconds(evaluate(open_loop(0.01)))
    single = seconds(evaluate(preset_design("h100-sxm", "llama-3-8b", batch=1.0)))
    assert rare == pytest.approx(single, rel=0.02)


def test_activations_beyond_their_share_of_the_sram_go_to_dram():
    """What a step keeps on chip cannot exceed the SRAM left for activations."""
    design = ideal(
        preset_design("tpu-v4", "llama-3-8b", batch=1.0, prompt_length=8192.0)
    )
    sram = {"tile_fraction": 0.5, "weight_fraction": 0.3, "kv_fraction": 0.1}
    tiny = with_values(
        design,
        chip__sram__capacity=1e6,
        **{f"chip__sram__{name}": value for name, value in sram.items()},
    )
    cached = with_values(tiny, chip__style__managed_fraction=0.0)
    spilled, never_kept = (
        float(evaluate(d).breakdown.prompt_joules.dram) for d in (tiny, cached)
    )
    # A tenth of a megabyte holds 0.1 % of 8192 x 4096 x 2 bytes.
    assert spilled == pytest.approx(never_kept, rel=0.02)


def test_time_does_not_jump_when_the_last_sram_goes_to_weights():
    design = preset_design("tpu-v4", "llama-3-8b", batch=64.0)
    rest = 1.0 - design.chip.sram.tile_fraction - design.chip.sram.kv_fraction
    times = [
        float(
            evaluate(
                with_values(design, chip__sram__weight_fraction=rest - part)
            ).time_to_first_token
        )
        for part in np.linspace(0.0, 2e-3, 9)
    ]
    assert np.abs(np.diff(np.log(times))).max() < 1e-3
