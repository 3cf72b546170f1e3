"""What work do dense layers, norms, embedding, head and sampling do?

Model, shard of a step -> rows of the operator table.
"""

import jax.numpy as jnp

from codesign.core.quantities import Bytes
from codesign.model.parameters import (
    num_attention_layers,
    num_dense_ffn_layers,
    num_expert_layers,
)
from codesign.model.transformer import Transformer
from codesign.operators.attention import linear_bits, sparsity
from codesign.operators.shard import Shard
from codesign.operators.table import Row, RowKind, row

FFN_IN = RowKind("ffn in", weight=1)
FFN_OUT = RowKind("ffn out", weight=1)
NORMS = RowKind("norms and elementwise", kernels=0)
EMBEDDING = RowKind("embedding", weight=0)
HEAD = RowKind("lm head", weight=1)
SAMPLING = RowKind("sampling")

ELEMENT_BYTES = 2.0  # elementwise operands stay in 16 bit
HIDDEN_PASSES = 8.0  # reads and writes of the hidden state per layer
FLOPS_PER_ELEMENT = 2.0


def feedforward_rows(model: Transformer, shard: Shard) -> list[Row]:
    """The dense FFN: (matrices - 1) inputs and one output projection."""
    layers = num_dense_ffn_layers(model) * shard.layer_share
    width = model.ffn_size / shard.tensor
    bits = linear_bits(model, attention=False)
    common = {
        "count": layers,
        "rows": shard.tokens,
        "stored_bits": bits,
        **sparsity(model, bits=bits, tokens=shard.tokens),
        "activation_bits": model.activation_bits,
        "math_bits": jnp.maximum(model.weight_bits, model.activation_bits),
    }
    inputs = (model.num_ffn_matrices - 1) * width
    return [
        row(FFN_IN, cols=inputs, inner=model.hidden_size, **common),
        row(FFN_OUT, cols=model.hidden_size, inner=width, **common),
    ]


def token_rows(
    model: Transformer, shard: Shard, *, sampling_traffic: Bytes
) -> list[Row]:
    """Norms and elementwise work, embedding, LM head and sampling.

    Elementwise bytes = 2 L n (8 d + 2 (q + kv) / t + 3 f / t) x 2 bytes, f the
    dense or active expert width; the
    head sees every token of a running sequence and one of a finished prompt; sampling
    sorts its logits on one chip, whatever the tensor parallelism.

    Source: docs/theory/operators.md; sampling traffic fitted to serving runs.
    """
    queries = model.num_heads * (1 + model.gated_attention)
    attended = 2 * (queries + 2 * model.num_kv_heads) * model.head_size
    attended = attended * num_attention_layers(model)
    active = model.num_active_experts * model.expert_size + model.shared_size
    inner = 3 * (
        model.ffn_size * num_dense_ffn_layers(model) + active * num_expert_layers(model)
    )
    elements = (
        HIDDEN_PASSES * model.hidden_size * model.num_layers
        + (attended + inner) / shard.tensor
    )
    elements = 2 * shard.tokens * elements * shard.layer_share
    outputs = (shard.sequences * shard.queries + shard.prompts) * shard.layer_share
    return [
        row(
            NORMS,
            count=1.0,
            vector_flops=FLOPS_PER_ELEMENT * elements,
            traffic=ELEMENT_BYTES * elements,
        ),
        row(
            EMBEDDING,
            count=shard.layer_share,
            traffic=shard.tokens * model.hidden_size * model.head_bits / 8,
        ),
        row(
            HEAD,
            count=1.0,
            rows=outputs,
            cols=model.vocab_size / shard.tensor,
            inner=model.hidden_size,
            stored_bits=model.head_bits * shard.layer_share,
        ),
        row(
            SAMPLING,
            count=1.0,
            traffic=outputs * model.vocab_size * sampling_traffic,
        ),
    ]
