"""What does a process node change? Interpolation of the node table.

Node (continuous, metres) -> area, energy, price, defects, carbon at that node.
"""

import jax.numpy as jnp

from codesign.core.quantities import Factor, Meters, Scalar
from codesign.technology.constants import NodeTable


def at_node(table: NodeTable, column: Scalar, *, node: Meters) -> Scalar:
    """Value of a column of the node table at a continuous node.

    ln y(n) is linear in ln n between neighbouring nodes of the table.

    Assumes: n within the table (2 to 28 nm); the end value beyond it.
    Source: docs/theory/technology.md lists the table's sources.
    """
    return at_row(table.node, column, place=node)


def at_row(rows: Scalar, column: Scalar, *, place: Scalar) -> Scalar:
    """Value of a column between the rows of an ascending table.

    ln y is linear in ln x between neighbours, y the end value beyond them.
    """
    places, values = jnp.log(rows), jnp.log(column)
    widths = jnp.diff(places)
    passed = jnp.clip(jnp.log(place) - places[:-1], 0.0, widths)
    return jnp.exp(values[0] + jnp.sum(passed * jnp.diff(values) / widths))


def clock_factor(node: Meters, *, given: Meters, exponent: Factor) -> Factor:
    """Clock of a design at a node over its clock at the node it was given for.

    f / f_given = (n_given / n)^x

    Assumes: the same logic and supply voltage; one exponent from 28 to 2 nm.
    Source: within families of 14 chips, docs/theory/power.md.

    Example:
        >>> round(float(clock_factor(7e-9, given=4e-9, exponent=0.5)), 3)
        0.756
    """
    return (given / node) ** exponent
