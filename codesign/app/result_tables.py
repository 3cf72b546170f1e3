"""Which tables describe the outcome of a search on a terminal?

``Result`` -> comparison, variables, limits that bind, levers, and the evidence.
"""

import math
from collections.abc import Iterator

from codesign.optimize.result import Result
from codesign.report.breakdown import levers
from codesign.report.tables import (
    Table,
    comparison_table,
    ladder_table,
    metric_title,
    variables_table,
)
from codesign.report.texts import number, percent

SHOWN_LEVERS = 10
FEWEST_RUNGS = 3  # as given, tuned, co-designed: more make a ladder
ONE_PERCENT = math.log(1.01)


def result_tables(result: Result) -> Iterator[Table]:
    """As given, tuned and co-designed; what binds, and what would move it."""
    if len(result.rungs) > FEWEST_RUNGS:
        yield ladder_table(result)
    yield comparison_table(result)
    yield variables_table(result)
    if result.evidence is not None:
        yield binding_table(result)
        yield levers_table(result)


def binding_table(result: Result) -> Table:
    """Limits that hold the optimum, with their shadow prices."""
    evidence = result.evidence
    rows = [
        (
            limit.name,
            percent(math.expm1(limit.slack)),
            _signed(math.expm1(-limit.price * ONE_PERCENT)),
        )
        for limit in (evidence.binding if evidence else ())
    ]
    return Table(
        title="Limits that bind",
        columns=("limit", "room left", "objective per 1 % looser"),
        rows=tuple(rows),
        note="A shadow price of zero: the limit is met but does not hold the design. "
        "A limit on quality.gap is loosened by 0.01.",
    )


def levers_table(result: Result) -> Table:
    """Parameters with the largest elasticities, limits held."""
    rows = [
        (lever.path, lever.group, _signed(math.expm1(lever.elasticity * ONE_PERCENT)))
        for lever in levers(result, count=SHOWN_LEVERS)
    ]
    return Table(
        title="Strongest levers",
        columns=("parameter", "kind", "objective per 1 % more"),
        rows=tuple(rows),
    )


def closing_lines(result: Result) -> Iterator[str]:
    """The status sentence and how sure it is."""
    yield result.status
    yield (
        f"{metric_title(result.study.minimize)}: legal design "
        f"{_signed(result.gap)} against the relaxed optimum; "
        f"{percent(result.best.agreement)} of the starts within 0.1 % of it"
    )
    evidence = result.evidence
    if evidence is not None:
        yield (
            f"KKT residual {number(evidence.kkt)} of the gradient; at a bound: "
            f"{', '.join(evidence.at_bound) or 'none'}"
        )
    yield f"took {result.seconds:.1f} s"


def _signed(share: float) -> str:
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:+.3g} %".replace("-", "−")
