"""What does the page show of one design? One compiled function of it.

Design and the place of a metric -> its value and gradient in every parameter,
with cost, quality and service of the design beside them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from codesign.config.limits import metric_units
from codesign.config.quality import load_quality_constants, load_quality_draws
from codesign.config.study import Study
from codesign.core.compiler import cpu_options
from codesign.core.errors import UnknownNameError
from codesign.core.paths import get_path, nearest
from codesign.core.quantities import Count, Scalar
from codesign.core.record import Record, as_float64
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.model.transformer import Transformer
from codesign.outcome.answer import Outcome, complete, metric
from codesign.quality.constants import QualityConstants
from codesign.quality.ensemble import (
    NUM_DRAWS,
    Band,
    Paired,
    Reference,
    band,
    paired,
    reference_under,
)
from codesign.quality.evaluate import quality
from codesign.quality.validity import is_extrapolated
from codesign.serving.design import Design
from codesign.serving.load import design_load

RESIDUAL = "residual"  # of Little's law, behind the metrics
UNTRAINED = 1e12  # tokens that stand in where a file does not say them


class Scale(Record):
    """What quality is measured with: a reference, constants, and draws of them.

    ``known`` is 0 where the reference does not say on how many tokens it was trained.
    """

    reference: Transformer
    known: Count
    constants: QualityConstants
    drawn: Reference
    reference_constants: QualityConstants | None = None


class Seen(Record):
    """All that is known of a design at its batch and voltages."""

    outcome: Outcome
    drawn: Paired
    band: Band


@dataclass(frozen=True)
class Frame:
    """A settled design, its outcome, and the gradient of one metric in it.

    ``judged`` is False where nothing can be said of quality: the model, or the
    reference, does not say on how many tokens it was trained.
    """

    design: Design
    outcome: Outcome
    drawn: Paired
    band: Band
    of: str
    value: float
    slopes: Design
    judged: bool

    @property
    def cost(self) -> Cost:
        """What the design takes."""
        return self.outcome.cost

    def metric(self, name: str) -> float:
        """Value of a metric by name; NaN for quality that nothing is known of."""
        if name.startswith("quality.") and not self.judged:
            return np.nan
        return float(metric(self.outcome, name))


@cache
def entry_names() -> tuple[str, ...]:
    """Metrics that have a gradient, in the order of their places."""
    return (*metric_units(), RESIDUAL)


def place_of(name: str) -> int:
    """Place of a metric.

    Raises:
        UnknownNameError: there is none of that name.
    """
    names = entry_names()
    if name not in names:
        close = ", ".join(nearest(name, list(names)) or names[:3])
        raise UnknownNameError(f"{name}: no such metric. Close: {close}.")
    return names.index(name)


def build_scale(study: Study) -> Scale:
    """Reference, constants and 256 draws of them for the models of a study."""
    reference = _trained(as_float64(study.reference))
    ours, theirs = study.recipe, study.reference_recipe
    own = None if ours == theirs else load_quality_draws(count=NUM_DRAWS, recipe=theirs)
    draws = load_quality_draws(count=NUM_DRAWS, recipe=ours)
    under = jax.jit(reference_under, compiler_options=cpu_options(level=0))
    return Scale(
        reference=reference,
        known=jnp.asarray(study.reference.training_tokens) > 0,
        constants=as_float64(load_quality_constants(recipe=ours)),
        drawn=under(draws, reference, own=own),
        reference_constants=None
        if own is None
        else as_float64(load_quality_constants(recipe=theirs)),
    )


def settled(design: Design) -> Design:
    """The design at the batch that its arrival rate keeps running, if it has one."""
    if not float(design.request.rate) > 0:
        return design
    batch = np.float64(evaluate(design).batch)
    return design.replace(deployment=design.deployment.replace(batch=batch))


def look(design: Design, of: str, *, scale: Scale) -> Frame:
    """Everything the page shows of a design, and the gradient of one metric.

    At an arrival rate the batch B solves r(p, B) = ln B - ln rate - ln(L TPOT) = 0,
    so  dm/dp = m_p - m_B r_p / r_B.
    """
    held = settled(design)
    run = partial(compiled(), scale=scale)
    (value, seen), slopes = jax.device_get(run(held, np.int64(place_of(of))))
    if float(held.request.rate) > 0:
        _, rest = jax.device_get(run(held, np.int64(place_of(RESIDUAL))))
        ratio = slopes.deployment.batch / rest.deployment.batch
        slopes = jax.tree.map(lambda m, r: m - ratio * r, slopes, rest)
    return Frame(
        design=held,
        outcome=seen.outcome,
        drawn=seen.drawn,
        band=seen.band,
        of=of,
        value=float(value),
        slopes=slopes,
        judged=bool(scale.known) and float(held.model.training_tokens) > 0,
    )


def slope(frame: Frame, path: str, *, tied: tuple[str, ...] = ()) -> float:
    """d metric / d ln parameter, with what moves along in proportion."""
    return sum(
        float(np.sum(np.asarray(get_path(frame.design, p)) * get_path(frame.slopes, p)))
        for p in (path, *tied)
    )


@cache
def compiled() -> Callable[..., Any]:
    """The function behind the page; the metric's place is traced, so one serves all.

    Compiled in half the time at a quarter of the speed: the page waits for the
    compiler once, and 30 ms for a call are not seen.
    """
    run = jax.value_and_grad(_entry, has_aux=True)
    return jax.jit(run, compiler_options=cpu_options(level=0))


def _entry(design: Design, index: Count, *, scale: Scale) -> tuple[Array, Seen]:
    found = evaluate(design, load=design_load(design))
    model = _trained(design.model)
    scored = quality(
        model,
        reference=scale.reference,
        constants=scale.constants,
        reference_constants=scale.reference_constants,
    )
    outcome: Outcome = complete(
        design.replace(model=model), found, scored=scored, constants=scale.constants
    )
    under = paired(model, scale.drawn)
    sure = band(under, extrapolated=is_extrapolated(scored.validity))
    names = [metric(outcome, name) for name in metric_units()]
    values = jnp.stack([jnp.asarray(v, jnp.float64) for v in names])
    values = jnp.append(values, _residual(design, found))
    return values[index], Seen(outcome=outcome, drawn=under, band=sure)


def _residual(design: Design, found: Cost) -> Scalar:
    """Little's law, ln B - ln(rate L TPOT)."""
    request = design.request
    rate = jnp.where(request.rate > 0, request.rate, 1.0)
    decoding = request.output_length * found.time_per_output_token
    return jnp.log(design.deployment.batch / (rate * decoding))


def _trained(model: Transformer) -> Transformer:
    """The model with a number in place of unknown training tokens."""
    tokens = jnp.asarray(model.training_tokens)
    return model.replace(training_tokens=jnp.where(tokens > 0, tokens, UNTRAINED))
