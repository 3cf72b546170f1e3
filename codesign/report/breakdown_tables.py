"""Which tables stand in for the figures of a result?

``Result`` -> the named numbers of its figures as tables, for people and machines that
do not read pictures.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from codesign.core.quantities import Unit
from codesign.optimize.result import Result, Rung
from codesign.report.breakdown import (
    Operator,
    Parts,
    area_parts,
    capacity_parts,
    energy_parts,
    levers,
    progress,
    quality_parts,
    time_parts,
)
from codesign.report.natural import COLUMN, NOTE, ratio_error
from codesign.report.tables import Table, metric_title, metric_unit, shown_rungs
from codesign.report.texts import common_unit, number, percent, quantity


def parts_table(
    title: str,
    columns: Mapping[str, Mapping[str, float]],
    *,
    unit: Unit,
    total: bool = True,
) -> Table:
    """Parts as rows, one column for each bar, in one unit."""
    names = list(dict.fromkeys(n for parts in columns.values() for n in parts))
    sums = [sum(parts.values()) for parts in columns.values()]
    label, scale = common_unit(sums, unit)
    rows = [
        (n, *(number(parts.get(n, np.nan) / scale) for parts in columns.values()))
        for n in names
    ]
    if total:
        rows.append(("total", *(number(value / scale) for value in sums)))
    heading = f"component [{label}]" if label else "component"
    return Table(title=title, columns=(heading, *columns), rows=tuple(rows))


def energy_table(result: Result) -> Table:
    """Numbers of the energy figure."""
    title = "Energy per output token"
    return _table_of_bars(result, energy_parts, title=title, unit=Unit("J/token"))


def time_table(result: Result) -> Table:
    """Numbers of the time figure."""
    return _table_of_bars(result, time_parts, title="Time of one step", unit=Unit("s"))


def _table_of_bars(
    result: Result,
    parts_of: Callable[[Rung], dict[str, Parts]],
    *,
    title: str,
    unit: Unit,
) -> Table:
    columns = {
        f"{rung.name}, {bar}": parts
        for rung in shown_rungs(result)
        for bar, parts in parts_of(rung).items()
    }
    return parts_table(title, columns, unit=unit)


def area_table(result: Result) -> Table:
    """Numbers of the area figure."""
    columns = {rung.name: area_parts(rung) for rung in shown_rungs(result)}
    return parts_table("Silicon area per chip", columns, unit=Unit("m^2"))


def quality_table(result: Result) -> Table:
    """Numbers of the quality figure, the total gap and its range over the laws."""
    rungs = shown_rungs(result)[-2:]
    parts = [quality_parts(result, rung) for rung in rungs]
    gains = [capacity_parts(result, rung) for rung in rungs]
    rows = [(f"{name} [nat]", *(number(p[name]) for p in parts)) for name in parts[0]]
    rows.append(("gap [nat]", *(number(float(r.quality.gap_nats)) for r in rungs)))
    rows.append(("gap [Δ ln compute]", *(number(float(r.quality.gap)) for r in rungs)))
    rows.append(("range over the laws", *(_law_range(r) for r in rungs)))
    rows += [
        (f"{name} [Δ ln N]", *(number(gain[name]) for gain in gains))
        for name in gains[0]
    ]
    rows.append(("MMLU, for orientation", *(_share(r.quality.mmlu) for r in rungs)))
    return Table("Quality", ("contribution", *(r.name for r in rungs)), tuple(rows))


def _law_range(rung: Rung) -> str:
    gaps = np.asarray(rung.quality.compute_gap_by_law)
    return f"{number(gaps.min())} to {number(gaps.max())}"


def _share(value: object) -> str:
    return percent(float(np.asarray(value)))


def operator_table(found: Sequence[Operator]) -> Table:
    """Numbers of the roofline, operators without arithmetic included."""
    rows = [
        (
            f"{o.rung}, {o.step}",
            o.name,
            number(o.intensity) if o.flops else "–",
            quantity(o.rate, Unit("FLOP/s")) if o.flops else "–",
            quantity(o.seconds, Unit("s")),
            percent(o.share),
            o.binding,
        )
        for o in found
    ]
    return Table(
        title="Operators",
        columns=(
            "chip and step",
            "operator",
            "intensity [FLOP/B]",
            "rate",
            "time",
            "share of operator time",
            "waits for",
        ),
        rows=tuple(rows),
    )


def levers_table(result: Result) -> Table:
    """Numbers of the levers figure."""
    rows = [
        (v.path, v.group, number(v.elasticity), ratio_error(v.path))
        for v in levers(result)
    ]
    columns = ("parameter", "kind", "objective per 1 % more [%]", COLUMN)
    return Table("Strongest levers", columns, tuple(rows), note=NOTE)


def progress_table(result: Result) -> Table:
    """Numbers of the convergence figure."""
    unit = metric_unit(result.study.minimize)
    rows = [
        (
            p.rung,
            p.stage,
            "relaxed" if p.relaxed else "legal",
            quantity(p.seconds, Unit("s")),
            quantity(p.objective, unit),
            percent(p.feasible),
        )
        for p in progress(result)
    ]
    title = metric_title(result.study.minimize)
    columns = ("search", "stage", "designs", "after", f"best {title}", "in limits")
    return Table("Course of the search", columns, tuple(rows))


def searches_table(result: Result) -> Table:
    """What each search found: relaxed and legal optimum, agreement of starts."""
    unit = metric_unit(result.study.minimize)
    rows = [
        (
            rung.name,
            quantity(rung.relaxed, unit),
            quantity(rung.objective, unit),
            percent(rung.objective / rung.relaxed - 1.0),
            percent(rung.agreement),
            f"{rung.worst} ({percent(float(np.exp(rung.violation)), digits=5)})",
        )
        for rung in result.rungs
    ]
    return Table(
        title="Relaxed and legal optimum",
        columns=(
            "rung",
            "relaxed",
            "legal",
            "gap",
            "starts within 0.1 %",
            "tightest limit (used)",
        ),
        rows=tuple(rows),
        note="Relaxed: integers and choices free. The gap is the price of a legal "
        "design; a negative one means the later search found better choices.",
    )
