"""What do zeros in weights and activations cost in loss?

Density of weights and of inputs of linear layers -> nats after pruning, or
ln N_eff of a model that was trained with its zeros.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Factor, Fraction, Ratio
from codesign.core.record import Record
from codesign.model.transformer import Transformer
from codesign.quality.constants import Nats, QualityConstants

HALF = 0.5  # the density to which prices refer


class Zeros(Record):
    """Loss in nats of the first law that zeros add."""

    weights: Nats
    activations: Nats


def zeros_growth(density: Fraction, *, exponent: Factor) -> Array:
    """Price over that at half density, ((1 - rho) / 0.5)^q; 0 without zeros."""
    zeros = (1.0 - jnp.asarray(density)) / HALF
    some = zeros > 0.0
    return jnp.where(some, jnp.where(some, zeros, 1.0) ** exponent, 0.0)


def zeros_cost(model: Transformer, constants: QualityConstants) -> Zeros:
    """Cost in nats of zeros that were put in after training.

    lambda c (D / 2T)^a ((1 - rho) / 0.5)^q, of weights and of activations

    Weights of a model trained with its zeros cost capacity instead, see
    ``density_gain``; activations cost the same in either recipe.

    Assumes: weights in the pattern 2:4, pruned in one shot without retraining;
    inputs of all linear layers cut at a threshold. Nothing is known of either
    beside 4-bit formats: the prices add.
    Source: SparseGPT and Wanda on Llama-2, github locuslab/wanda; TEAL, arXiv
    2408.14690 (recalled); configs/quality/constants.yaml.
    """
    price, rounding = constants.sparsity, constants.precision
    longer = jnp.log(model.training_tokens / rounding.reference_tokens)
    scale = rounding.text_factor
    weights = zeros_growth(model.weight_density, exponent=price.weight_exponent)
    inputs = zeros_growth(model.activation_density, exponent=price.activation_exponent)
    grown = jnp.exp(price.weight_token_exponent * longer)
    pruned = 0.0 if constants.trained is not None else 1.0
    return Zeros(
        weights=pruned * scale * price.weight_price * grown * weights,
        activations=scale
        * price.activation_price
        * jnp.exp(price.activation_token_exponent * longer)
        * inputs,
    )


def density_gain(model: Transformer, constants: QualityConstants) -> Ratio:
    """What zeros add to ln N_eff of a model trained with them, eta ln(rho) <= 0.

    Assumes: eta between 0, zeros that cost nothing, and 1, a model of the weights
    that are left.
    Source: form of Frantar et al., arXiv 2309.08520; eta from one model,
    configs/quality/constants.yaml.
    """
    if constants.trained is None:
        return jnp.zeros(())
    return constants.sparsity.trained_exponent * jnp.log(model.weight_density)
