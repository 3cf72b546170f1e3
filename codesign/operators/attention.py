"""What work do attention layers do? Grouped-query, windowed and latent.

Model, shard of a step -> rows of the operator table.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Bits, Count
from codesign.model.formats import effective_bits, stored_share, touched_share
from codesign.model.parameters import num_attention_layers
from codesign.model.transformer import Transformer
from codesign.operators.shard import Shard
from codesign.operators.table import Row, RowKind, row

QKV = RowKind("qkv projection", weight=1)
OUTPUT = RowKind("output projection", weight=1)
DECODE = RowKind("decode attention", cache=1, attends=1, kernels=3)
DECODE_WINDOW = RowKind("decode attention, window", cache=1, attends=1, kernels=3)
PREFILL = RowKind("prefill attention", cache=1, attends=1, prompt=1, kernels=3)
PREFILL_WINDOW = RowKind(
    "prefill attention, window", cache=1, attends=1, prompt=1, kernels=3
)
LATENT_DOWN = RowKind("latent down projection", weight=1)
LATENT_QUERY = RowKind("latent query projection", weight=1)
LATENT_ABSORB = RowKind("latent key and value projection", weight=1)
LATENT_OUTPUT = RowKind("latent output projection", weight=1)
LATENT_DECODE = RowKind("latent decode attention", cache=1, attends=1, kernels=3)
LATENT_PREFILL = RowKind(
    "latent prefill attention", cache=1, attends=1, prompt=1, kernels=3
)

SOFTMAX_FLOPS = 5.0  # scale, subtract the maximum, exponentiate, add, divide


def linear_bits(model: Transformer, *, attention: bool) -> Array:
    """Effective stored bits of a linear layer's weights, scales included."""
    bits = effective_bits(model.weight_bits, scale_bits=model.scale_bits)
    if not attention:
        return bits
    return jnp.maximum(bits, model.min_attention_bits)


def sparsity(model: Transformer, *, bits: Bits, tokens: Count) -> dict[str, Array]:
    """Fields of a linear layer's row that follow from zeros in it."""
    density = jnp.asarray(model.weight_density)
    return {
        "density": density,
        "stored_factor": stored_share(density, bits=bits, index_bits=model.index_bits),
        "touched": touched_share(model.activation_density, tokens),
    }


def attention_rows(model: Transformer, shard: Shard) -> list[Row]:
    """Rows of grouped-query and latent attention; a class without layers is 0.

    GQA: q heads of one KV head form the rows of a product with its cached keys
    and values, so ``cols`` is the context and ``inner`` twice the head size.
    """
    return _grouped(model, shard) + _latent(model, shard)


def _grouped(model: Transformer, shard: Shard) -> list[Row]:
    held = shard.layer_share * (1 - model.latent_fraction)
    layers = num_attention_layers(model) * held
    window_layers = model.num_window_layers * held
    beyond = num_attention_layers(model) - model.num_window_layers
    full_layers = jnp.maximum(beyond, 0.0) * held
    heads = model.num_heads / shard.tensor
    query, cached = heads * model.head_size, 2 * shard.kv_heads * model.head_size
    projection = _projection(model, shard)
    projected = query * (1 + model.gated_attention) + cached
    qkv = row(QKV, count=layers, cols=projected, inner=model.hidden_size, **projection)
    output = row(
        OUTPUT, count=layers, cols=model.hidden_size, inner=query, **projection
    )
    cache: dict[str, Array | float] = {
        "inner": 2 * model.head_size,
        "stored_bits": model.kv_bits,
    }
    group = heads / shard.kv_heads
    running = shard.sequences * shard.queries
    kinds = (
        (DECODE, DECODE_WINDOW, running, shard.sequences, shard.context),
        (
            PREFILL,
            PREFILL_WINDOW,
            shard.prefill_tokens,
            shard.prompts,
            shard.prefill_context,
        ),
    )
    rows = [qkv, output]
    for full, windowed, tokens, sequences, context in kinds:
        per_sequence = shard.queries if full is DECODE else _per_sequence(shard)
        near = jnp.minimum(context, model.window_size)
        for kind, count, span in (
            (full, full_layers, context),
            (windowed, window_layers, near),
        ):
            rows.append(
                row(
                    kind,
                    count=count,
                    copies=sequences * shard.kv_heads,
                    rows=per_sequence * group,
                    cols=span,
                    vector_flops=SOFTMAX_FLOPS * tokens * heads * span,
                    **cache,
                )
            )
    return rows


def _latent(model: Transformer, shard: Shard) -> list[Row]:
    layers = num_attention_layers(model) * model.latent_fraction * shard.layer_share
    heads = model.num_heads / shard.tensor
    latent = model.latent
    key = latent.nope_size + latent.rope_size
    query_inner = jnp.where(latent.query_rank > 0, latent.query_rank, model.hidden_size)
    projection = _projection(model, shard)
    shared = latent.kv_rank + latent.rope_size
    absorbed = latent.kv_rank + shared
    plain = key + latent.value_size
    safe_absorbed = jnp.maximum(absorbed, 1.0)
    safe_plain = jnp.maximum(plain, 1.0)
    return [
        row(
            LATENT_DOWN,
            count=layers,
            cols=latent.query_rank + shared,
            inner=model.hidden_size,
            **projection,
        ),
        row(
            LATENT_QUERY,
            count=layers,
            cols=heads * key,
            inner=query_inner,
            **projection,
        ),
        row(
            LATENT_ABSORB,
            count=layers,
            cols=heads * (latent.nope_size + latent.value_size),
            inner=latent.kv_rank,
            **projection,
        ),
        row(
            LATENT_OUTPUT,
            count=layers,
            cols=model.hidden_size,
            inner=heads * latent.value_size,
            **projection,
        ),
        row(
            LATENT_DECODE,
            count=layers,
            copies=shard.sequences,
            rows=shard.queries * heads,
            cols=shard.context,
            inner=absorbed,
            stored_bits=model.kv_bits,
            stored_factor=shared / safe_absorbed,
            vector_flops=SOFTMAX_FLOPS
            * (shard.sequences * shard.queries)
            * heads
            * shard.context,
        ),
        row(
            LATENT_PREFILL,
            count=layers,
            copies=shard.prompts,
            rows=_per_sequence(shard) * heads,
            cols=shard.prefill_context,
            inner=plain,
            stored_bits=model.kv_bits,
            stored_factor=shared / safe_plain,
            vector_flops=SOFTMAX_FLOPS
            * shard.prefill_tokens
            * heads
            * shard.prefill_context,
        ),
    ]


def _projection(model: Transformer, shard: Shard) -> dict[str, Array | float]:
    weights = jnp.maximum(model.weight_bits, model.min_attention_bits)
    stored = linear_bits(model, attention=True)
    return {
        "rows": shard.tokens,
        "stored_bits": stored,
        **sparsity(model, bits=stored, tokens=shard.tokens),
        "activation_bits": model.activation_bits,
        "math_bits": jnp.maximum(weights, model.activation_bits),
    }


def _per_sequence(shard: Shard) -> Array:
    """Prefill tokens per prompt in the step; 0 where there are none."""
    return shard.prefill_tokens / jnp.maximum(shard.prompts, 1e-6)
