"""What work do state-space and linear-attention layers do?

Model, shard of a step -> rows of the operator table.
"""

import jax.numpy as jnp

from codesign.core.quantities import Tokens
from codesign.model.transformer import Transformer
from codesign.operators.attention import linear_bits, sparsity
from codesign.operators.shard import Shard
from codesign.operators.table import Row, RowKind, row

RECURRENT_IN = RowKind("recurrent in", weight=1)
RECURRENT_OUT = RowKind("recurrent out", weight=1)
RECURRENT_STATE = RowKind("recurrent state", cache=1, wide=1)

STATE_BITS = 64.0  # one fp32 read and one fp32 write per state element
STATE_FLOPS = 6.0  # decay, outer product, add, and the output product


def recurrent_rows(model: Transformer, shard: Shard, *, padding: Tokens) -> list[Row]:
    """Projections into and out of the recurrence, and the state update.

    in: d -> 2 inner + 2 groups state + heads;  out: inner -> d;
    state: inner x state elements per sequence, read and written each step;
    6 inner state FLOP per token, and for ``padding`` tokens more with prompts.

    Source: Dao and Gu, Mamba-2, arXiv 2405.21060; padding: docs/theory/latency.md.
    """
    part = model.recurrent
    layers = part.num_layers * shard.layer_share
    inner = part.inner_size / shard.tensor
    gates = (2 * part.num_groups * part.state_size + part.num_heads) / shard.tensor
    bits = linear_bits(model, attention=False)
    padded = jnp.where(shard.prefill_tokens > 0, padding / shard.microbatches, 0.0)
    common = {
        "count": layers,
        "rows": shard.tokens,
        "stored_bits": bits,
        **sparsity(model, bits=bits, tokens=shard.tokens),
        "activation_bits": model.activation_bits,
        "math_bits": jnp.maximum(model.weight_bits, model.activation_bits),
    }
    return [
        row(RECURRENT_IN, cols=2 * inner + gates, inner=model.hidden_size, **common),
        row(RECURRENT_OUT, cols=model.hidden_size, inner=inner, **common),
        row(
            RECURRENT_STATE,
            count=layers,
            copies=shard.sequences + shard.prompts,
            cols=inner,
            inner=part.state_size,
            stored_bits=STATE_BITS,
            vector_flops=STATE_FLOPS
            * (shard.tokens + padded)
            * inner
            * part.state_size,
        ),
    ]
