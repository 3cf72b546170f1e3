"""What does number format cost in loss?

Bits of weights, activations and KV -> nats of post-training quantisation, per
operand, in nats of the first base law.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Bits, Ratio, Tokens
from codesign.core.record import Record
from codesign.model.formats import effective_bits
from codesign.model.transformer import Transformer
from codesign.quality.capacity import Size
from codesign.quality.constants import (
    Nats,
    PrecisionConstants,
    TrainedConstants,
    TrainedFormat,
)


class Precision(Record):
    """Loss in nats that each operand's format adds."""

    weights: Nats
    activations: Nats
    kv: Nats


def rounding_noise(bits: Bits, *, efold: Bits, constants: PrecisionConstants) -> Array:
    """Noise of a format relative to 4 bit: exp(-(b - 4) / gamma) less its value at 16.

    At gamma = 1 / (2 ln 2) = 0.72 bit, the noise power of uniform rounding,
    2^(-2 (b - 4)); zero at 16 bit.

    Source: gamma fitted to 251 published perplexities, 0.716 +- 0.020.
    """
    noise = jnp.exp(-(bits - constants.reference_bits) / efold)
    full = jnp.exp(-(constants.full_bits - constants.reference_bits) / efold)
    return noise - full


def weight_noise(
    model: Transformer, constants: PrecisionConstants, *, size: Size
) -> Array:
    """Rounding noise of the active weights, each part at its own width.

    Sum of N_i noise(b_i) over mixers, FFN and unembedding, per weight of the
    linear layers, so that a uniform format with a 16-bit head gives noise(b).

    Assumes: noise powers of weights add with equal importance; the linear
    layers of attention are not below ``min_attention_bits``.
    """

    def noise(bits: Bits) -> Array:
        width = effective_bits(bits, scale_bits=model.scale_bits)
        efold = constants.bits_per_efold
        return rounding_noise(width, efold=efold, constants=constants)

    return mean_over_weights(model, noise, size=size)


def mean_over_weights(
    model: Transformer, noise: Callable[[Bits], Array], *, size: Size
) -> Array:
    """Noise of mixers, FFN and unembedding per weight of the linear layers."""
    mixer = jnp.maximum(model.weight_bits, model.min_attention_bits)
    total = (
        size.mixer * noise(mixer)
        + size.ffn * noise(model.weight_bits)
        + size.vocabulary * noise(model.head_bits)
    )
    return total / (size.mixer + size.ffn)


def token_factor(
    model: Transformer, constants: PrecisionConstants, *, exponent: Ratio
) -> Array:
    """(D / 2e12)^a: the longer a model was trained, the more rounding hurts."""
    longer = model.training_tokens / constants.reference_tokens
    return jnp.exp(exponent * jnp.log(longer))


def precision(
    model: Transformer, constants: PrecisionConstants, *, size: Size
) -> Precision:
    """Cost in nats of post-training quantisation of weights, activations, KV.

    lambda (D/2T)^0.48 [c_w noise(b_w) + c_a noise(b_a)]
    + lambda c_kv (D/2T)^0.32 noise_kv(b_kv), bits with scales included.

    Assumes: a good method of its class (group-wise weights, rotated
    activations, outlier-aware KV) and no retraining; b_w >= 2, b_a >= 4,
    b_kv >= 2. Cost does not fall with model size between 7B and 70B.
    Source: fitted to published WikiText perplexities; lambda from size steps
    and paired benchmark drops, the least certain of the constants.
    """
    scale = constants.text_factor
    grown = token_factor(model, constants, exponent=constants.token_exponent)
    grown_kv = token_factor(model, constants, exponent=constants.kv_token_exponent)
    activations = rounding_noise(
        effective_bits(model.activation_bits, scale_bits=model.scale_bits),
        efold=constants.bits_per_efold,
        constants=constants,
    )
    kv = rounding_noise(
        effective_bits(model.kv_bits, scale_bits=model.scale_bits),
        efold=constants.kv_bits_per_efold,
        constants=constants,
    )
    weights = weight_noise(model, constants, size=size)
    return Precision(
        weights=scale * grown * constants.weight_price * weights,
        activations=scale * grown * constants.activation_price * activations,
        kv=scale * grown_kv * constants.kv_price * kv,
    )


def trained_price(
    law: TrainedFormat, constants: TrainedConstants, *, size: Size, tokens: Tokens
) -> Array:
    """Loss of training one operand at 4 bit: k D^gamma_D (log2 G)^gamma_G / N^gamma_N.

    Source: Chen et al., arXiv 2505.14302: N up to 0.6e9, D up to 0.2e12.
    """
    groups = jnp.log2(constants.group_size) ** law.group_exponent
    grown = law.token_exponent * jnp.log(tokens)
    shrunk = law.size_exponent * jnp.log(size.active)
    return law.factor * groups * jnp.exp(grown - shrunk)


def trained_precision(
    model: Transformer,
    constants: TrainedConstants,
    *,
    rounding: PrecisionConstants,
    size: Size,
) -> Precision:
    """Cost in nats of training in the formats of weights and activations.

    q 0.906 [d_w noise(b_w) + d_a noise(b_a)], an e-fold per 0.86 bit, without
    the bits of scales, which the group size stands for. KV as after rounding:
    caches are quantised at run time.

    Assumes: the form holds for experts at N_act, and 30 times beyond its data
    in N and D; NVFP4 training of 12e9 parameters on 10e12 tokens lost half to
    two thirds of what it predicts.
    Source: Chen et al., arXiv 2505.14302; slope from ParetoQ, arXiv 2502.02631.
    """

    def noise(bits: Bits) -> Array:
        efold = constants.bits_per_efold
        return rounding_noise(bits, efold=efold, constants=rounding)

    scale = constants.scale * constants.joint_factor
    prices = [
        trained_price(law, constants, size=size, tokens=model.training_tokens)
        for law in (constants.weights, constants.activations)
    ]
    return Precision(
        weights=scale * prices[0] * mean_over_weights(model, noise, size=size),
        activations=scale * prices[1] * noise(model.activation_bits),
        kv=precision(model, rounding, size=size).kv,
    )
