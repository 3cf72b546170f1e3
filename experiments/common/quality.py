"""How far is a model from a reference, and how much larger must it be to be as good?

Models -> gaps under draws of the quality law, and the growth at which a gap closes.
"""

from collections.abc import Sequence

import jax
import numpy as np
from numpy.typing import NDArray

from codesign.config.quality import load_quality_draws
from codesign.model.transformer import Transformer
from codesign.quality.ensemble import paired, reference_under

DRAWS = 64


def gaps(models: Sequence[Transformer], reference: Transformer) -> NDArray[np.float64]:
    """Gap of models to a reference, a row each and a column per quality draw."""
    known = reference_under(load_quality_draws(count=DRAWS), reference)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *models)
    found = jax.jit(jax.vmap(lambda model: paired(model, known).gap))(stacked)
    return np.asarray(found)


def closing_growth(
    grown: Sequence[Transformer],
    factors: NDArray[np.float64],
    *,
    reference: Transformer,
) -> NDArray[np.float64]:
    """Factor at which growing models reach the reference; NaN where none does."""
    crossed = [
        np.interp(0.0, -column, factors, left=factors[0], right=np.nan)
        for column in gaps(grown, reference).T
    ]
    return np.asarray(crossed)
