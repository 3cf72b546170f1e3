"""What is one unit more of a limit worth: a watt, a square millimetre, a nat?

Result -> the value of each of its limits, and the objective per unit of it.
"""

import math

from codesign.config.limits import Limit, is_difference
from codesign.core.paths import get_path
from codesign.optimize.result import Result, Rung
from codesign.outcome.answer import metric
from codesign.serving.design import Design


def limit_value(limit: Limit, *, design: Design, tuned: Rung) -> float:
    """The right side of a limit in SI: its value, or what it refers to.

    A multiple of the tuned baseline's metric, or of a parameter of the design.
    """
    if limit.path is not None:
        return limit.factor * float(get_path(design, limit.path))
    if limit.baseline:
        return limit.factor * float(metric(tuned, limit.metric))
    return math.nan if limit.value is None else limit.value


def prices_per_unit(result: Result) -> dict[str, float]:
    """d objective / d limit in SI, by the text of the limit, of those that bind.

    df/db = -l f / b for f <= b, +l f / b for f >= b, with the multiplier l, the
    relative fall of the objective f per relative widening; -l f per unit of quality,
    whose limits are differences. Negative: a wider limit saves.

    Assumes: everything else adapts; the relaxed optimum of the listed choices.
    Source: envelope theorem, docs/theory/search.md.

    Example:
        ``prices_per_unit(result)["power <= 700 W"]``, in J/token per W
    """
    if result.evidence is None:
        return {}
    limits = {limit.text: limit for limit in result.study.limits}
    found: dict[str, float] = {}
    for binding in result.evidence.binding:
        limit = limits.get(binding.name)
        if limit is None or not binding.price:
            continue
        sign = -1.0 if limit.sense == "<=" else 1.0
        per_share = sign * binding.price * result.best.objective
        value = limit_value(limit, design=result.design, tuned=result.baseline)
        found[limit.text] = per_share / (1.0 if is_difference(limit.metric) else value)
    return found
