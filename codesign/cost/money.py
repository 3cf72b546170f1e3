"""What does a chip in service cost per second, in dollars and in carbon?

Chip, system and mean power -> dollars and kilograms per second and chip.
"""

import jax.numpy as jnp

from codesign.core.quantities import PerSecond, Scalar, Seconds, UsdPerSecond, Watts
from codesign.core.smooth import Sharpness, smooth_min
from codesign.hardware.silicon import Silicon
from codesign.serving.design import Design


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


def usd_per_second(
    design: Design, built: Silicon, *, power: Watts, sharpness: Sharpness = None
) -> UsdPerSecond:
    """Dollars per second and chip: capital, provisioned power, electricity.

    [price f_server / (1 - f_network) crf(T) + price (crf(T_chip) - crf(T))
      + price_model crf(T_model) + $_W P_max crf(T_facility)] / u + $_J PUE P_server

    Assumes: capital is paid for the peak, u is mean over peak load. A chip that
    ends with its model leaves its server to the next one.
    Source: docs/theory/money.md.
    """
    data = design.technology.datacenter
    limit = usable_power(design, sharpness=sharpness)
    hardware = (
        built.price * data.server_price_factor / (1 - data.network_price_fraction)
    )
    provisioned = server_power(design, limit) * data.power_usage_effectiveness
    rate = data.interest_rate
    usual = capital_recovery(rate, data.lifetime)
    own = capital_recovery(rate, chip_lifetime(design))
    capital = hardware * usual + built.price * (own - usual)
    capital = capital + built.model_price * capital_recovery(rate, data.model_lifetime)
    capital = capital + data.facility_price * provisioned * capital_recovery(
        data.interest_rate, data.facility_lifetime
    )
    facility = server_power(design, power) * data.power_usage_effectiveness
    return capital / data.utilization + data.electricity_price * facility


def carbon_per_second(design: Design, built: Silicon, *, power: Watts) -> Scalar:
    """Kilograms CO2e per second and chip: embodied over its life, and grid."""
    data = design.technology.datacenter
    facility = server_power(design, power) * data.power_usage_effectiveness
    return built.carbon / chip_lifetime(design) + data.grid_carbon * facility
