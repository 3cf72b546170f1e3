"""What does a chip in service cost per second, in dollars and in carbon?

Chip, system and mean power -> dollars and kilograms per second of work and chip.
"""

import jax.numpy as jnp

from codesign.core.quantities import (
    KgCo2ePerSecond,
    PerSecond,
    Seconds,
    UsdPerSecond,
    Watts,
)
from codesign.core.record import Record
from codesign.core.smooth import Sharpness, smooth_min
from codesign.hardware.silicon import Silicon
from codesign.serving.design import Design


class MoneyBill(Record):
    """Dollars per second of work and chip; they sum to the facility's.

    ``chip``, ``masks`` and ``chip_energy`` arise at the chip, ``server`` (with its
    network) and ``server_energy`` around it, the rest in the facility.
    """

    chip: UsdPerSecond
    masks: UsdPerSecond
    chip_energy: UsdPerSecond
    server: UsdPerSecond
    server_energy: UsdPerSecond
    facility: UsdPerSecond
    facility_energy: UsdPerSecond


class CarbonBill(Record):
    """Kilograms CO2e per second of work and chip."""

    embodied: KgCo2ePerSecond
    operation: KgCo2ePerSecond


def capital_recovery(rate: PerSecond, lifetime: Seconds) -> PerSecond:
    """Share of a price to be earned per second, r / (1 - exp(-r T)).

    Example:
        Five years at 10 % a year: about a quarter of the price each year.

        >>> year = 365 * 86400.0
        >>> round(float(capital_recovery(0.1 / year, 5 * year)) * year, 3)
        0.254
    """
    return -rate / jnp.expm1(-rate * lifetime)


def usable_power(design: Design, *, sharpness: Sharpness = None) -> Watts:
    """Power that a chip may draw: the smaller of its TDP and the set limit."""
    return smooth_min(
        design.chip.tdp, design.deployment.power_limit, sharpness=sharpness
    )


def server_power(design: Design, power: Watts) -> Watts:
    """Power at the server's plug per chip, (P + host) (1 + fans) / conversion.

    Assumes: the host draws the same at any load.
    Source: docs/theory/power.md; MLPerf wall power of 8-GPU systems.
    """
    data = design.technology.datacenter
    return (
        (power + data.host_power)
        * (1 + data.fan_fraction)
        / (data.conversion_efficiency)
    )


def chip_lifetime(design: Design) -> Seconds:
    """Years in service: the usual ones, or the model's where weights are fixed.

    T = (1 - x) T_hardware + x min(T_hardware, T_model)
    """
    data, fixed = design.technology.datacenter, design.chip.store.fixed_fraction
    model = jnp.minimum(data.lifetime, data.model_lifetime)
    return data.lifetime + fixed * (model - data.lifetime)


def money_bill(
    design: Design,
    built: Silicon,
    *,
    power: Watts,
    plug: Watts,
    sharpness: Sharpness = None,
) -> MoneyBill:
    """Dollars per second of work and chip, each at the boundary where it arises.

    chip = [price crf(T_chip)] / u;  masks = [price_model crf(T_model)] / u
    server = [price (f_server / (1 - f_network) - 1) crf(T)] / u
    facility = [$_W PUE P_server(limit) crf(T_facility)] / u
    energy = $_J P;  $_J (P_server - P);  $_J (PUE - 1) P_server

    Capital is paid for the peak; u is mean over peak load. ``power`` and ``plug``
    include what idle hours add to a second of work.

    Assumes: a chip that ends with its model leaves its server to the next one.
    Source: docs/theory/money.md.
    """
    data = design.technology.datacenter
    rate, share = data.interest_rate, data.utilization
    usual = capital_recovery(rate, data.lifetime)
    around = data.server_price_factor / (1 - data.network_price_fraction) - 1
    limit = usable_power(design, sharpness=sharpness)
    provisioned = server_power(design, limit) * data.power_usage_effectiveness
    building = capital_recovery(rate, data.facility_lifetime)
    price = data.electricity_price
    return MoneyBill(
        chip=built.price * capital_recovery(rate, chip_lifetime(design)) / share,
        masks=built.model_price * capital_recovery(rate, data.model_lifetime) / share,
        chip_energy=price * power,
        server=built.price * around * usual / share,
        server_energy=price * (plug - power),
        facility=data.facility_price * provisioned * building / share,
        facility_energy=price * (data.power_usage_effectiveness - 1) * plug,
    )


def carbon_bill(design: Design, built: Silicon, *, plug: Watts) -> CarbonBill:
    """Kilograms CO2e per second of work and chip: embodied over its life, and grid.

    embodied = m / (T_chip u);  operation = PUE P_server m_grid
    """
    data = design.technology.datacenter
    facility = plug * data.power_usage_effectiveness
    return CarbonBill(
        embodied=built.carbon / chip_lifetime(design) / data.utilization,
        operation=data.grid_carbon * facility,
    )
