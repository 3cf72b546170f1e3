"""What work do expert layers do, and how uneven is it between ranks?

Model, shard of a step -> rows of the operator table.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Count
from codesign.model.formats import touched_share
from codesign.model.parameters import num_expert_layers
from codesign.model.transformer import Transformer
from codesign.operators.attention import linear_bits, sparsity
from codesign.operators.shard import Shard
from codesign.operators.table import Row, RowKind, row

ROUTER = RowKind("router", weight=1)
EXPERT_IN = RowKind("experts in", weight=1, expert=1, kernels=0, expert_kernels=1)
EXPERT_OUT = RowKind("experts out", weight=1, expert=1, kernels=0)
SHARED_IN = RowKind("shared expert in", weight=1)
SHARED_OUT = RowKind("shared expert out", weight=1)


def touched_experts(
    tokens: Count, *, num_experts: Count, num_active: Count, skew: Count
) -> Array:
    """Expected distinct experts that a step touches, E (1 - (1 - k/E)^T).

    Assumes: independent routing; with a skew s only 1 + (T - 1) / (1 + s) draws
    are independent.
    Source: docs/theory/operators.md.

    Example:
        >>> n = touched_experts(64.0, num_experts=8.0, num_active=2.0, skew=0.0)
        >>> round(float(n), 3)
        8.0
    """
    share = jnp.minimum(num_active / num_experts, 1.0 - 1e-12)
    draws = jnp.minimum(tokens, 1.0) + jnp.maximum(tokens - 1.0, 0.0) / (1 + skew)
    return -num_experts * jnp.expm1(draws * jnp.log1p(-share))


def largest_of_normals(ranks: Count) -> Array:
    """Mean of the largest of n standard normal draws, 1.4 (sqrt(1 + log2 n) - 1).

    Assumes: 1 <= n <= 1024, where it is within 0.06 of the exact value.
    Source: fit to the exact order statistics (0.564, 1.029, 1.424 at 2, 4, 8).

    Example:
        >>> round(float(largest_of_normals(8.0)), 2)
        1.4
    """
    return 1.4 * (jnp.sqrt(1 + jnp.log2(ranks)) - 1)


def expert_rows(model: Transformer, shard: Shard, *, skew: Count) -> list[Row]:
    """Router, routed experts and shared expert of the expert layers.

    Distinct experts per rank d = touched / e; the busiest rank holds
    d* = min(E / e, d + z sqrt(d (1 - touched / E))). Time uses d*, energy d. The
    hidden state of a token moves once for all of its experts.
    """
    layers = num_expert_layers(model) * shard.layer_share
    group_tokens = shard.tokens * shard.expert_replicas
    touched = touched_experts(
        group_tokens,
        num_experts=model.num_experts,
        num_active=model.num_active_experts,
        skew=skew,
    )
    local = touched / shard.expert
    spread = local * (1 - touched / model.num_experts)
    deviation = jnp.sqrt(jnp.where(spread > 0, spread, 1.0)) * (spread > 0)
    busiest = jnp.minimum(
        model.num_experts / shard.expert,
        local + largest_of_normals(shard.expert) * deviation,
    )
    per_expert = group_tokens * model.num_active_experts / touched
    bits = linear_bits(model, attention=False)
    formats = {
        "stored_bits": bits,
        "activation_bits": model.activation_bits,
        "math_bits": jnp.maximum(model.weight_bits, model.activation_bits),
        **sparsity(model, bits=bits, tokens=shard.tokens),
    }
    inputs = model.num_ffn_matrices - 1
    width = model.expert_size / shard.expert_tensor
    shared = model.shared_size / shard.tensor
    routed = {"count": layers, "copies": local, "rows": per_expert, **formats}
    routed["touched"] = touched_share(model.activation_density, per_expert)
    routed["hot_factor"] = busiest / local
    routed["reused_width"] = model.hidden_size * (1 - 1 / model.num_active_experts)
    return [
        row(
            ROUTER,
            count=layers,
            rows=shard.tokens,
            cols=model.num_experts,
            inner=model.hidden_size,
            stored_bits=model.head_bits,
        ),
        row(EXPERT_IN, cols=inputs * width, inner=model.hidden_size, **routed),
        row(EXPERT_OUT, cols=model.hidden_size, inner=width, **routed),
        row(
            SHARED_IN,
            count=layers,
            rows=shard.tokens,
            cols=inputs * shared,
            inner=model.hidden_size,
            **formats,
        ),
        row(
            SHARED_OUT,
            count=layers,
            rows=shard.tokens,
            cols=model.hidden_size,
            inner=shared,
            **formats,
        ),
    ]
