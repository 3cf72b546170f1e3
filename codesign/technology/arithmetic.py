"""What does one multiply-accumulate cost, and how fast may it be clocked?

Formats, node and voltage -> joules per MAC; voltage -> relative clock.
"""

import jax.numpy as jnp

from codesign.core.quantities import Factor, JoulesPerMac, Scalar, Volts

ALPHA = 1.3  # exponent of the alpha-power law, reproduces the Qualcomm AI 100 points


def mac_energy(
    *,
    alu: JoulesPerMac,
    delivery: JoulesPerMac,
    stored_bits: Scalar,
    activation_bits: Scalar,
    node_factor: Factor,
) -> JoulesPerMac:
    """Energy of one MAC at the calibration voltage, operand delivery included.

    e = (e_alu(format) + k (b_w + b_a) / 2) s_node

    Assumes: delivery from the local operand store scales with the bits moved.
    Source: docs/theory/energy.md; k fitted to sustained GEMM at the power limit.

    Example:
        A bf16 MAC on an H100-class chip takes about a picojoule.

        >>> e = mac_energy(alu=0.59e-12, delivery=0.047e-12, stored_bits=16.0,
        ...                activation_bits=16.0, node_factor=0.7)
        >>> round(float(e) * 1e12, 2)
        0.94
    """
    return (alu + delivery * (stored_bits + activation_bits) / 2) * node_factor


def speed(voltage: Volts, *, threshold: Volts) -> Scalar:
    """Relative switching speed g(V) = (V - V_t)^1.3 / V.

    Assumes: V > V_t; clamped just above the threshold to stay finite.
    Source: Sakurai and Newton, "Alpha-power law MOSFET model", JSSC 25(2), 1990.
    """
    headroom = jnp.maximum(voltage - threshold, 0.01 * threshold)
    return headroom**ALPHA / voltage
