"""How many dense parameters is an architecture worth?

Transformer -> N of the scaling laws and ln N_eff, with the contribution of
sparsity, granularity, aspect ratio, depth and FFN share.
"""

import jax
import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Count, Ratio, Tokens
from codesign.core.record import Record
from codesign.model.parameters import count_parameters, expert_share
from codesign.model.transformer import Transformer
from codesign.quality.constants import ExpertConstants, QualityConstants, ShapeConstants
from codesign.quality.zeros import density_gain

SMALLEST_SHARE = 1e-6


class Size(Record):
    """Parameters in the convention of the scaling laws.

    ``active`` and ``total`` hold one V*d matrix, the unembedding; the input
    table is not counted, nor is the router: it selects capacity but is none,
    and would otherwise reward endless experts. ``body`` is ``active`` without
    the unembedding, ``mixer`` its attention and recurrence, ``ffn`` its dense,
    shared and active experts.
    """

    active: Count
    total: Count
    body: Count
    mixer: Count
    ffn: Count
    vocabulary: Count


class Capacity(Record):
    """What each part of an architecture adds to ln N_eff - ln N_act.

    ``sparsity`` is that of experts; ``density`` that of weights, of a model trained
    with zeros in them.
    """

    sparsity: Ratio
    granularity: Ratio
    aspect: Ratio
    depth: Ratio
    ffn_share: Ratio
    density: Ratio


def law_size(model: Transformer) -> Size:
    """Parameters by which a scaling law sees the model."""
    counts = count_parameters(model)
    outside = counts.head + counts.router
    active = counts.active - outside
    body = active - counts.embedding
    mixer = counts.attention + counts.recurrent
    return Size(
        active=active,
        total=counts.total - outside,
        body=body,
        mixer=mixer,
        ffn=body - mixer - counts.norm,
        vocabulary=counts.embedding,
    )


def log_granularity(model: Transformer, constants: ExpertConstants) -> Array:
    """ln G, G = 2 d / d_expert; the best one, ln G*, for a dense model.

    Between one and two experts both are blended, so that a gradient exists.
    """
    routed = expert_share(model)
    present = jnp.asarray(model.expert_size) > 0
    size = jnp.where(present, model.expert_size, model.hidden_size)
    best = jnp.log(constants.best_granularity)
    return routed * jnp.log(2.0 * model.hidden_size / size) + (1.0 - routed) * best


def granularity_bonus(log_ratio: Ratio, constants: ExpertConstants) -> Array:
    """Share of the granularity gain that experts of this size earn.

    h = 1 - (s(ln G) / ln G* - 1)^2, s(x) = softplus(8 x) / 8, softly kept
    above -1: 0 for experts as wide as a dense FFN or wider, 1 at G*.

    Assumes: log-parabola in G, the form of the efficiency-leverage law.
    Source: "Towards Greater Leverage", arXiv 2507.17702 (G* about 11);
    Krajewski et al., arXiv 2402.07871.
    """
    softness = constants.softness
    fine = jax.nn.softplus(softness * log_ratio) / softness
    bonus = 1.0 - (fine / jnp.log(constants.best_granularity) - 1.0) ** 2
    return jax.nn.softplus(softness * (bonus + 1.0)) / softness - 1.0


def expert_gain(
    size: Size, constants: ExpertConstants, *, log_ratio: Ratio, tokens: Tokens
) -> tuple[Array, Array]:
    """What idle experts add to ln N_eff: from sparsity and from granularity.

    u kappa ln R_s and u g (1 - 1/R) h(G), with R = N_tot / N_act,
    R_s = 1 + (R - 1) / (1 + (R - 1) / R_max) and u = 1 - exp(-D / (mu N_act)).

    Both vanish at R = 1 and without data, and stay bounded as R grows.

    Assumes: kappa of coarse experts independent of N and D above mu tokens
    per parameter; R_max is a guard beyond the tested sparsity (48 to 128).
    Source: kappa and mu fitted to Ludziejewski et al., arXiv 2502.05172.
    """
    idle = size.total / size.active - 1.0
    saturating = jnp.log1p(idle / (1.0 + idle / constants.max_sparsity))
    filled = -jnp.expm1(-tokens / (constants.tokens_per_parameter * size.active))
    bonus = granularity_bonus(log_ratio, constants)
    sparsity = filled * constants.exponent * saturating
    granularity = filled * constants.granularity_gain * idle / (1.0 + idle) * bonus
    return sparsity, granularity


def aspect_penalty(
    hidden_size: Count, num_layers: Count, *, shape: ShapeConstants
) -> Array:
    """Cost of a wide or narrow shape in ln N: -s_r ln^2(d / (100 L)).

    Source: calibrated to one pair of Kaplan et al., arXiv 2001.08361, figure 5:
    (L, d) = (6, 4288) within 3 % of (48, 1600).
    """
    aspect = hidden_size / num_layers / shape.best_aspect
    return -shape.aspect_penalty * jnp.log(aspect) ** 2


def depth_penalty(num_layers: Count, *, shape: ShapeConstants) -> Array:
    """Cost of very few layers in ln N: 2 ln(1 - exp(-L / 1.5)), a guard.

    Source: models of one or two layers leave the trend, Kaplan et al., figure 6.
    """
    return 2.0 * jnp.log(-jnp.expm1(-num_layers / shape.depth_scale))


def ffn_share_penalty(size: Size, *, shape: ShapeConstants) -> Array:
    """Cost of an unbalanced layer in ln N: -s_f ln^2(phi / 3), phi = P_ffn / P_mix.

    Each share counts as at least 1e-6 of the layer, which keeps the term
    finite for a model without FFN or without attention.

    Source: flat within 1 to 2 %, Kaplan et al., figure 5; s_f is assumed.
    """
    least = SMALLEST_SHARE * (size.ffn + size.mixer)
    ratio = (size.ffn + least) / (size.mixer + least)
    return -shape.ffn_penalty * jnp.log(ratio / shape.best_ffn_ratio) ** 2


def capacity(
    model: Transformer, constants: QualityConstants, *, size: Size
) -> Capacity:
    """Contributions of the architecture to ln N_eff.

    ln N_eff = ln N_act + sparsity + granularity + aspect + depth + ffn_share
    + density
    """
    experts, shape = constants.experts, constants.shape
    sparsity, granularity = expert_gain(
        size,
        experts,
        log_ratio=log_granularity(model, experts),
        tokens=model.training_tokens,
    )
    return Capacity(
        sparsity=sparsity,
        granularity=granularity,
        aspect=aspect_penalty(model.hidden_size, model.num_layers, shape=shape),
        depth=depth_penalty(model.num_layers, shape=shape),
        ffn_share=ffn_share_penalty(size, shape=shape),
        density=density_gain(model, constants),
    )


def log_effective_parameters(size: Size, terms: Capacity) -> Array:
    """ln N_eff, the sum of ln N_act and all contributions."""
    gains = terms.sparsity + terms.granularity
    shape = terms.aspect + terms.depth + terms.ffn_share
    return jnp.log(size.active) + gains + shape + terms.density
