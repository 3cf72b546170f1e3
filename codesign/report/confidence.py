"""How sure is the quality of a design, and which constants decide?

``Result`` -> tables of the gap under all draws of the constants, of its terms
with their class of evidence, and of the constants that move it most.
"""

from functools import cache
from typing import Any

import jax
import numpy as np

from codesign.config.limits import Limit
from codesign.config.quality import load_quality_draws, load_quality_spread
from codesign.config.recipe import Recipe
from codesign.config.study import Study
from codesign.core.compiler import cpu_options
from codesign.core.paths import get_path
from codesign.model.transformer import Transformer
from codesign.optimize.result import Result, Rung
from codesign.optimize.yardstick import build_yardstick
from codesign.quality.constants import QualityConstants
from codesign.quality.contributions import (
    EVIDENCE,
    Contributions,
    drawn_contributions,
)
from codesign.quality.ensemble import (
    BAND,
    NUM_DRAWS,
    Band,
    Draws,
    Interval,
    Paired,
    band,
    paired,
    reference_under,
)
from codesign.quality.evaluate import quality
from codesign.quality.validity import is_extrapolated
from codesign.report.tables import Table, shown_rungs
from codesign.report.texts import number, percent

SHOWN_CONSTANTS = 8
LEAST_TERM = 5e-4  # in ln compute, half of the last digit shown
GAPS = ("quality.gap <=", "quality.gap<=")

TERMS = {
    "size": "active parameters",
    "sparsity": "idle experts",
    "granularity": "size of experts",
    "aspect": "width over depth",
    "depth": "depth",
    "ffn_share": "FFN share",
    "density": "zeros in weights, trained",
    "data": "training tokens",
    "kv_share": "shared KV heads",
    "hybrid": "missing attention",
    "vocabulary": "vocabulary",
    "precision_weights": "weight format",
    "precision_activations": "activation format",
    "precision_kv": "KV format",
    "sparse_weights": "zeros in weights, pruned",
    "sparse_activations": "zeros in activations",
}


def confidence_table(result: Result) -> Table:
    """Quality gap of every design shown, with its band over the draws."""
    rungs = shown_rungs(result)
    bands = [quality_band(result, rung) for rung in rungs]
    rows = [
        ("gap at mean constants", *(number(float(r.quality.gap)) for r in rungs)),
        ("gap, mean of the draws", *(number(float(b.gap.mean)) for b in bands)),
        ("gap, 5 to 95 %", *(_range(b.gap) for b in bands)),
        ("gap in nats, 5 to 95 %", *(_range(b.gap_nats) for b in bands)),
        ("chance to be no worse", *(percent(float(b.no_worse)) for b in bands)),
    ]
    return Table(
        title="How sure the quality is",
        columns=("", *(rung.name for rung in rungs)),
        rows=tuple(rows),
        note=f"Gap in ln of training compute against the reference under the "
        f"same {NUM_DRAWS} draws of all constants; negative is better. Outside of the "
        f"law's evidence the band is doubled. {recipe_words(result.study)}",
    )


def recipe_words(study: Study) -> str:
    """What the gap cannot tell, in a sentence."""
    if study.recipe != study.reference_recipe:
        return (
            "Model and reference got their formats by different recipes, priced by "
            "different measurements (training loss of small models, WikiText after "
            "rounding): between them the gap is a rough guide, within a factor 2 of "
            "the prices of formats."
        )
    return (
        "It compares designs under one recipe of training; models of different years, "
        "data or post-training it cannot rank."
    )


def terms_table(result: Result) -> Table:
    """What each choice of the best model adds to its gap, and how sure that is."""
    found = drawn_terms(result)
    rows = [
        (
            TERMS[name],
            number(float(np.mean(values))),
            _ends(*np.quantile(values, BAND)),
            EVIDENCE[name],
        )
        for name in Contributions.__dataclass_fields__
        if np.max(np.abs(values := np.asarray(getattr(found, name)))) > LEAST_TERM
    ]
    return Table(
        title="Terms of the quality gap",
        columns=("term", "Δ ln compute", "5 to 95 %", "evidence"),
        rows=tuple(rows),
        note="The terms of one draw add up to its gap. "
        "Backed: fitted to many points or by two laws. One or two points: a "
        "constant rests on little. Assumed: a guard or a judgement."
        if rows
        else "The model is the reference.",
    )


def drawn_terms(result: Result) -> Contributions:
    """Terms of the best model's gap under every draw."""
    models = result.best.design.model, result.study.reference
    return jax.device_get(_terms()(*models, **_drawn(result.study)))


def constants_table(result: Result) -> Table:
    """Constants of the quality law that move the optimum most."""
    price = quality_price(result)
    moved = _moved(result)
    rows = [
        (path, number(step), percent(price * step) if price else "–")
        for path, step in sorted(moved.items(), key=lambda item: -abs(item[1]))
        if abs(step) > LEAST_TERM
    ]
    return Table(
        title="Quality constants that matter",
        columns=("constant", "gap per standard deviation", "objective"),
        rows=tuple(rows[:SHOWN_CONSTANTS]),
        note="One standard deviation more of a constant moves the gap of the best "
        "model by this much in ln compute; the objective by the shadow price of the "
        "limit on quality, where one binds."
        if rows
        else "No constant moves the gap: the model is the reference.",
    )


def quality_band(result: Result, rung: Rung) -> Band:
    """Gap of a design's model to the baseline's under all draws."""
    return _under_draws(result, rung)[1]


def quality_quantile(result: Result, rung: Rung, *, limit: Limit) -> float:
    """Value of a quality metric that the limit's share of all draws keeps."""
    sign = 1.0 if limit.sense == "<=" else -1.0
    drawn = _under_draws(result, rung)[0]
    values = sign * np.asarray(getattr(drawn, limit.metric.removeprefix("quality.")))
    share = limit.quantile or 0.0
    return sign * float(np.quantile(values, share, method="inverted_cdf"))


def _under_draws(result: Result, rung: Rung) -> tuple[Paired, Band]:
    extrapolated = bool(is_extrapolated(rung.quality.validity))
    models = rung.design.model, result.study.reference
    drawn = _drawn(result.study)
    return jax.device_get(_paired()(*models, extrapolated=extrapolated, **drawn))


def _drawn(study: Study) -> dict[str, Draws]:
    """Draws of the study's recipe, and of the reference's where that is another."""
    ours, theirs = study.recipe, study.reference_recipe
    own = {} if theirs == ours else {"own": _draws(theirs)}
    return {"draws": _draws(ours), **own}


@cache
def _draws(recipe: Recipe) -> Draws:
    return load_quality_draws(count=NUM_DRAWS, recipe=recipe)


@cache
def _paired() -> Any:
    """Compiled quickly rather than well: it runs a few times."""

    def compute(
        model: Transformer,
        reference: Transformer,
        *,
        draws: Draws,
        extrapolated: bool,
        own: Draws | None = None,
    ) -> tuple[Paired, Band]:
        found = paired(model, reference_under(draws, reference, own=own))
        return found, band(found, extrapolated=extrapolated)

    return jax.jit(compute, compiler_options=cpu_options(level=0))


@cache
def _terms() -> Any:
    return jax.jit(drawn_contributions, compiler_options=cpu_options(level=0))


@cache
def _slopes() -> Any:
    def gap(
        both: tuple[QualityConstants, QualityConstants | None],
        model: Transformer,
        *,
        reference: Transformer,
    ) -> Any:
        ours, theirs = both
        return quality(
            model, reference=reference, constants=ours, reference_constants=theirs
        ).gap

    return jax.jit(jax.grad(gap), compiler_options=cpu_options(level=0))


def _moved(result: Result) -> dict[str, float]:
    """Change of the best model's gap per standard deviation of each constant."""
    study, spread = result.study, load_quality_spread()
    yardstick = build_yardstick(study)
    constants, theirs = yardstick.constants, yardstick.reference_constants
    slopes = _slopes()(
        (constants, theirs), result.best.design.model, reference=yardstick.reference
    )
    found: dict[str, float] = {}
    for path, deviation, lognormal in zip(
        spread.paths, spread.deviations, spread.lognormal, strict=True
    ):
        known = [(constants, slopes[0]), (theirs, slopes[1])]
        found[path] = sum(
            float(get_path(slope, path))
            * (float(get_path(own, path)) if lognormal else 1.0)
            for own, slope in known
            if own is not None and _holds(own, path)
        )
        found[path] *= deviation
    return found


def _holds(constants: QualityConstants, path: str) -> bool:
    return constants.trained is not None or not path.startswith("trained.")


def quality_price(result: Result) -> float:
    """d ln objective / d gap at the optimum, from the limit on the gap."""
    binding = result.evidence.binding if result.evidence else ()
    return sum(limit.price for limit in binding if limit.name.startswith(GAPS))


def _range(interval: Interval) -> str:
    return _ends(float(interval.low), float(interval.high))


def _ends(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}"
