"""How often does a small draft model guess what the model would write?

Model, draft and constants of the quality law -> acceptance of a drafted token.
"""

import jax.numpy as jnp
from jax import Array

from codesign.model.transformer import Transformer
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import law_state, quality
from codesign.quality.laws import weighted_mean
from codesign.serving.design import Design

MOST = 1.0 - 1e-6  # a guess that is never wrong has no expected end


def acceptance(
    model: Transformer, draft: Transformer, *, constants: QualityConstants
) -> Array:
    """Probability that the model accepts a token of the draft.

    a = 1 - sqrt((max(L_draft - L, 0) + 2 p + d_0) / 2), in nats of the laws

    One minus the distance in total variation, which Pinsker's inequality bounds
    by the gap in loss. p are the nats that the model's own formats cost: rounding
    worsens the model, but brings it no nearer to the draft. d_0 is what is left
    between models of equal loss.

    Assumes: one recipe and tokenizer for both; the gap stands for their relative
    entropy. A bound, so rather too low: Llama-3 8B for 70B gives 0.75, greedy runs
    of that pair with eight guesses imply 0.8 to 0.9.
    Source: Leviathan et al., ICML 2023, arXiv 2211.17192 (a = 1 - E[TV]).
    """
    gap = quality(draft, reference=model, constants=constants).gap_nats
    own = law_state(model, constants).terms
    formats = own.precision_weights + own.precision_activations + own.precision_kv
    formats = formats + own.sparse_weights + own.sparse_activations
    laws = constants.laws
    rounding = 2.0 * weighted_mean(laws.delta_scale, laws) * formats
    floor = constants.speculation.equal_model_gap
    apart = jnp.maximum(gap, 0.0) + jnp.maximum(rounding, 0.0) + floor
    return jnp.clip(1.0 - jnp.sqrt(apart / 2.0), 0.0, MOST)


def with_acceptance(
    design: Design, base: Design, *, constants: QualityConstants
) -> Design:
    """The design with the acceptance that its model changes from its baseline's.

    a = a_base law(model) / law(base's model): a measured acceptance of the
    baseline stands for the residual of the law, as an anchor does for a chip.
    """
    if design.draft is None or base.draft is None:
        return design
    ours = acceptance(design.model, design.draft, constants=constants)
    theirs = acceptance(base.model, base.draft, constants=constants)
    ratio = ours / jnp.maximum(theirs, 1.0 - MOST)
    chance = jnp.clip(ratio * base.deployment.acceptance, 0.0, MOST)
    return design.replace(deployment=design.deployment.replace(acceptance=chance))
