"""Does a model lie where the quality law has evidence?

Transformer and limits -> log-ratios, each <= 0 inside its range; a search uses
them as constraints, a report flags what is positive as extrapolated.
"""

import jax
import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Bits, Count, Ratio
from codesign.core.record import Record
from codesign.model.formats import effective_bits
from codesign.model.transformer import Transformer
from codesign.quality.capacity import Size, log_granularity
from codesign.quality.constants import QualityConstants, Range
from codesign.quality.structure import attention_share, log_vocabulary_ratio

TOLERANCE = 1e-9


class Validity(Record):
    """ln(limit / use) of lower and ln(use / limit) of upper limits; <= 0 inside.

    ``attention_share`` is the difference (limit - use) / limit instead, since
    the use may be zero. ``window`` is -1 for a model without windowed layers.
    """

    aspect_low: Ratio
    aspect_high: Ratio
    layers_low: Ratio
    layers_high: Ratio
    active_parameters_low: Ratio
    active_parameters_high: Ratio
    sparsity: Ratio
    granularity_low: Ratio
    granularity_high: Ratio
    vocabulary_low: Ratio
    vocabulary_high: Ratio
    active_experts: Ratio
    kv_heads: Ratio
    weight_bits: Ratio
    head_bits: Ratio
    activation_bits: Ratio
    kv_bits: Ratio
    weight_density: Ratio
    activation_density: Ratio
    attention_share: Ratio
    window: Ratio
    tokens_low: Ratio
    tokens_high: Ratio


def inside_range(log_value: Ratio, limits: Range) -> tuple[Array, Array]:
    """ln(low / value) and ln(value / high)."""
    return jnp.log(limits.low) - log_value, log_value - jnp.log(limits.high)


def count_excess(part: Count, whole: Count) -> Array:
    """ln(part / (whole + 1/2)): the half keeps part = whole strictly inside.

    For whole numbers it is <= 0 exactly where part <= whole.
    """
    return jnp.log(part) - jnp.log(whole + 0.5)


def window_shortage(model: Transformer, constants: QualityConstants) -> Array:
    """ln(limit / window), or -1 where no layer is windowed."""
    windowed = jnp.asarray(model.num_window_layers) > 0
    shortage = jnp.log(constants.limits.window_size) - jnp.log(
        jnp.where(windowed, model.window_size, 1.0)
    )
    return jnp.where(windowed, shortage, -1.0)


def validity(
    model: Transformer,
    constants: QualityConstants,
    *,
    reference: Transformer,
    size: Size,
) -> Validity:
    """Log-ratios of a model to the limits of the evidence.

    Assumes: weight limits are of post-training quantisation; bits include
    scales. Training tokens are held near the reference's, since the laws
    diverge beyond.
    """
    limits = constants.limits
    aspect = jnp.log(model.hidden_size / model.num_layers)
    tokens = jnp.log(model.training_tokens / reference.training_tokens)
    granularity = log_granularity(model, constants.experts)
    aspect_low, aspect_high = inside_range(aspect, limits.aspect)
    layers_low, layers_high = inside_range(jnp.log(model.num_layers), limits.layers)
    size_low, size_high = inside_range(jnp.log(size.active), limits.active_parameters)
    fine_low, fine_high = inside_range(granularity, limits.granularity)
    words = log_vocabulary_ratio(size, constants.vocabulary)
    words_low, words_high = inside_range(words, limits.vocabulary)
    tokens_low, tokens_high = inside_range(tokens, limits.token_ratio)

    def shortage(limit: Bits, bits: Bits) -> Array:
        width = effective_bits(bits, scale_bits=model.scale_bits)
        return jnp.log(limit) - jnp.log(width)

    latent = model.latent_fraction
    shared = count_excess(model.num_kv_heads, model.num_heads)
    return Validity(
        aspect_low=aspect_low,
        aspect_high=aspect_high,
        layers_low=layers_low,
        layers_high=layers_high,
        active_parameters_low=size_low,
        active_parameters_high=size_high,
        sparsity=jnp.log(size.total / size.active) - jnp.log(limits.sparsity),
        granularity_low=fine_low,
        granularity_high=fine_high,
        vocabulary_low=words_low,
        vocabulary_high=words_high,
        active_experts=count_excess(model.num_active_experts, model.num_experts),
        kv_heads=(1.0 - latent) * shared - latent,
        weight_bits=shortage(limits.weight_bits, model.weight_bits),
        head_bits=shortage(limits.weight_bits, model.head_bits),
        activation_bits=shortage(limits.activation_bits, model.activation_bits),
        kv_bits=shortage(limits.kv_bits, model.kv_bits),
        weight_density=jnp.log(limits.weight_density) - jnp.log(model.weight_density),
        activation_density=jnp.log(limits.activation_density)
        - jnp.log(model.activation_density),
        attention_share=1.0 - attention_share(model) / limits.attention_share,
        window=window_shortage(model, constants),
        tokens_low=tokens_low,
        tokens_high=tokens_high,
    )


def is_extrapolated(values: Validity) -> Array:
    """Whether any limit is exceeded (beyond rounding)."""
    flags = jnp.stack(jnp.broadcast_arrays(*map(jnp.asarray, jax.tree.leaves(values))))
    return jnp.any(flags > TOLERANCE, axis=0)
