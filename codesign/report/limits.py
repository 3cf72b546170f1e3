"""Which limits hold a design, how much of each is used, and what would more bring?

``Result`` -> tables of binding limits with shadow prices and of all limits.
"""

import math

from codesign.config.limits import Limit, is_difference
from codesign.config.units import format_quantity
from codesign.core.quantities import Unit
from codesign.cost.limits import UNUSED, Limits
from codesign.optimize.prices import limit_value, prices_per_unit
from codesign.optimize.result import Binding, Result, Rung
from codesign.report.confidence import quality_quantile
from codesign.report.tables import (
    BAD,
    Table,
    Tones,
    metric_unit,
    metric_value,
    shown_rungs,
)
from codesign.report.texts import (
    SMALLEST_SHARE,
    common_unit,
    number,
    percent,
    quantity,
    unit_text,
)

HUNDREDTH = 0.01  # of a limit without unit, such as that on quality


def binding_table(result: Result) -> Table:
    """Limits that hold the optimum, with what loosening each would bring."""
    per_unit = _per_unit(result)
    rows = [
        (
            limit_title(binding.name),
            _used(binding),
            number(binding.price),
            _price_words(binding.name, binding.price),
            per_unit.get(binding.name, number(math.nan)),
        )
        for binding in result.binding
    ]
    return Table(
        title="Limits that bind",
        columns=("limit", "used", "shadow price", "meaning", "per unit"),
        rows=tuple(rows),
        note="Shadow price: relative fall of the objective per relative widening of "
        "the limit, everything else adapted. A limit that is full at price 0 costs "
        "nothing.",
    )


def _per_unit(result: Result) -> dict[str, str]:
    """What one unit more of each limit does to the objective, in words."""
    objective = metric_unit(result.study.minimize)
    limits = {limit.text: limit for limit in result.study.limits}
    found: dict[str, str] = {}
    for text, price in prices_per_unit(result).items():
        limit = limits[text]
        value = limit_value(limit, design=result.design, tuned=result.baseline)
        size, name = _one(value, metric_unit(limit.metric))
        found[text] = f"{quantity(price * size, objective)} per {name}"
    return found


def _one(value: float, unit: Unit) -> tuple[float, str]:
    """One of the unit that a value is printed in: its size in SI, and its name.

    Without a unit, a hundredth.
    """
    _, space, name = format_quantity(value, unit).partition(" ")
    if not space:
        return HUNDREDTH, f"{HUNDREDTH:g}"
    return common_unit([value], unit)[1], unit_text(name)


def _used(binding: Binding) -> str:
    """Use over limit; for quality, whose limit may be 0, the distance left."""
    if is_difference(binding.name):
        return f"{number(binding.slack)} left"
    return percent(math.exp(-binding.slack), digits=4)


def _price_words(name: str, price: float) -> str:
    step = "0.01 looser" if is_difference(name) else "1 % looser"
    return f"{step}: objective {number(-price)} %" if price else "no gain if looser"


def limit_title(name: str) -> str:
    """Words for the name of a constraint.

    Example:
        >>> limit_title("limits.decode_power"), limit_title("quality.gap <= 0")
        ('decode power', 'quality.gap <= 0')
    """
    for prefix in ("limits.", "quality.validity."):
        if name.startswith(prefix):
            words = name.removeprefix(prefix).replace("_", " ")
            return words if prefix == "limits." else f"evidence range: {words}"
    return name


def limits_table(result: Result) -> Table:
    """How much of every limit each design uses, slack ones included."""
    rungs = shown_rungs(result)
    tones: Tones = {}
    rows: list[tuple[str, ...]] = [
        (limit.text, *(_use(limit, r, result=result) for r in rungs))
        for limit in result.study.limits
    ]
    off = result.study.off
    for name in [n for n in Limits.__dataclass_fields__ if n not in off]:
        shares = [float(getattr(r.cost.limits, name)) for r in rungs]
        if all(share == UNUSED for share in shares):
            continue
        for column, share in enumerate(shares, start=1):
            if share > SMALLEST_SHARE:
                tones[len(rows), column] = BAD
        cells = [percent(math.exp(share)) for share in shares]
        rows.append((limit_title(f"limits.{name}"), *cells))
    return Table(
        title="Use of every limit",
        columns=("limit", *(r.name for r in rungs)),
        rows=tuple(rows),
        note="Above 100 % a limit is broken. Limits of the study show the value "
        f"reached; switched off by the study: {', '.join(off) or 'none'}.",
        tones=tones,
    )


def _use(limit: Limit, rung: Rung, *, result: Result) -> str:
    unit = metric_unit(limit.metric)
    if limit.quantile is None:
        value = metric_value(rung, limit.metric)
    else:
        value = quality_quantile(result, rung, limit=limit)
    bound = limit_value(limit, design=rung.design, tuned=result.baseline)
    return f"{quantity(value, unit)} of {quantity(bound, unit)}"
