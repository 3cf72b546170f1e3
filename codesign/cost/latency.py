"""How long does one step take? Operators, launches, host and graph limits.

Times of the rows, shard and stack -> seconds of one step by component.
"""

import jax.numpy as jnp
from jax.lax import integer_pow

from codesign.core.quantities import Factor, Fraction, Seconds
from codesign.core.record import Record
from codesign.core.smooth import safe_ratio
from codesign.cost.roofline import OperatorTime
from codesign.model.parameters import num_expert_layers
from codesign.operators.shard import Shard
from codesign.serving.design import Design

DECODE_STEEPNESS = 20  # all decode steps of a run are equally long
MIXED_STEEPNESS = 4  # prompts differ in length, so steps do too


class TimeBill(Record):
    """Seconds of one step, by component; they sum to the step time."""

    compute: Seconds
    memory: Seconds
    vector: Seconds
    link: Seconds
    launch: Seconds
    host: Seconds
    eager: Seconds


class Overheads(Record):
    """What a stage adds to its operators at any clock, and how often it is added.

    ``host`` works between kernels, ``eager`` is the least that launching them one by
    one takes, which a share of the steps has to; ``stages`` pass one after the other.
    """

    host: Seconds
    eager: Seconds
    eager_share: Fraction
    stages: Factor


def overheads(design: Design, part: Shard) -> Overheads:
    """Host and graph terms of one stage.

    host = layers t_layer + expert layers t_expert + t_step + sequences t_sequence
    s = 1 / (1 + (n_graph / n)^m)

    Above n_graph tokens the host launches every kernel by itself, which bounds the
    step from below.
    """
    stack = design.stack
    layers = design.model.num_layers * part.layer_share
    expert_layers = num_expert_layers(design.model) * part.layer_share
    return Overheads(
        host=layers * stack.layer_time
        + expert_layers * stack.expert_layer_time
        + layers * design.model.chunked_attention * stack.chunked_layer_time
        + stack.step_time
        + part.sequences * stack.sequence_time,
        eager=layers * stack.eager_layer_time
        + expert_layers * stack.eager_expert_layer_time,
        eager_share=eager_share(part, stack.graph_tokens),
        stages=part.pipeline * stack.maturity,
    )


def step_time(added: Overheads, *, times: OperatorTime) -> tuple[Seconds, TimeBill]:
    """Time of one step and its bill: stages in sequence, operators plus overheads.

    t_stage = sum(roofline + link + launch) + host
    t = (1 - s) t_stage + s (t_stage^4 + t_eager^4)^(1/4), times stages and maturity

    A roofline second is booked to the resource that needs it most.

    Assumes: host work does not overlap the chip's.
    Source: docs/theory/latency.md.
    """
    launch, link = jnp.sum(times.launch), jnp.sum(times.link)
    stage = jnp.sum(times.roofline) + launch + link + added.host
    blended = jnp.sqrt(jnp.sqrt(integer_pow(stage, 4) + integer_pow(added.eager, 4)))
    extra = added.eager_share * (blended - stage)
    stages = added.stages
    by_compute, by_memory, by_vector = _binding(times)
    bill = TimeBill(
        compute=stages * by_compute,
        memory=stages * by_memory,
        vector=stages * by_vector,
        link=stages * link,
        launch=stages * launch,
        host=stages * added.host,
        eager=stages * extra,
    )
    return stages * (stage + extra), bill


def eager_share(part: Shard, graph_tokens: Seconds) -> Fraction:
    """Share of steps too large for a captured graph."""
    ratio = safe_ratio(graph_tokens, part.tokens)
    raised = jnp.where(
        part.prefill_tokens > 0,
        integer_pow(ratio, MIXED_STEEPNESS),
        integer_pow(ratio, DECODE_STEEPNESS),
    )
    return jnp.where(graph_tokens > 0, 1 / (1 + raised), 0.0)


def _binding(times: OperatorTime) -> tuple[Seconds, Seconds, Seconds]:
    memory = jnp.maximum(times.dram, times.sram)
    by_compute = (times.compute >= memory) & (times.compute >= times.vector)
    by_vector = ~by_compute & (times.vector > memory)
    zero = jnp.zeros_like(times.roofline)
    return (
        jnp.sum(jnp.where(by_compute, times.roofline, zero)),
        jnp.sum(jnp.where(~by_compute & ~by_vector, times.roofline, zero)),
        jnp.sum(jnp.where(by_vector, times.roofline, zero)),
    )
