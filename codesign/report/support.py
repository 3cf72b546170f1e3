"""Which share of the gain rests on assumed constants?

``Result`` -> the objective of the tuned and the best design, computed anew with each
doubtful constant at both ends of its range.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from codesign.config.doubts import PLACES
from codesign.config.quality import quality_values
from codesign.config.records import UNSURE, ValueInfo
from codesign.core.paths import get_path, path_units
from codesign.core.quantities import Count
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.optimize.result import Result, Rung
from codesign.optimize.support import Ends, GainSupport, gain_support
from codesign.outcome.service import Service
from codesign.report.tables import Table, metric_title
from codesign.report.texts import NONE, number, percent
from codesign.serving.design import Design, set_parameter
from codesign.study.service import service

SHEET = "datasheet."
QUALITY = "quality."
BOUNDS = "quality.limits."  # of the evidence, no constants of the law
MOST_ROWS = 8
LEAST = 5e-4  # of ln gain, half of the last digit shown


def result_support(result: Result, known: Mapping[str, ValueInfo]) -> GainSupport:
    """What of the gain over the tuned baseline rests on each doubtful constant.

    Constants of technology, style, memory, links, stack and chip move in both designs
    as they are, residuals of the chip held; those of the quality law move the best
    design by its elasticity, which has the search answer them.
    """
    doubtful = {
        path: info
        for path, info in {**known, **quality_values()}.items()
        if info.status in UNSURE and not path.startswith(BOUNDS)
    }
    ranged = {path: info for path, info in doubtful.items() if _has_range(info)}
    free = {variable.path for variable in result.study.free}
    before, after = (
        {
            path: ends
            for path, info in ranged.items()
            if not path.startswith(QUALITY)
            and (_place(path) not in free or rung is result.baseline)
            and (ends := _ends(result, rung, path=path, info=info)) is not None
        }
        for rung in (result.baseline, result.best)
    )
    level = math.log(result.best.objective)
    slopes = result.evidence.elasticities if result.evidence else {}
    after |= {
        path: (
            level + slopes[path] * math.log(info.low / info.value),
            level + slopes[path] * math.log(info.high / info.value),
        )
        for path, info in ranged.items()
        if path in slopes and path.startswith(QUALITY)
    }
    return gain_support(
        before,
        after,
        levels=(math.log(result.baseline.objective), level),
        known=doubtful,
    )


def support_table(result: Result, known: Mapping[str, ValueInfo]) -> Table:
    """Doubtful constants that hold most of the gain, and all of them together."""
    found = result_support(result, known)
    shown = [s for s in found.supports if s.lost > LEAST][:MOST_ROWS]
    rows = [
        (s.path, s.status, percent(s.lost / found.gain) if found.gain > 0 else NONE)
        for s in shown
    ]
    return Table(
        title="What the gain rests on",
        columns=("constant", "status", "share of the gain it can take"),
        rows=tuple(rows),
        note=support_words(result, found),
    )


def support_words(result: Result, found: GainSupport) -> str:
    """The share of the gain that rests on doubtful constants, as sentences."""
    what = metric_title(result.study.minimize)
    if not found.gain > 0:
        return f"There is no gain in {what} over the tuned baseline."
    kinds = ", ".join(f"{name} {percent(found.share((name,)))}" for name in UNSURE)
    return (
        f"{percent(found.share())} of the gain in {what} (in logarithms, a factor of "
        f"{number(math.exp(found.gain))}) rests on constants that are announced, "
        f"recalled or assumed: so much is lost with all of them at the worse ends of "
        f"their ranges, as if independent ({kinds}). {len(found.supports)} were moved, "
        f"the designs held; for {len(found.unranged)} more no range is stated."
    )


def support_facts(found: GainSupport) -> dict[str, Any]:
    """Plain data of the support of a gain."""
    return {
        "log_gain": found.gain,
        "share_on_unsure": found.share(),
        "share_by_status": {name: found.share((name,)) for name in UNSURE},
        "lost": {s.path: s.lost for s in found.supports if s.lost > LEAST},
        "without_range": list(found.unranged),
    }


def _ends(result: Result, rung: Rung, *, path: str, info: ValueInfo) -> Ends | None:
    """ln objective of a design with a constant at both ends of its range.

    Where the design holds another value than the entry, the range keeps its factors.
    """
    place = _place(path)
    if place not in path_units(Design):
        return None
    held = np.asarray(get_path(rung.design, place))
    if held.ndim or not float(held) > 0:
        return None
    low, high = (
        math.log(_objective(result, rung, place=place, value=float(held) * factor))
        for factor in (info.low / info.value, info.high / info.value)
    )
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _objective(result: Result, rung: Rung, *, place: str, value: Count) -> float:
    design = set_parameter(rung.design, place, value=value)
    cost, name = evaluate(design), result.study.minimize
    if name in path_units(Cost):
        return float(get_path(cost, name))
    if name in path_units(Service):
        return float(get_path(service(design, cost), name))
    return math.nan


def _place(path: str) -> str:
    sheet = path.removeprefix(SHEET)
    return PLACES.get(sheet, sheet)


def _has_range(info: ValueInfo) -> bool:
    numbers = (info.value, info.low, info.high)
    known = all(isinstance(x, (int, float)) and x > 0 for x in numbers)
    return known and info.low < info.high
