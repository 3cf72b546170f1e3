"""What does a process node change? Interpolation of the node table.

Node (continuous, metres) -> area, energy, price, defects, carbon at that node.
"""

import jax.numpy as jnp

from codesign.core.quantities import Meters, Scalar
from codesign.technology.constants import NodeTable


def at_node(table: NodeTable, column: Scalar, *, node: Meters) -> Scalar:
    """Value of a column of the node table at a continuous node.

    ln y(n) is linear in ln n between neighbouring nodes of the table.

    Assumes: n within the table (2 to 28 nm); the end value beyond it.
    Source: docs/theory/technology.md lists the table's sources.
    """
    nodes, values = jnp.log(table.node), jnp.log(column)
    widths = jnp.diff(nodes)
    passed = jnp.clip(jnp.log(node) - nodes[:-1], 0.0, widths)
    return jnp.exp(values[0] + jnp.sum(passed * jnp.diff(values) / widths))
