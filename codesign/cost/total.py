"""What does a design cost at the batch and voltages that it holds?

``Design`` -> ``Cost``. Nothing is solved for here: in a search batch and
voltages are variables and power is a limit; ``evaluate`` sets them first.
"""

import jax
import jax.numpy as jnp

from codesign.core.quantities import (
    Count,
    Fraction,
    JoulesPerToken,
    Scalar,
    Seconds,
    Volts,
)
from codesign.core.record import Record
from codesign.core.smooth import Sharpness, smooth_max
from codesign.cost.energy import EnergyBill
from codesign.cost.limits import limits
from codesign.cost.load import queue_time
from codesign.cost.money import (
    CarbonBill,
    MoneyBill,
    carbon_bill,
    money_bill,
    server_power,
)
from codesign.cost.record import Breakdown, Cost, EnergyPerToken
from codesign.cost.residency import Memory, memory
from codesign.cost.step import StepCost, StepWork, step_cost, step_work, total
from codesign.hardware.silicon import Silicon, silicon
from codesign.serving.design import Design
from codesign.serving.load import (
    Load,
    StepTokens,
    decode_step,
    design_load,
    handling_time,
    mixed_step,
    num_chunks,
    num_replicas,
    prefill_share,
    prompt_step,
)

MEDIAN_STEEPNESS = 8.0  # how sharply the median step turns to mixed ones


class Prepared(Record):
    """All that does not depend on the clock; ``done`` has one entry per step kind.

    ``drafted`` is the work of one step of the draft model, of the same kinds.
    """

    built: Silicon
    load: Load
    memory: Memory
    done: StepWork
    drafted: StepWork | None = None


class StepCosts(Record):
    """Cost of one step of each kind."""

    decode: StepCost
    mixed: StepCost
    prompt: StepCost


def prepare(
    design: Design, *, load: Load | None = None, sharpness: Sharpness = None
) -> Prepared:
    """Silicon, load, memory and the work of the three kinds of step.

    The load is the stationary one unless it is given, as by ``validate`` for
    the finite window of a measurement.
    """
    built = silicon(design.chip, design.technology, sharpness=sharpness)
    load = design_load(design) if load is None else load
    held = memory(design, load, built=built, sharpness=sharpness)
    kinds = (
        decode_step(load),
        mixed_step(load, design.stack),
        prompt_step(load, design.stack),
    )
    steps: StepTokens = jax.tree.map(lambda *leaves: jnp.stack(leaves), *kinds)

    def work_of(design: Design, steps: StepTokens) -> StepWork:
        return jax.vmap(
            lambda s: step_work(
                design, s, built=built, memory=held, sharpness=sharpness
            )
        )(steps)

    if design.draft is None:
        return Prepared(
            built=built, load=load, memory=held, done=work_of(design, steps)
        )
    verified = steps.replace(queries=steps.queries + design.deployment.draft_tokens)
    return Prepared(
        built=built,
        load=load,
        memory=held,
        done=work_of(design, verified),
        drafted=work_of(drafting(design), steps),
    )


def drafting(design: Design) -> Design:
    """The design as its draft model sees it: the same chips run a smaller model."""
    return design.replace(model=design.draft, draft=None)


def step_costs(
    design: Design,
    ready: Prepared,
    *,
    decode_voltage: Volts,
    prefill_voltage: Volts,
    sharpness: Sharpness = None,
) -> StepCosts:
    """Costs of decode, mixed and prompt step at the voltages of their kinds.

    With a draft model a step is a cycle: g steps of the draft one after the
    other, the first of which prefills what the cycle prefills, and one step of
    the model that verifies all guesses.

    Assumes: all steps of the draft but the first run at the decode voltage.
    """
    drives = jnp.stack(
        [jnp.asarray(v) for v in (decode_voltage, prefill_voltage, prefill_voltage)]
    )

    def costs(design: Design, done: StepWork) -> StepCost:
        return jax.vmap(
            lambda done, drive: step_cost(
                design, done, built=ready.built, drive=drive, sharpness=sharpness
            )
        )(done, drives)

    stacked = costs(design, ready.done)
    if ready.drafted is not None:
        guesses = costs(drafting(design), ready.drafted)
        stacked = _cycles(stacked, guesses, count=design.deployment.draft_tokens)
    decode, mixed, prompt = (
        jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(3)
    )
    return StepCosts(decode=decode, mixed=mixed, prompt=prompt)


def _cycles(verified: StepCost, guesses: StepCost, *, count: Count) -> StepCost:
    """Costs of a verifying step with the draft steps before it, by kind."""
    both: StepCost = jax.tree.map(
        lambda ours, theirs: ours + theirs + (count - 1.0) * theirs[0],
        verified,
        guesses,
    )
    return both.replace(power=both.energy / both.duration)


def cost(
    design: Design, *, load: Load | None = None, sharpness: Sharpness = None
) -> Cost:
    """Cost at the batch and the voltages that the deployment holds.

    T = (1 - q) T_decode + q T_mixed;  E/token = N_chips E / (B advance);
    TTFT = queue + handling + T / 2 + chunks T_prompt

    Assumes: steady state; decode and mixed steps alternate at random.
    Source: docs/theory/cost.md.
    """
    ready = prepare(design, load=load, sharpness=sharpness)
    return assemble(design, ready, sharpness=sharpness)


def mean_step(kinds: StepCosts, share: Fraction) -> StepCost:
    """The mean step when a share of the steps carries prefill tokens."""
    return jax.tree.map(
        lambda plain, mixed: (1 - share) * plain + share * mixed,
        kinds.decode,
        kinds.mixed,
    )


def median_step(kinds: StepCosts, share: Fraction) -> Seconds:
    """Median duration of the steps, of which a share carries prefill tokens.

    T = T_decode + g (T_mixed - T_decode);  g = ln(1 + (2 q)^8) / 8 ~ max(0, ln 2 q)

    Assumes: what prompts add to a step varies as an exponential does, so that half of
    all steps add less than ln 2 q times its mean.
    Source: docs/theory/load.md.
    """
    k = MEDIAN_STEEPNESS
    added = jnp.log1p((2 * share) ** k) / k
    decode, mixed = kinds.decode.duration, kinds.mixed.duration
    return decode + added * (mixed - decode)


def assemble(design: Design, ready: Prepared, *, sharpness: Sharpness = None) -> Cost:
    """The ``Cost`` of a prepared design at the voltages that it holds."""
    kinds = step_costs(
        design,
        ready,
        decode_voltage=design.deployment.decode_voltage,
        prefill_voltage=design.deployment.prefill_voltage,
        sharpness=sharpness,
    )
    return cost_of_steps(design, ready, kinds=kinds, sharpness=sharpness)


def cost_of_steps(
    design: Design, ready: Prepared, *, kinds: StepCosts, sharpness: Sharpness = None
) -> Cost:
    """The ``Cost`` of a prepared design whose steps cost what is given."""
    built, load, held = ready.built, ready.load, ready.memory
    share = prefill_share(load, design.stack)
    request, chips = design.request, design.system.num_chips
    replicas = num_replicas(design.system, design.deployment)
    mean = mean_step(kinds, share)
    step = mean.duration
    resting = built.static_power + built.memory_power
    idle = (1 - load.duty) * resting
    power = load.duty * mean.energy / step + idle
    unused = 1 / design.technology.datacenter.utilization - 1
    drawn = power + unused * resting
    batch = load.sequences * load.duty * replicas
    per_output = step / load.advance
    throughput = batch / per_output
    per_token = chips / throughput
    chunks = num_chunks(load, design.stack)
    prefill = step / 2 + chunks * kinds.prompt.duration
    waiting = queue_time(
        request.rate,
        slots=held.max_batch,
        service=prefill + request.output_length * per_output,
        variation=request.output_variation,
    )
    first = waiting + handling_time(load, design.stack) + prefill
    plug = server_power(design, power)
    taken = plug + unused * server_power(design, resting)
    effectiveness = design.technology.datacenter.power_usage_effectiveness
    usd = money_bill(design, built, power=drawn, plug=taken, sharpness=sharpness)
    carbon = carbon_bill(design, built, plug=taken)
    hottest = smooth_max(kinds.mixed.power, kinds.prompt.power, sharpness=sharpness)
    return Cost(
        time_to_first_token=first,
        time_per_output_token=per_output,
        inter_token_latency=median_step(kinds, share) / load.advance,
        tokens_per_step=load.advance,
        request_latency=first + (request.output_length - 1) * per_output,
        throughput=throughput,
        energy_per_token=drawn * per_token,
        energy_per_token_server=taken * per_token,
        energy_per_token_facility=taken * effectiveness * per_token,
        energy_per_request=drawn * per_token * request.output_length,
        power=power,
        power_server=plug,
        power_facility=plug * effectiveness,
        decode_power=kinds.decode.power,
        prefill_power=hottest,
        decode_voltage=jnp.asarray(design.deployment.decode_voltage),
        prefill_voltage=jnp.asarray(design.deployment.prefill_voltage),
        usd_per_token=per_token * total(usd),
        usd_per_second=total(usd),
        carbon_per_token=per_token * total(carbon),
        batch=batch,
        max_batch=held.max_batch,
        queue_time=waiting,
        utilization=batch / held.max_batch,
        memory=held,
        breakdown=_breakdown(
            kinds,
            mean,
            per_step=load.duty * chips / (batch * load.advance),
            idle=(idle + unused * resting) * per_token,
            money=(usd, carbon),
        ),
        chip=built,
        limits=limits(
            design,
            built,
            memory=held,
            decode_power=kinds.decode.power,
            prefill_power=hottest,
            sharpness=sharpness,
        ),
    )


def _breakdown(
    kinds: StepCosts,
    mean: StepCost,
    *,
    per_step: Scalar,
    idle: JoulesPerToken,
    money: tuple[MoneyBill, CarbonBill],
) -> Breakdown:
    joules = jax.tree.map(lambda leaf: leaf * per_step, mean.joules)
    joules = joules.replace(static=joules.static + idle)
    decode = kinds.decode.energy * per_step + idle
    names = EnergyBill.__dataclass_fields__
    return Breakdown(
        energy=EnergyPerToken(**{name: getattr(joules, name) for name in names}),
        decode_energy=decode,
        prefill_energy=mean.energy * per_step + idle - decode,
        step_seconds=mean.seconds,
        decode_seconds=kinds.decode.seconds,
        prompt_seconds=kinds.prompt.seconds,
        decode_joules=kinds.decode.joules,
        prompt_joules=kinds.prompt.joules,
        usd=money[0],
        carbon=money[1],
    )
