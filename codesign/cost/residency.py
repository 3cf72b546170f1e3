"""Which bytes live on the chip, and how much memory does a deployment need?

Design -> bytes of weights and KV per chip, resident shares, memory use.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Bytes, Count, Fraction, Tokens
from codesign.core.record import Record
from codesign.core.smooth import Sharpness, smooth_max, smooth_min
from codesign.hardware.chip import Chip
from codesign.hardware.silicon import Silicon
from codesign.model.formats import stored_share
from codesign.model.parameters import count_parameters, num_attention_layers
from codesign.model.transformer import Transformer
from codesign.operators.attention import linear_bits
from codesign.serving.design import Design
from codesign.serving.load import Load, num_replicas

SMALLEST_SHARE = 1e-9  # keeps ratios finite where a store holds everything
CACHE_STEEPNESS = 8.0  # how sharply a cyclic scan larger than a cache misses


class Memory(Record):
    """Bytes per chip, and what of them is served from on-chip memory.

    ``store_residency`` is the part of ``weight_residency`` that a store holds.
    """

    weight_bytes: Bytes
    kv_bytes_per_sequence: Bytes
    kv_bytes: Bytes
    used: Bytes
    available: Bytes
    max_batch: Count
    weight_residency: Fraction
    store_residency: Fraction
    kv_residency: Fraction


def weight_bytes(
    model: Transformer, *, tensor: Count, group: Count, stages: Count
) -> Bytes:
    """Weights that one chip holds, each part in its own format.

    (attention + recurrent) b_a / t + (dense + shared) b_w / t
      + experts b_w / group + (head + embedding + router + norms) b_h / t

    and, of latent attention, the down projections whole on every chip.

    Assumes: equal shares; small replicated parts (norms) are split too.
    """
    count = count_parameters(model)
    linear, attention = (
        bits
        * stored_share(model.weight_density, bits=bits, index_bits=model.index_bits)
        for bits in (linear_bits(model, attention=a) for a in (False, True))
    )
    split = (
        count.attention * attention
        + (count.recurrent + count.dense_ffn + count.shared) * linear
        + (count.embedding + count.head + count.router + count.norm) * model.head_bits
    )
    down = model.latent.query_rank + model.latent.kv_rank + model.latent.rope_size
    copied = (
        num_attention_layers(model)
        * model.latent_fraction
        * (model.hidden_size * down * attention * (1 - 1 / tensor))
    )
    return (split / tensor + copied + count.experts * linear / group) / 8 / stages


def kv_bytes(
    model: Transformer, *, context: Count, tensor: Count, stages: Count
) -> Bytes:
    """KV cache and recurrent state of one sequence on one chip.

    GQA: 2 max(1, kv / t) d_head b per token and layer, at most a window of them
    in windowed layers; latent: (r_kv + d_rope) b, not divided by t;
    recurrence: inner x state fp32 per layer.
    """
    heads = jnp.maximum(
        model.num_kv_heads / tensor, jnp.minimum(1.0, model.num_kv_heads)
    )
    grouped = 2 * heads * model.head_size
    latent = model.latent.kv_rank + model.latent.rope_size
    element = grouped * (1 - model.latent_fraction) + latent * model.latent_fraction
    layers = num_attention_layers(model)
    spans = (layers - model.num_window_layers) * context
    spans = spans + model.num_window_layers * jnp.minimum(context, model.window_size)
    state = model.recurrent
    states = state.num_layers * state.inner_size * state.state_size / tensor * 4
    return (element * spans * model.kv_bits / 8 + states) / stages


def memory(
    design: Design, load: Load, *, built: Silicon, sharpness: Sharpness = None
) -> Memory:
    """Memory that a deployment uses at its peak, and the largest batch.

    KV(peak) = B kv(context) (1 + 3 cv / sqrt(B)), whole blocks of tokens;
    available = f (DRAM + exclusive SRAM) + weights in the store;
    resident share phi = min(1, S / wanted) for managed SRAM, and
    1 / (1 + (wanted / S)^8) for a cache, where a larger cyclic scan hits nothing.
    A draft model has weights and KV of its own beside those of the model.

    Source: docs/theory/memory.md.
    """
    chip, deployment = design.chip, design.deployment
    blocks = load.context + design.stack.kv_block / 2
    weights, each, mean = _held(design, design.model, spans=(blocks, load.context))
    if design.draft is not None:
        spans = blocks + deployment.draft_tokens, load.context
        own, own_each, own_mean = _held(design, design.draft, spans=spans)
        weights, each, mean = weights + own, each + own_each, mean + own_mean
    sequences = jnp.maximum(load.sequences, 1.0)
    peak = each * (sequences + 3 * load.context_variation * jnp.sqrt(sequences))
    managed = chip.style.managed_fraction
    sram = chip.sram
    exclusive = managed * sram.capacity * (sram.weight_fraction + sram.kv_fraction)
    stored = store_share(chip, weights, sharpness=sharpness)
    available = design.stack.memory_fraction * built.dram_capacity + exclusive
    available = available + stored * weights
    room = jnp.maximum(available - weights, 0.0) / each
    spread = 3 * load.context_variation
    root = jnp.sqrt(spread**2 + 4 * room) - spread
    replicas = num_replicas(design.system, deployment)
    loose = jnp.maximum(1 - stored, SMALLEST_SHARE)
    resident = resident_share(
        chip, loose * weights, fraction=sram.weight_fraction, sharpness=sharpness
    )
    return Memory(
        weight_bytes=weights,
        kv_bytes_per_sequence=mean,
        kv_bytes=mean * load.sequences,
        used=weights + peak,
        available=available,
        max_batch=replicas * (root / 2) ** 2,
        weight_residency=stored + (1 - stored) * resident,
        store_residency=stored,
        kv_residency=resident_share(
            chip, mean * sequences, fraction=sram.kv_fraction, sharpness=sharpness
        ),
    )


def _held(
    design: Design, model: Transformer, *, spans: tuple[Tokens, Tokens]
) -> tuple[Bytes, Bytes, Bytes]:
    """Weights of a model on one chip, and a sequence's KV at its peak and mean."""
    deployment = design.deployment
    tensor, stages = deployment.tensor_parallel, deployment.pipeline_parallel
    group = jnp.maximum(tensor, deployment.expert_parallel)
    peak, mean = (
        kv_bytes(model, context=span, tensor=tensor, stages=stages) for span in spans
    )
    return (
        weight_bytes(model, tensor=tensor, group=group, stages=stages),
        peak,
        mean,
    )


def store_share(chip: Chip, wanted: Bytes, *, sharpness: Sharpness) -> Array:
    """Share of the weights that the cells of a store hold, min(1, S / wanted)."""
    ratio = chip.store.capacity / wanted
    return ratio / smooth_max(1.0, ratio, sharpness=sharpness)


def resident_share(
    chip: Chip, wanted: Bytes, *, fraction: Fraction, sharpness: Sharpness
) -> Fraction:
    """Share of the wanted bytes that a partition of the SRAM serves."""
    ratio = fraction * chip.sram.capacity / wanted
    floor = 1e-9
    managed = smooth_min(1.0, ratio + floor, sharpness=sharpness)
    cached = 1 / (1 + (ratio + floor) ** -CACHE_STEEPNESS)
    share = chip.style.managed_fraction
    return share * managed + (1 - share) * cached
