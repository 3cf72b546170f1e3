"""Where does a quality gap come from, and how good is the evidence for each part?

Model and reference under the same constants -> their gap as a sum of terms, in
compute-equivalents and in nats.
"""

import jax
import jax.numpy as jnp
from jax import Array

from codesign.core.quantities import Ratio
from codesign.core.record import Record
from codesign.model.transformer import Transformer
from codesign.quality.constants import Laws, QualityConstants
from codesign.quality.ensemble import Draws, draw_axes
from codesign.quality.evaluate import State, law_state, reducible_loss
from codesign.quality.laws import weighted_mean

BACKED = "backed"
CALIBRATED = "one or two points"
ASSUMED = "assumed"

EVIDENCE = {
    "size": BACKED,
    "sparsity": BACKED,
    "granularity": CALIBRATED,
    "aspect": CALIBRATED,
    "depth": ASSUMED,
    "ffn_share": ASSUMED,
    "density": CALIBRATED,
    "data": BACKED,
    "kv_share": CALIBRATED,
    "hybrid": ASSUMED,
    "vocabulary": BACKED,
    "precision_weights": CALIBRATED,
    "precision_activations": ASSUMED,
    "precision_kv": CALIBRATED,
    "sparse_weights": CALIBRATED,
    "sparse_activations": ASSUMED,
}
"""Class of each term: the weakest constant that sets its size.

Prices of formats have a backed slope, but hang on nats of law per nat of
WikiText, which two routes agree on within a factor 2.
"""


class Contributions(Record):
    """What each choice adds to a gap, relative to the reference; positive is worse.

    ``size`` is the active parameters, ``data`` the training tokens. The sum of
    all terms is the gap.
    """

    size: Ratio
    sparsity: Ratio
    granularity: Ratio
    aspect: Ratio
    depth: Ratio
    ffn_share: Ratio
    density: Ratio
    data: Ratio
    kv_share: Ratio
    hybrid: Ratio
    vocabulary: Ratio
    precision_weights: Ratio
    precision_activations: Ratio
    precision_kv: Ratio
    sparse_weights: Ratio
    sparse_activations: Ratio


SMALL = 1e-9
SURCHARGES = tuple(EVIDENCE)[-8:]
CAPACITY = ("sparsity", "granularity", "aspect", "depth", "ffn_share", "density")


def log_mean(first: Ratio, second: Ratio) -> Array:
    """(a - b) / (ln a - ln b), or a where both agree.

    Example:
        >>> round(float(log_mean(1.0, 2.0)), 4), round(float(log_mean(2.0, 2.0)), 4)
        (1.4427, 2.0)
    """
    ratio = jnp.log(first) - jnp.log(second)
    near = jnp.abs(ratio) < SMALL
    safe = jnp.where(near, 1.0, ratio)
    return jnp.where(near, first, second * jnp.expm1(safe) / safe)


def loss_contributions(
    model: Transformer,
    reference: Transformer,
    *,
    constants: QualityConstants,
    reference_constants: QualityConstants | None = None,
) -> Contributions:
    """What each choice adds to the gap in nats, the mean over the laws.

    A term t of ln N_eff adds -alpha M(x, x_ref) (t - t_ref), with
    x = A N_eff^-alpha and M the logarithmic mean: exact, without a remainder.

    Source: logarithmic mean Divisia index, Ang, Energy Policy 33(7), 2005.
    """
    theirs = constants if reference_constants is None else reference_constants
    ours = law_state(model, constants)
    parts = _by_law(ours, law_state(reference, theirs), laws=constants.laws)
    return _mean(parts, constants.laws)


def gap_contributions(
    model: Transformer,
    reference: Transformer,
    *,
    constants: QualityConstants,
    reference_constants: QualityConstants | None = None,
) -> Contributions:
    """What each choice adds to the gap in compute-equivalents.

    (1/alpha + 1/beta) nats / M(l, l_ref) by law, which adds up to ``quality.gap``.
    """
    laws = constants.laws
    own = constants if reference_constants is None else reference_constants
    ours, theirs = law_state(model, constants), law_state(reference, own)
    parts = _by_law(ours, theirs, laws=laws)
    exponents = 1.0 / laws.size_exponent + 1.0 / laws.data_exponent
    means = log_mean(reducible_loss(ours, laws), reducible_loss(theirs, laws))
    return _mean(jax.tree.map(lambda part: exponents / means * part, parts), laws)


def _mean(parts: Contributions, laws: Laws) -> Contributions:
    return jax.tree.map(lambda part: weighted_mean(part, laws), parts)


def _by_law(ours: State, theirs: State, *, laws: Laws) -> Contributions:
    """Nats of each term, one entry per law."""
    rate = -laws.size_exponent * log_mean(
        _size_loss(laws, ours), _size_loss(laws, theirs)
    )
    gains = {
        name: getattr(ours.terms.capacity, name) - getattr(theirs.terms.capacity, name)
        for name in CAPACITY
    }
    gains["size"] = jnp.log(ours.size.active) - jnp.log(theirs.size.active)
    charges = {
        name: getattr(ours.terms, name) - getattr(theirs.terms, name)
        for name in SURCHARGES
    }
    return Contributions(
        data=_data_loss(laws, ours) - _data_loss(laws, theirs),
        **{name: rate * gain for name, gain in gains.items()},
        **{name: laws.delta_scale * charge for name, charge in charges.items()},
    )


def _size_loss(laws: Laws, state: State) -> Array:
    return laws.size_coefficient * jnp.exp(-laws.size_exponent * state.log_parameters)


def _data_loss(laws: Laws, state: State) -> Array:
    return laws.data_coefficient * state.tokens ** (-laws.data_exponent)


def drawn_contributions(
    model: Transformer,
    reference: Transformer,
    *,
    draws: Draws,
    own: Draws | None = None,
) -> Contributions:
    """Contributions in compute-equivalents under every draw, a leading axis.

    ``own`` are the same draws under the reference's recipe where that is another.
    """
    theirs = draws if own is None else own

    def one(draw: Draws, other: Draws) -> Contributions:
        return gap_contributions(
            model,
            reference,
            constants=draw.constants,
            reference_constants=other.constants,
        )

    axes = draw_axes(draws), draw_axes(theirs)
    found: Contributions = jax.vmap(one, in_axes=axes)(draws, theirs)
    return found
