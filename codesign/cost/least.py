"""What does a design cost at least, at any voltages between two settings?

Design at its lower voltages, and the higher ones -> a ``Cost`` that none is below.
"""

import jax
import jax.numpy as jnp

from codesign.core.quantities import Volts
from codesign.cost.record import Cost
from codesign.cost.step import StepCost, total
from codesign.cost.total import StepCosts, cost_of_steps, prepare, step_costs
from codesign.serving.design import Design

LEAST = (
    "time_to_first_token",
    "time_per_output_token",
    "inter_token_latency",
    "request_latency",
    "energy_per_token",
    "energy_per_token_server",
    "energy_per_token_facility",
    "energy_per_request",
    "usd_per_token",
    "carbon_per_token",
    "limits.decode_power",
    "limits.prefill_power",
)
"""Metrics of ``least_cost`` that no voltage in between is below."""

MOVED = (
    "power",
    "decode_",
    "prefill_",
    "usd_per_second",
    "queue_time",
    "throughput",
    "breakdown.",
)
"""Beginnings of the other metrics that voltages move."""


def least_cost(
    design: Design, *, decode_voltage: Volts, prefill_voltage: Volts
) -> Cost:
    """Lower bounds of the ``LEAST`` metrics up to higher voltages than the design's.

    t = t(V_high);  E = E_switched(V_low) + E_static(V_low) t(V_high) / t(V_low);
    P = P(V_low)

    A step gets shorter with its voltage, what switches in it takes more energy, the
    static power rises, and so does the mean power. The bounds meet the cost where
    both settings are one. Throughput is that of the higher voltages, an upper bound.

    Assumes: hard maxima, closed loop, no draft model; the minimum voltage of the style
    is above its threshold.
    """
    ready, held = prepare(design), design.deployment
    ends = jnp.stack([jnp.asarray(held.decode_voltage), jnp.asarray(decode_voltage)])
    other = jnp.stack([jnp.asarray(held.prefill_voltage), jnp.asarray(prefill_voltage)])
    both: StepCosts = jax.vmap(
        lambda decode, prefill: step_costs(
            design, ready, decode_voltage=decode, prefill_voltage=prefill
        )
    )(ends, other)
    slow, fast = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in range(2))
    kinds = StepCosts(
        decode=_least(slow.decode, fast.decode),
        mixed=_least(slow.mixed, fast.mixed),
        prompt=_least(slow.prompt, fast.prompt),
    )
    return cost_of_steps(design, ready, kinds=kinds)


def _least(slow: StepCost, fast: StepCost) -> StepCost:
    """Bounds of a step between two voltages, its power that of the lower one."""
    static = slow.joules.static * fast.duration / slow.duration
    joules = slow.joules.replace(static=static)
    return StepCost(
        duration=fast.duration,
        energy=total(joules),
        power=slow.power,
        seconds=fast.seconds,
        joules=joules,
    )
