"""What does a design cost? The record of every metric.

Energies and powers are per chip unless the name carries ``_server`` or
``_facility``; per-token figures count output tokens, prefill included.
"""

from codesign.core.quantities import (
    Count,
    Fraction,
    Joules,
    JoulesPerToken,
    KgCo2ePerToken,
    Seconds,
    SecondsPerToken,
    Tokens,
    TokensPerSecond,
    UsdPerSecond,
    UsdPerToken,
    Volts,
    Watts,
)
from codesign.core.record import Record
from codesign.cost.energy import EnergyBill
from codesign.cost.latency import TimeBill
from codesign.cost.limits import Limits
from codesign.cost.money import CarbonBill, MoneyBill
from codesign.cost.residency import Memory
from codesign.hardware.silicon import Silicon


class EnergyPerToken(Record):
    """Joules per output token at the chip boundary, by component."""

    compute: JoulesPerToken
    converter: JoulesPerToken
    vector: JoulesPerToken
    sram: JoulesPerToken
    dram: JoulesPerToken
    path: JoulesPerToken
    link: JoulesPerToken
    active: JoulesPerToken
    static: JoulesPerToken


class Breakdown(Record):
    """Where joules and seconds go; decode and prefill shares sum to the whole.

    ``energy`` is per output token; ``step_seconds`` the mean step; the decode
    step alone and the step that prefills one prompt stand beside it. ``usd`` and
    ``carbon`` are per second of work and chip.
    """

    energy: EnergyPerToken
    decode_energy: JoulesPerToken
    prefill_energy: JoulesPerToken
    step_seconds: TimeBill
    decode_seconds: TimeBill
    prompt_seconds: TimeBill
    decode_joules: EnergyBill
    prompt_joules: EnergyBill
    usd: MoneyBill
    carbon: CarbonBill


class Cost(Record):
    """Every metric of a design, SI units.

    ``time_per_output_token`` is the mean time between a sequence's tokens,
    prefill interference included; ``inter_token_latency`` the median;
    ``tokens_per_step`` more than 1 where a draft model guesses tokens.
    ``power`` is the mean per chip at work. Where utilisation is below one, energy,
    dollars and carbon per token carry their share of the idle hours, and
    ``usd_per_second`` is per chip and second of work.
    """

    time_to_first_token: Seconds
    time_per_output_token: SecondsPerToken
    inter_token_latency: Seconds
    tokens_per_step: Tokens
    request_latency: Seconds
    throughput: TokensPerSecond
    energy_per_token: JoulesPerToken
    energy_per_token_server: JoulesPerToken
    energy_per_token_facility: JoulesPerToken
    energy_per_request: Joules
    power: Watts
    power_server: Watts
    power_facility: Watts
    decode_power: Watts
    prefill_power: Watts
    decode_voltage: Volts
    prefill_voltage: Volts
    usd_per_token: UsdPerToken
    usd_per_second: UsdPerSecond
    carbon_per_token: KgCo2ePerToken
    batch: Count
    max_batch: Count
    queue_time: Seconds
    utilization: Fraction
    memory: Memory
    breakdown: Breakdown
    chip: Silicon
    limits: Limits
