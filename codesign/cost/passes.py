"""What do a lone pass and a training step cost? Workloads beside serving.

Design and the tokens of a pass, or a plan of training -> ``PassCost``, settled under
the power limit. A denoising pass, a prompt and a decode step are passes.
"""

import jax
import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import (
    Bytes,
    Count,
    Fraction,
    JoulesPerToken,
    Seconds,
    Tokens,
    TokensPerSecond,
    UsdPerToken,
    Volts,
    Watts,
)
from codesign.core.record import Record
from codesign.core.smooth import Sharpness
from codesign.core.solve import rising_root
from codesign.cost.governor import LOWEST_DRIVE
from codesign.cost.latency import TimeBill
from codesign.cost.money import money_bill, server_power, usable_power
from codesign.cost.residency import Memory, memory
from codesign.cost.step import StepCost, StepWork, step_cost, table_work, total
from codesign.hardware.silicon import Silicon, silicon
from codesign.model.parameters import count_parameters
from codesign.operators.phases import Step, operator_table
from codesign.operators.training import (
    forward_pass,
    input_gradients,
    update,
    weight_gradients,
)
from codesign.serving.design import Design
from codesign.serving.load import Load, StepTokens, num_replicas
from codesign.serving.training import Training, prompt_pass


class PassCost(Record):
    """Cost of a pass; energies per token of the pass, power per chip.

    ``tokens`` are those of all replicas together, ``link_share`` the part of the time
    in which links are waited for.
    """

    duration: Seconds
    tokens: Tokens
    throughput: TokensPerSecond
    energy_per_token: JoulesPerToken
    energy_per_token_server: JoulesPerToken
    usd_per_token: UsdPerToken
    power: Watts
    voltage: Volts
    memory_used: Bytes
    memory_available: Bytes
    link_share: Fraction
    seconds: TimeBill
    chip: Silicon


def pass_cost(
    design: Design, step: StepTokens, *, sharpness: Sharpness = None
) -> PassCost:
    """Cost of one pass of every replica, at the voltage that power allows.

    Assumes: passes follow each other without a gap; of keys and values of a prompt
    only those of one layer are held, as in a pass that keeps no cache.
    """
    built = silicon(design.chip, design.technology, sharpness=sharpness)
    held = _held(design, step, built=built, sharpness=sharpness)
    work = table_work(
        design,
        operator_table(design, step),
        built=built,
        memory=held,
        sharpness=sharpness,
    )
    done = jax.tree.map(lambda leaf: leaf[None], work)
    tokens = step.sequences * step.queries + step.prefill_tokens
    return _settled(
        design, done, built=built, held=held.used, tokens=tokens, hidden=jnp.zeros(1)
    )


def training_cost(design: Design, plan: Training) -> PassCost:
    """Cost of one training step: forward, both gradients, exchange and optimiser.

    t = t_forward + t_dX + t_dW + (1 - overlap) t_exchange + t_optimiser

    memory = weights (2 + b_g) + 12 weights / R + stored n L d / t

    Assumes: no pipeline bubbles; weights and activations in 16 bit; recurrent scans
    without padding.
    Source: docs/theory/training.md.
    """
    design = design.replace(stack=design.stack.replace(scan_padding=0.0))
    built = silicon(design.chip, design.technology)
    tokens = prompt_pass(plan.length, prompts=plan.sequences)
    replicas = num_replicas(design.system, design.deployment)
    held = _held(design, tokens, built=built, sharpness=None)
    forward = forward_pass(operator_table(design, tokens))
    weights = _weights_per_chip(design)
    steps = (
        forward,
        input_gradients(forward),
        weight_gradients(forward),
        update(
            forward,
            weights=weights,
            replicas=replicas,
            gradient_bytes=plan.gradient_bits / 8,
            optimizer_bytes=plan.optimizer_bytes,
        ),
    )
    again = jnp.where(plan.stored_bytes > 0, 0.0, 1.0)
    done = _works(design, steps, built=built, held=held)
    model, shard = design.model, forward.shard
    kept = plan.stored_bytes * tokens.prefill_tokens * model.hidden_size
    kept = kept * model.num_layers * shard.layer_share / shard.tensor
    state = weights * (2.0 + plan.gradient_bits / 8 + 12.0 / replicas)
    return _settled(
        design,
        done,
        built=built,
        held=state + kept,
        tokens=tokens.prefill_tokens,
        hidden=jnp.stack([0.0, 0.0, 0.0, 1.0]) * plan.overlap,
        repeats=jnp.stack([1.0 + again, 1.0, 1.0, 1.0]),
    )


def _works(
    design: Design, steps: tuple[Step, ...], *, built: Silicon, held: Memory
) -> StepWork:
    stacked: Step = jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)
    return jax.vmap(lambda step: table_work(design, step, built=built, memory=held))(
        stacked
    )


def _weights_per_chip(design: Design) -> Count:
    """Weights of one chip: replicas hold the whole model, experts are spread."""
    deployment, count = design.deployment, count_parameters(design.model)
    group = jnp.maximum(deployment.tensor_parallel, deployment.expert_parallel)
    shared = (count.total - count.experts) / deployment.tensor_parallel
    return (shared + count.experts / group) / deployment.pipeline_parallel


def _held(
    design: Design, step: StepTokens, *, built: Silicon, sharpness: Sharpness
) -> Memory:
    """Weights, the cache of running sequences, and one layer's keys and values."""
    zero = 0.0 * step.sequences
    layer = step.prefill_tokens / jnp.maximum(step.prompts, 1.0)
    layer = layer / design.model.num_layers
    load = Load(
        sequences=jnp.maximum(step.sequences, step.prompts),
        context=jnp.where(step.sequences > 0, step.context, layer),
        context_variation=zero,
        prefills_per_step=zero,
        prompt_tokens=zero,
        hit_tokens=zero,
        duty=zero + 1.0,
    )
    return memory(design, load, built=built, sharpness=sharpness)


def _settled(
    design: Design,
    done: StepWork,
    *,
    built: Silicon,
    held: Bytes,
    tokens: Tokens,
    hidden: Array,
    repeats: Array | None = None,
) -> PassCost:
    """The cost of some tables one after the other at the highest voltage allowed.

    A share ``hidden`` of the link time of each is not waited for.
    """
    times = jnp.ones(hidden.shape) if repeats is None else repeats
    limit = usable_power(design)

    def at(drive: Volts) -> tuple[Seconds, Watts, TimeBill]:
        costs: StepCost = jax.vmap(
            lambda work: step_cost(design, work, built=built, drive=drive)
        )(done)
        bill: TimeBill = jax.tree.map(lambda leaf: leaf * times, costs.seconds)
        shown = bill.replace(link=bill.link * (1 - hidden))
        seconds = jnp.sum(jnp.stack(jax.tree.leaves(shown)))
        resting = built.static_power * drive / design.chip.voltage
        spared = jnp.sum(bill.link * hidden) * (resting + built.memory_power)
        joules = jnp.sum(costs.energy * times) - spared
        whole = jax.tree.map(jnp.sum, shown)
        return seconds, joules / seconds, whole

    drive = rising_root(
        lambda volts: jnp.asarray(at(volts)[1] / limit - 1.0),
        low=LOWEST_DRIVE * design.chip.style.min_voltage,
        high=jnp.minimum(design.chip.voltage, design.deployment.prefill_voltage),
    )
    duration, power, seconds = at(drive)
    replicas = num_replicas(design.system, design.deployment)
    chips = design.system.num_chips
    whole = tokens * replicas
    plug = server_power(design, power)
    usd = total(money_bill(design, built, power=power, plug=plug))
    per_token = chips * duration / whole
    return PassCost(
        duration=duration,
        tokens=whole,
        throughput=whole / duration,
        energy_per_token=power * per_token,
        energy_per_token_server=plug * per_token,
        usd_per_token=usd * per_token,
        power=power,
        voltage=drive,
        memory_used=held,
        memory_available=design.stack.memory_fraction * built.dram_capacity
        + design.chip.style.managed_fraction * design.chip.sram.capacity,
        link_share=seconds.link / duration,
        seconds=seconds,
        chip=built,
    )
