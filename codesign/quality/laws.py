"""Which loss does a model of N parameters reach on D tokens, and what is it worth?

Constants of base laws, ln N and D -> reducible loss in nats, and the training
compute with which a dense model would have reached the same loss.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Count, Ratio, Tokens
from codesign.quality.constants import Laws, Nats, Repetition


def dense_excess(laws: Laws, *, log_parameters: Ratio, tokens: Tokens) -> Array:
    """Reducible loss of a dense model, one entry per law.

    L - E = A N^-alpha + B D^-beta, with ln N given.

    Assumes: one recipe (corpus, tokenizer, optimiser). Levels are not
    comparable between laws, differences are. The laws were fitted up to
    N = 16e9, D = 0.3e12; a modern model lies one to two orders in D beyond.
    Source: Hoffmann et al., arXiv 2203.15556; Besiroglu et al., arXiv
    2404.10102; Muennighoff et al., arXiv 2305.16264; Ludziejewski et al.,
    arXiv 2502.05172 (its law at one expert).
    """
    size_term = laws.size_coefficient * jnp.exp(-laws.size_exponent * log_parameters)
    data_term = laws.data_coefficient * jnp.exp(-laws.data_exponent * jnp.log(tokens))
    return jnp.asarray(size_term + data_term)


def compute_gap(laws: Laws, excess: Nats, *, reference_excess: Nats) -> Array:
    """Training compute a model lacks to its reference, as a logarithm, per law.

    -dlnC = (1/alpha + 1/beta) ln(l / l_ref), with l = L - E and C(l) the least
    compute with which a dense model reaches l. Positive: worse.

    Least C = 6 N D under x + y = l, where x = A N^-alpha and y = B D^-beta:
    stationarity of ln N + ln D gives alpha x = beta y, hence
    x = l beta / (alpha + beta), y = l alpha / (alpha + beta) and
    ln C = ln 6 + ln(A / x) / alpha + ln(B / y) / beta, which depends on l only
    through -(1/alpha + 1/beta) ln l.

    Assumes: l > 0, true because every term of it is.
    Source: the Lagrangian of Hoffmann et al., arXiv 2203.15556, approach 3.
    """
    exponents = 1.0 / laws.size_exponent + 1.0 / laws.data_exponent
    return jnp.asarray(exponents * (jnp.log(excess) - jnp.log(reference_excess)))


def effective_tokens(repetition: Repetition, tokens: Tokens) -> Array:
    """Tokens that are worth as much as the given ones, were they all unique.

    D_eff = U (1 + R_D (1 - exp(-(D/U - 1) / R_D))) for D > U, else D.

    Value and slope agree at D = U; about four epochs cost next to nothing.

    Assumes: whole passes over the same U tokens.
    Source: Muennighoff et al., arXiv 2305.16264, R_D = 15.39.
    """
    unique, decay = repetition.unique_tokens, repetition.decay_epochs
    repeats = jnp.maximum(tokens / unique - 1.0, 0.0)
    return jnp.minimum(tokens, unique) - unique * decay * jnp.expm1(-repeats / decay)


def weighted_mean(values: Ratio, laws: Laws) -> Array:
    """Mean over the laws by their weight, the last axis of ``values``."""
    return jnp.sum(jnp.asarray(values) * laws.weight, axis=-1)


def dense_gap(laws: Laws, *, small: Count, large: Count, tokens: Tokens) -> Array:
    """Loss gap between two dense models on equal tokens, one entry per law.

    Its ratio to the gap of the calibration law is ``delta_scale``: surcharges
    keep their size relative to what a step in model size is worth.
    """
    below = dense_excess(laws, log_parameters=jnp.log(small), tokens=tokens)
    return below - dense_excess(laws, log_parameters=jnp.log(large), tokens=tokens)
