"""Which limits hold for every design, whatever the study asks?

Design and its costs -> ln(use / limit) of each; <= 0 when it is kept.
"""

import jax.numpy as jnp

from codesign.core.quantities import Ratio, Watts
from codesign.core.record import Record
from codesign.core.smooth import Sharpness
from codesign.cost.money import usable_power
from codesign.cost.residency import Memory
from codesign.hardware.dram import height_ratio, speed_ratio
from codesign.hardware.silicon import Silicon, power_density_limit, shoreline_share
from codesign.hardware.store import needed_adc_bits
from codesign.serving.design import Design

UNUSED = -1.0  # of a limit on something that the design does not have


class Limits(Record):
    """Logarithm of use over limit; a design is buildable when none is above 0."""

    memory: Ratio
    decode_power: Ratio
    prefill_power: Ratio
    power_density: Ratio
    reticle: Ratio
    shoreline: Ratio
    dram_pins: Ratio
    stack_height: Ratio
    pin_speed: Ratio
    voltage: Ratio
    stack_area: Ratio
    adc_bits: Ratio
    tensor_heads: Ratio
    chips: Ratio
    expert_ranks: Ratio
    active_experts: Ratio


def limits(
    design: Design,
    built: Silicon,
    *,
    memory: Memory,
    decode_power: Watts,
    prefill_power: Watts,
    sharpness: Sharpness = None,
) -> Limits:
    """Every structural and physical limit as a log-ratio.

    Source: docs/theory/limits.md.
    """
    chip, model, deployment = design.chip, design.model, design.deployment
    fab = design.technology.fab
    power = usable_power(design, sharpness=sharpness)
    pins = chip.dram.stacks * chip.dram.stack_bandwidth
    stacked = jnp.where(chip.dram.stacks > 0, 1.0, 0.0)
    used_pins = jnp.where(chip.dram.stacks > 0, chip.dram.bandwidth, 1.0)
    used_chips = deployment.tensor_parallel * deployment.pipeline_parallel
    ranks = jnp.maximum(design.system.num_chips / deployment.pipeline_parallel, 1.0)
    return Limits(
        memory=jnp.log(memory.used / memory.available),
        decode_power=jnp.log(decode_power / power),
        prefill_power=jnp.log(prefill_power / power),
        power_density=jnp.log(
            chip.tdp / built.area / power_density_limit(chip, design.technology)
        )
        - chip.anchor.power_density,
        reticle=jnp.log(built.die_area / fab.reticle_area),
        shoreline=_ratio(shoreline_share(built, sharpness=sharpness), 1.0),
        dram_pins=jnp.log(used_pins / jnp.where(chip.dram.stacks > 0, pins, 1.0)),
        stack_height=_ratio(stacked * height_ratio(chip, design.technology), 1.0),
        pin_speed=_ratio(stacked * speed_ratio(chip, design.technology), 1.0),
        voltage=jnp.log(chip.voltage / chip.style.max_voltage),
        stack_area=_ratio(chip.dram.stacks * chip.dram.footprint, built.area),
        adc_bits=_ratio(
            chip.store.in_place_fraction * needed_adc_bits(chip.store.arrays),
            chip.store.arrays.adc_bits,
        ),
        tensor_heads=jnp.log(deployment.tensor_parallel / model.num_heads),
        chips=jnp.log(used_chips / design.system.num_chips),
        expert_ranks=jnp.log(deployment.expert_parallel / ranks),
        active_experts=jnp.log(model.num_active_experts / model.num_experts),
    )


def _ratio(use: Ratio, limit: Ratio) -> Ratio:
    positive = use > 0
    ratio = jnp.log(jnp.where(positive, use, 1.0) / limit)
    return jnp.where(positive, ratio, UNUSED)
