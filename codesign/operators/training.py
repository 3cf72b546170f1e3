"""Which operators run in one step of training?

Table of the forward pass -> tables of both halves of the backward pass and of the
update, with the rows of every step, so that the same equations price them.
"""

import jax
import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Bytes, Count
from codesign.operators import collectives, feedforward
from codesign.operators.phases import KINDS, Step
from codesign.operators.table import OperatorTable, kind_column

ATTENTION_BACKWARD = 2.5  # five products where the forward pass has two
ELEMENTWISE_BACKWARD = 2.0  # gradients come in and go out beside the inputs
ROW = {kind: index for index, kind in enumerate(KINDS)}


def forward_pass(step: Step) -> Step:
    """The forward pass of training: the loss of every token, none sampled."""
    table = step.table
    head = ROW[feedforward.HEAD]
    rows = _put(table.rows, head, value=step.shard.tokens)
    count = _put(table.count, ROW[feedforward.SAMPLING], value=0.0)
    return step.replace(table=table.replace(rows=rows, count=count))


def input_gradients(forward: Step) -> Step:
    """Backward pass to the inputs, dX = dY W^T.

    A weight's product (M x K)(K x N) becomes (M x N)(N x K). Attention does its scores
    again and the gradients of queries, keys, values and scores: 5 products for 2.

    Source: Dao et al., FlashAttention, arXiv 2205.14135, algorithm 4.
    """
    table = forward.table
    weight = kind_column(KINDS, "weight")
    cache = kind_column(KINDS, "cache")
    growth = 1.0 + cache * (ATTENTION_BACKWARD - 1.0)
    light = 1.0 + (1 - weight) * (1 - cache) * (ELEMENTWISE_BACKWARD - 1.0)
    messages = jnp.where(table.message_bytes > 0, 1.0, light)
    swapped = table.replace(
        cols=jnp.where(weight > 0, table.inner, table.cols),
        inner=jnp.where(weight > 0, table.cols, table.inner),
        count=table.count * growth * messages,
    )
    return forward.replace(table=swapped)


def weight_gradients(forward: Step) -> Step:
    """Backward pass to the weights, dW = X^T dY.

    A product (M x K)(K x N) becomes (K x M)(M x N); M (K + N) inputs come in, K N
    gradients go out, no weight is read.
    """
    table = forward.table
    weight = kind_column(KINDS, "weight")
    arriving = table.copies * table.rows * table.cols * table.activation_bits / 8
    turned = table.replace(
        count=table.count * weight,
        rows=table.inner,
        inner=table.rows,
        stored_bits=0.0 * table.stored_bits,
        traffic=weight * arriving,
        vector_flops=0.0 * table.vector_flops,
        message_bytes=0.0 * table.message_bytes,
        num_messages=0.0 * table.num_messages,
        touched=1.0 + 0.0 * table.touched,
    )
    return forward.replace(table=turned)


def update(
    forward: Step,
    *,
    weights: Count,
    replicas: Count,
    gradient_bytes: Bytes,
    optimizer_bytes: Bytes,
) -> Step:
    """All-reduce of the gradients over replicas, and the optimiser on their shares.

    bytes sent = 2 (R - 1) / R weights b_g, in one message per layer;
    bytes moved = weights b_opt / R

    Source: Rajbhandari et al., ZeRO, arXiv 1910.02054.
    """
    table: OperatorTable = jax.tree.map(jnp.zeros_like, forward.table)
    norms, reduce = ROW[feedforward.NORMS], ROW[collectives.FFN_REDUCE]
    layers = jnp.asarray(forward.table.count)[ROW[collectives.ATTENTION_REDUCE]]
    sent = 2 * (replicas - 1) / replicas * weights * gradient_bytes
    several = jnp.where(replicas > 1, 1.0, 0.0)
    layers = jnp.maximum(layers, 1.0)
    table = table.replace(
        count=_put(_put(table.count, norms, value=1.0), reduce, value=layers),
        traffic=_put(table.traffic, norms, value=weights * optimizer_bytes / replicas),
        message_bytes=_put(table.message_bytes, reduce, value=sent / layers),
        num_messages=_put(table.num_messages, reduce, value=several),
        num_peers=_put(table.num_peers, reduce, value=forward.shard.tensor * replicas),
        activation_bits=table.activation_bits + 16.0,
        math_bits=table.math_bits + 16.0,
        hot_factor=table.hot_factor + 1.0,
        density=table.density + 1.0,
        touched=table.touched + 1.0,
    )
    return forward.replace(table=table)


def _put(column: Count, row: int, *, value: Count) -> Array:
    """A column with the entry of one row replaced."""
    return jnp.asarray(column).at[row].set(value)
