"""How long do requests wait, and how many run at once, at a given rate?

Arrival rate, slots and service time -> waiting time and running requests.
"""

import jax.numpy as jnp

from codesign.core.quantities import Count, Factor, RequestsPerSecond, Seconds
from codesign.core.smooth import safe_ratio

MAX_UTILIZATION = 0.999  # beyond it the queue has no steady state


def queue_time(
    rate: RequestsPerSecond, *, slots: Count, service: Seconds, variation: Factor
) -> Seconds:
    """Mean wait of a request in a queue before one of several slots.

    rho = rate service / slots
    W = (1 + cv^2) / 2 service / slots rho^(sqrt(2 (slots + 1)) - 1) / (1 - rho)

    Zero in closed loop (rate 0). Above ``MAX_UTILIZATION`` the wait is that of
    the cap: the deployment cannot serve the rate, which its batch shows.

    Assumes: Poisson arrivals; service varies as output lengths do.
    Source: Allen-Cunneen with Sakasegawa's approximation, 1977.

    Example:
        One slot, half busy, exponential service: W = rho / (1 - rho) service.

        >>> round(float(queue_time(0.5, slots=1.0, service=1.0, variation=1.0)), 3)
        1.0
    """
    load = jnp.minimum(safe_ratio(rate * service, slots), MAX_UTILIZATION)
    busy = jnp.where(load > 0, load, 1.0)
    exponent = jnp.sqrt(2 * (slots + 1)) - 1
    wait = (1 + variation**2) / 2 * safe_ratio(service, slots) * busy**exponent
    return jnp.where(load > 0, wait / (1 - jnp.minimum(load, MAX_UTILIZATION)), 0.0)
