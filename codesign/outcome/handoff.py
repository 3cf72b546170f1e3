"""What does it cost to prefill on one chip and decode on another?

Cost of a pool that only prefills -> the same with the hand-off of keys and values.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import (
    Bytes,
    Fraction,
    JoulesPerByte,
    Scalar,
    Seconds,
    SecondsPerByte,
)
from codesign.core.record import Record
from codesign.core.smooth import Sharpness, smooth_max
from codesign.cost.record import Cost
from codesign.cost.residency import kv_bytes
from codesign.serving.design import Design
from codesign.serving.load import design_load, handling_time

STEPS_WAITED = 1.5  # of a prompt: half a step before its own


class Handoff(Record):
    """The link between two pools: per byte and per request.

    ``share`` is 1 in the pool that hands over and 0 in the one that receives.
    """

    time_per_byte: SecondsPerByte
    latency: Seconds
    energy_per_byte: JoulesPerByte
    share: Fraction


def handoff_bytes(design: Design) -> Bytes:
    """Keys, values and recurrent state of one prompt, over all chips of a replica.

    Assumes: all tokens of the prompt, those of a known prefix too; layers of a
    window hand over the window.
    """
    return kv_bytes(
        design.model,
        context=design.request.prompt_length,
        tensor=1.0,
        stages=1.0,
    )


def with_handoff(
    found: Cost, design: Design, *, handoff: Handoff, sharpness: Sharpness = None
) -> Cost:
    """Cost of a pool that prefills, its outputs one token long, with the hand-off.

    E += e_link bytes
    TTFT = max(TTFT, handling + 1.5 T_step) + latency + bytes / (b_link t)

    with t chips of a replica sending at once. In the pool that receives nothing
    changes.

    Assumes: a prompt waits for half a step and is done with the other prompts of
    its own; sending overlaps with the next step; the network's capital is that of
    the server.
    """
    size = handoff_bytes(design)
    seconds = handoff.latency + handoff.time_per_byte * size / (
        design.deployment.tensor_parallel * design.deployment.pipeline_parallel
    )
    handled = handling_time(design_load(design), design.stack)
    waited = smooth_max(
        found.time_to_first_token,
        handled + STEPS_WAITED * found.time_per_output_token,
        sharpness=sharpness,
    )
    first = _mixed(found.time_to_first_token, waited + seconds, share=handoff.share)
    joules = handoff.share * handoff.energy_per_byte * size
    effectiveness = design.technology.datacenter.power_usage_effectiveness
    return found.replace(
        time_to_first_token=first,
        request_latency=found.request_latency + first - found.time_to_first_token,
        energy_per_token=found.energy_per_token + joules,
        energy_per_token_server=found.energy_per_token_server + joules,
        energy_per_token_facility=found.energy_per_token_facility
        + effectiveness * joules,
        energy_per_request=found.energy_per_request + joules,
    )


def _mixed(old: Scalar, new: Scalar, *, share: Fraction) -> Array:
    return jnp.asarray(old + share * (new - old))
