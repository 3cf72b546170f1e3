"""Every free parameter has a benefit and a price somewhere in its box."""

import numpy as np
import pytest

from tests.physics.designs import (
    METRICS,
    box_jacobian,
    joint_box,
    study_baseline,
)

NOTICEABLE = 1e-6  # of a metric per e-fold of the parameter
BENEFITS = tuple(m for m in METRICS if not m.startswith("quality.validity"))


@pytest.fixture(scope="module")
def slopes() -> np.ndarray:
    points = joint_box().points(11, count=192)
    dense = joint_box().index("model.num_experts")
    points[::4, dense] = 0.0
    return box_jacobian(study_baseline(), points, kind="smooth")


@pytest.mark.parametrize("path", joint_box().paths)
def test_parameter_has_a_benefit_and_a_price(slopes: np.ndarray, path: str):
    steep = slopes[:, joint_box().index(path), :]
    gains = {m for m in BENEFITS if steep[:, METRICS.index(m)].min() < -NOTICEABLE}
    losses = {m for m in METRICS if steep[:, METRICS.index(m)].max() > NOTICEABLE}
    assert gains, f"more {path} improves nothing; it worsens {sorted(losses)}"
    assert losses, f"more {path} costs nothing; it improves {sorted(gains)}"


@pytest.mark.parametrize("path", joint_box().paths)
def test_less_of_a_parameter_costs_something_too(slopes: np.ndarray, path: str):
    steep = slopes[:, joint_box().index(path), :]
    gains = {m for m in BENEFITS if steep[:, METRICS.index(m)].max() > NOTICEABLE}
    losses = {m for m in METRICS if steep[:, METRICS.index(m)].min() < -NOTICEABLE}
    assert gains, f"less {path} improves nothing; it worsens {sorted(losses)}"
    assert losses, f"less {path} costs nothing; it improves {sorted(gains)}"


@pytest.mark.parametrize(
    ("path", "metric", "sign"),
    [
        ("chip.sram.capacity", "chip.area", 1),
        ("chip.dram.stacks", "chip.area", 1),
        ("chip.dram.stacks", "limits.memory", -1),
        ("chip.dram.stacks", "limits.shoreline", 1),
        ("chip.dram.bandwidth", "time_per_output_token", -1),
        ("chip.dram.bandwidth", "limits.dram_pins", 1),
        ("chip.compute.macs", "time_to_first_token", -1),
        ("chip.compute.macs", "chip.area", 1),
        ("chip.link.bandwidth", "time_to_first_token", -1),
        ("chip.link.bandwidth", "limits.shoreline", 1),
        ("chip.link.bandwidth", "energy_per_token_server", 1),
        ("chip.tdp", "usd_per_token", 1),
        ("chip.tdp", "limits.power_density", 1),
        ("model.hidden_size", "quality.gap", -1),
        ("model.hidden_size", "energy_per_token_server", 1),
        ("model.weight_bits", "quality.gap", -1),
        ("model.weight_bits", "time_per_output_token", 1),
        ("model.kv_bits", "limits.memory", 1),
        ("model.num_experts", "quality.gap", -1),
        ("model.num_experts", "limits.memory", 1),
        ("deployment.batch", "energy_per_token_server", -1),
        ("deployment.batch", "time_per_output_token", 1),
        ("deployment.power_limit", "limits.prefill_power", -1),
        ("deployment.power_limit", "usd_per_token", 1),
        ("deployment.prefill_voltage", "time_to_first_token", -1),
        ("deployment.prefill_voltage", "limits.prefill_power", 1),
        ("chip.voltage", "limits.voltage", 1),
        ("chip.node", "chip.area", 1),
        ("chip.node", "energy_per_token_server", 1),
        ("chip.node", "time_to_first_token", 1),
        ("chip.sram.fast_fraction", "time_to_first_token", -1),
        ("chip.sram.fast_fraction", "chip.area", 1),
        ("chip.sram.fast_fraction", "usd_per_token", 1),
        ("chip.dram.stack_capacity", "limits.memory", -1),
        ("chip.dram.stack_capacity", "limits.stack_height", 1),
        ("chip.dram.stack_capacity", "usd_per_token", 1),
        ("chip.dram.stack_capacity", "energy_per_token_server", 1),
        ("chip.dram.stack_bandwidth", "limits.dram_pins", -1),
        ("chip.dram.stack_bandwidth", "limits.pin_speed", 1),
        ("chip.dram.stack_bandwidth", "energy_per_token_server", 1),
        ("chip.dram.stack_bandwidth", "usd_per_token", 1),
        ("chip.dram.generation", "limits.pin_speed", -1),
        ("chip.dram.generation", "limits.stack_height", -1),
        ("chip.dram.generation", "energy_per_token_server", -1),
        ("chip.dram.generation", "usd_per_token", 1),
    ],
)
def test_price_has_its_sign_somewhere_in_the_box(
    slopes: np.ndarray, *, path: str, metric: str, sign: int
):
    steep = sign * slopes[:, joint_box().index(path), METRICS.index(metric)]
    assert steep.max() > NOTICEABLE
