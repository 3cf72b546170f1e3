"""Which benchmark score goes with a loss? For display, never for a constraint.

Surcharges, ln N_eff and D_eff -> score in [0, 1].
"""

import jax
import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Ratio, Tokens
from codesign.quality.constants import Head, Nats
from codesign.quality.laws import dense_excess, weighted_mean


def head_score(
    head: Head, *, log_parameters: Ratio, tokens: Tokens, surcharge: Nats
) -> Array:
    """Benchmark score that goes with a loss, the mean over the head's laws.

    floor + (ceiling - floor) / (1 + exp((L - L0) / tau)), where progress of
    recipes by r in ln C divides the reducible dense loss by
    exp(r / (1/alpha + 1/beta)).

    Assumes: one recipe for all models. Error of a left-out model family 8
    points, median 3: a dial, not a claim.
    Source: fitted to 145 base models with published MMLU (5-shot).
    """
    laws, curve = head.laws, head.curve
    excess = dense_excess(laws, log_parameters=log_parameters, tokens=tokens)
    exponents = 1.0 / laws.size_exponent + 1.0 / laws.data_exponent
    progress = jnp.exp(-curve.recipe_growth * curve.recipe_years / exponents)
    loss = laws.irreducible_loss + progress * excess + laws.delta_scale * surcharge
    gained = jax.nn.sigmoid((curve.middle_loss - loss) / curve.width)
    score = curve.floor + (curve.ceiling - curve.floor) * gained
    return weighted_mean(score, laws)
