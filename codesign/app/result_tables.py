"""Which tables describe the outcome of a search on a terminal?

``Result`` -> comparison, variables, limits that bind, levers, and the evidence.
"""

import math
from collections.abc import Iterator

from codesign.config.limits import is_difference
from codesign.config.records import unsure
from codesign.optimize.result import Binding, Result
from codesign.report.breakdown import levers
from codesign.report.confidence import confidence_table
from codesign.report.natural import COLUMN, ratio_error
from codesign.report.sources import constants, study_chip
from codesign.report.support import result_support
from codesign.report.tables import (
    Table,
    comparison_table,
    ladder_table,
    variables_table,
)
from codesign.report.texts import number, percent
from codesign.report.waterfall import waterfall_table

SHOWN_LEVERS = 10
FEWEST_RUNGS = 3  # as given, tuned, co-designed: more make a ladder
ONE_PERCENT = math.log(1.01)
LEAST_SHARE = 1e-9
LEAST_PRICE = 1e-4  # d ln objective / d ln limit below which a limit holds nothing


def result_tables(result: Result) -> Iterator[Table]:
    """As given, tuned and co-designed; what binds, and what would move it."""
    if len(result.rungs) > FEWEST_RUNGS:
        yield ladder_table(result)
    yield comparison_table(result)
    yield confidence_table(result)
    if result.waterfall is not None:
        yield waterfall_table(result.waterfall)
    yield variables_table(result)
    if result.evidence is not None:
        yield binding_table(result)
        yield levers_table(result)


def binding_table(result: Result) -> Table:
    """Limits that hold the optimum, with their shadow prices."""
    found = result.evidence.binding if result.evidence else ()
    rows = [
        (
            limit.name,
            _room(limit),
            _signed(math.expm1(-limit.price * ONE_PERCENT)),
        )
        for limit in found
        if limit.price > LEAST_PRICE
    ]
    met = [limit.name for limit in found if limit.price <= LEAST_PRICE]
    notes = [f"Met without a price: {', '.join(met)}."] if met else []
    if any(is_difference(limit.name) for limit in found):
        notes.append("A limit on quality is loosened by 0.01 instead.")
    return Table(
        title="Limits that bind",
        columns=("limit", "room left", "objective per 1 % looser"),
        rows=tuple(rows),
        note=" ".join(notes),
    )


def _room(limit: Binding) -> str:
    """Distance to a limit: a share of it, or a difference where it may be zero."""
    if is_difference(limit.name):
        return number(limit.slack)
    return percent(math.expm1(limit.slack))


def levers_table(result: Result) -> Table:
    """Parameters with the largest elasticities, limits held."""
    rows = [
        (
            lever.path,
            lever.group,
            _signed(math.expm1(lever.elasticity * ONE_PERCENT)),
            ratio_error(lever.path),
        )
        for lever in levers(result, count=SHOWN_LEVERS)
    ]
    return Table(
        title="Strongest levers",
        columns=("parameter", "kind", "objective per 1 % more", COLUMN),
        rows=tuple(rows),
    )


def closing_lines(result: Result) -> Iterator[str]:
    """The status sentence, how sure it is, and doubtful values of the chip."""
    best, evidence = result.best, result.evidence
    yield result.status
    yield (
        f"evidence  legal design {_signed(result.gap)} against the relaxed optimum, "
        f"{percent(best.agreement)} of the starts within 0.1 % of it"
    )
    if result.bound is not None:
        yield f"          {result.bound_text}"
    if evidence is not None:
        yield f"          KKT residual {number(evidence.kkt)} of that optimum"
        edges = evidence.at_bound or ("no variable is at a bound",)
        for index, edge in enumerate(edges):
            yield f"{'' if index else 'bounds':10}{edge}"
    chip = study_chip(result.study)
    if chip:
        doubts = [path.rpartition(".")[2] for path in unsure(chip.values)]
        words = ", ".join(dict.fromkeys(doubts)) or "none"
        yield f"sources   announced, recalled or assumed of {chip.title}: {words}"
    support = result_support(result, constants(result.study))
    if support.gain > 0:
        yield (
            f"support   {percent(support.share())} of the gain rests on constants that "
            "are announced, recalled or assumed"
        )
    yield f"duration  {result.seconds:.1f} s"


def _signed(share: float) -> str:
    if not math.isfinite(share):
        return "–"
    if abs(share) < LEAST_SHARE:
        return "0 %"
    return f"{100 * share:+.3g} %".replace("-", "−")
