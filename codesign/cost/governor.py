"""At which voltages and batch does a running system settle?

Design -> the same design with the voltages that its power limit allows and,
in open loop, with the batch that its arrival rate keeps running.
"""

import jax
import jax.numpy as jnp
from jax import Array

from codesign.core.solve import rising_root
from codesign.cost.money import usable_power
from codesign.cost.total import Prepared, cost, prepare, step_costs
from codesign.serving.design import Design

LOWEST_DRIVE = 0.05  # of the minimum voltage: the clock the governor may fall to
SMALLEST_BATCH = 1e-3  # a server that is nearly always idle
BATCH_HEADROOM = 4.0  # search Little's law up to this multiple of the largest batch


def govern(design: Design, ready: Prepared) -> Design:
    """The design at the largest voltages whose step-mean power is allowed.

    V_kind = max {V <= min(V_op, V_deployment) : P_kind(V) <= min(TDP, limit)}

    The voltages of the deployment are ceilings (locked clocks), so a search
    that chose them within the power limit gets them back unchanged.

    Assumes: power grows with voltage; one voltage for steps with prefill, set by
    the hottest of them.
    """
    limit = usable_power(design)
    deployment = design.deployment

    def excess(voltages: Array) -> Array:
        kinds = step_costs(
            design, ready, decode_voltage=voltages[0], prefill_voltage=voltages[1]
        )
        hottest = jnp.maximum(kinds.mixed.power, kinds.prompt.power)
        return jnp.stack([kinds.decode.power, hottest]) / limit - 1.0

    ceilings = [deployment.decode_voltage, deployment.prefill_voltage]
    decode, prefill = rising_root(
        excess,
        low=LOWEST_DRIVE * design.chip.style.min_voltage,
        high=jnp.minimum(design.chip.voltage, jnp.stack(ceilings)),
    )
    deployment = deployment.replace(decode_voltage=decode, prefill_voltage=prefill)
    return design.replace(deployment=deployment)


def settle(design: Design) -> Design:
    """The design with its batch from Little's law if a rate is given.

    B = rate L TPOT(B), the sequences that decode at a time, at most
    ``BATCH_HEADROOM`` times the largest batch that fits; in closed loop (rate 0)
    the batch stands.
    """
    given = jnp.asarray(design.deployment.batch, jnp.float64)
    batch = jax.lax.cond(
        design.request.rate > 0, _balanced_batch, lambda _: given, design
    )
    return design.replace(deployment=design.deployment.replace(batch=batch))


def _balanced_batch(design: Design) -> Array:
    request = design.request

    def with_batch(batch: Array) -> Design:
        deployment = design.deployment.replace(batch=batch)
        return design.replace(deployment=deployment)

    def residual(batch: Array) -> Array:
        trial = with_batch(batch)
        found = cost(govern(trial, prepare(trial)))
        served = request.output_length * found.time_per_output_token
        return jnp.log(batch / (request.rate * served))

    largest = cost(with_batch(jnp.ones(()))).max_batch
    return rising_root(residual, low=SMALLEST_BATCH, high=BATCH_HEADROOM * largest)
