"""What do shared KV heads, missing attention and vocabulary size cost in loss?

Transformer -> nats per structural choice, in nats of the first base law.
"""

import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Fraction
from codesign.core.record import Record
from codesign.core.smooth import saturate
from codesign.model.parameters import num_attention_layers
from codesign.model.transformer import Transformer
from codesign.quality.capacity import Size
from codesign.quality.constants import AttentionConstants, Nats, VocabularyConstants


class Structure(Record):
    """Loss in nats that each structural choice adds."""

    kv_share: Nats
    hybrid: Nats
    vocabulary: Nats


def kv_share_cost(model: Transformer, constants: AttentionConstants) -> Array:
    """Cost of sharing KV heads: (1 - latent) c_g ln(H / H_kv).

    Latent attention costs nothing and earns no bonus.

    Assumes: H_kv <= H.
    Source: DeepSeek-V2, arXiv 2405.04434, tables 8 and 9 (0.011 at most);
    Ainslie et al., arXiv 2305.13245 (0.001). The two conflict.
    """
    shared = jnp.log(model.num_heads) - jnp.log(model.num_kv_heads)
    return (1.0 - model.latent_fraction) * constants.kv_share_price * shared


def attention_share(model: Transformer) -> Array:
    """Share of blocks that attend over the whole context, 1/2 for a transformer.

    Blocks are mixers and FFNs, as published hybrids count them. Windowed and
    recurrent layers do not count as attention.
    """
    full = num_attention_layers(model) - model.num_window_layers
    return saturate(full / (model.num_layers + model.num_ffn_layers))


def hybrid_cost(share: Fraction, constants: AttentionConstants) -> Array:
    """Cost of few attention layers: c_s [exp(-a / a0) - exp(-1 / a0)].

    A tenth of c_s at a = 0.07, all of it without attention. No bonus.

    Assumes: recall over long context is bounded apart, by the validity range.
    Source: guard around Waleffe et al., arXiv 2406.07887: with 7 % of blocks
    attention a hybrid matches a transformer, without any it lags.
    """
    scale = constants.attention_scale
    return constants.hybrid_price * (jnp.exp(-share / scale) - jnp.exp(-1.0 / scale))


def log_vocabulary_ratio(size: Size, constants: VocabularyConstants) -> Array:
    """ln(V d / N_v), N_v = 3145728 (N_body / 33e6)^0.8354 the best vocabulary.

    Source: Tao et al., arXiv 2407.13623, approach 2.
    """
    log_best = jnp.log(constants.best_parameters) + constants.best_exponent * jnp.log(
        size.body / constants.best_at_size
    )
    return jnp.log(size.vocabulary) - log_best


def vocabulary_cost(size: Size, constants: VocabularyConstants) -> Array:
    """Cost of a vocabulary off its best size, per token.

    c_v (N_body / 7e9)^-0.6 ln^2(V d / N_v)

    Assumes: N_body is the active model without vocabulary, so that a huge
    vocabulary does not shrink its own price. Loss per byte also moves with the
    tokens per byte, which J/byte accounts for.
    Source: curvature of Tao et al., arXiv 2407.13623, approach 3.
    """
    growth = (size.body / constants.price_at_size) ** constants.price_exponent
    return constants.price * growth * log_vocabulary_ratio(size, constants) ** 2


def structure(
    model: Transformer,
    attention: AttentionConstants,
    *,
    vocabulary: VocabularyConstants,
    size: Size,
) -> Structure:
    """Cost in nats of all structural choices."""
    return Structure(
        kv_share=kv_share_cost(model, attention),
        hybrid=hybrid_cost(attention_share(model), attention),
        vocabulary=vocabulary_cost(size, vocabulary),
    )
