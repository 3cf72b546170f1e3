"""What does a reader see? One HTML file that needs no network.

``Result`` -> page: headline, boundaries, tables, figures, evidence, provenance.
Every figure carries a caption and its numbers as a table, which stand alone
where scripts are off.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from codesign.config.records import ValueInfo
from codesign.optimize.result import Result
from codesign.report.breakdown import operators, progress
from codesign.report.breakdown_tables import (
    area_table,
    energy_table,
    levers_table,
    operator_table,
    progress_table,
    quality_table,
    searches_table,
    time_table,
)
from codesign.report.confidence import (
    confidence_table,
    constants_table,
    terms_table,
)
from codesign.report.die import die_svg
from codesign.report.front import front_chart
from codesign.report.guards import guards_table
from codesign.report.html import (
    Chart,
    chart_html,
    folded_html,
    list_html,
    page_html,
    picture_html,
    table_html,
)
from codesign.report.intervals import beyond_table, intervals_table
from codesign.report.limits import binding_table, limit_title, limits_table
from codesign.report.plots import plot_area, plot_energy, plot_quality, plot_time
from codesign.report.roofline import plot_roofline
from codesign.report.search import (
    plot_convergence,
    plot_ladder,
    plot_levers,
    plot_rounding,
)
from codesign.report.sources import (
    assumptions,
    constants,
    objective_spread,
    provenance_table,
    spread_table,
    study_chip,
    unsure_table,
    validity_table,
)
from codesign.report.support import support_table
from codesign.report.tables import (
    boundary_table,
    comparison_table,
    headline,
    ladder_table,
    metric_title,
    variables_table,
)
from codesign.report.texts import change, number, percent
from codesign.report.waterfall import CAPTION, plot_waterfall, waterfall_table

FULL_LADDER = 3  # beyond as many rungs the ladder gets a section of its own
NUMERIC = frozenset("0123456789±×–−∞+")
NO_ROWS = '<p class="note">None.</p>'
DIE = "One die of each design, drawn to one scale; parts are areas."


def write_report(
    result: Result,
    path: Path,
    *,
    command: str,
    timings: dict[str, float] | None = None,
    front: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of a result as one HTML file.

    ``command`` is shown as what reruns the study, ``timings`` are seconds by
    name shown beside those of the result, ``front`` is the content of the
    ``front.json`` of a front to show beside it.

    Example:
        ``write_report(result, path, command="codesign optimize joint_chat.yaml")``
    """
    page = render_report(result, command=command, timings=timings, front=front)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def render_report(
    result: Result,
    *,
    command: str,
    timings: dict[str, float] | None = None,
    front: Mapping[str, Any] | None = None,
) -> str:
    """The page of a result as text."""
    known = constants(result.study)
    charts = {chart.name: chart for chart in build_charts(result)}
    charts |= {"front": front_chart(front, result)} if front else {}
    sections = [
        _head(result, known),
        table_html(boundary_table(result), heading="h2"),
        table_html(comparison_table(result), heading="h2"),
        *_gain(charts),
        *_front(charts),
        _constraints(result, charts),
        "<h2>Where the joules and seconds go</h2>",
        *(chart_html(charts[name]) for name in ("energy", "time", "roofline")),
        "<h2>Silicon</h2>",
        picture_html(die_svg(result), caption=DIE),
        chart_html(charts["area"]),
        "<h2>Model quality</h2>",
        chart_html(charts["quality"]),
        table_html(confidence_table(result)),
        table_html(terms_table(result)),
        table_html(constants_table(result)),
        table_html(guards_table(result)),
        _evidence(result, charts),
        "<h2>Assumptions and validity</h2>",
        table_html(intervals_table(result)),
        table_html(beyond_table(result)),
        list_html(assumptions(result, known)),
        table_html(validity_table(result)),
        table_html(spread_table(result, known)),
        table_html(support_table(result, known)),
        *_chip_sources(result),
        table_html(provenance_table(result, known, timings=timings), heading="h2"),
        f"<h2>Run it again</h2>\n<pre>{escape(command)}</pre>",
    ]
    title = f"{result.study.name}: co-design report"
    return page_html(title, sections, charts=list(charts.values()))


def build_charts(result: Result) -> tuple[Chart, ...]:
    """All figures of a result that have something to show."""
    found = operators(result)
    title = metric_title(result.study.minimize)
    charts = [
        Chart(
            "energy",
            "Joules per output token by component; decode, prefill and server add up "
            "to the energy at the server's plug.",
            plot_energy(result),
            energy_table(result),
        ),
        Chart(
            "time",
            "Seconds of one decode step and of the step that prefills one prompt, by "
            "what they wait for; the scales differ.",
            plot_time(result),
            time_table(result),
        ),
        Chart(
            "roofline",
            "Operators of one chip under the roofs of its hardware at full clock; "
            "mark area is the share of time. Distance to a roof is software, tiles "
            "and throttling. Operators without arithmetic stand in the table only.",
            plot_roofline(result, found=found),
            operator_table(found),
        ),
        Chart(
            "area",
            "Silicon per chip by part, all dies of the package.",
            plot_area(result),
            area_table(result),
        ),
        Chart(
            "quality",
            "Top: what adds to the loss against the baseline's model, positive is "
            "worse. Bottom: what makes up its effective size.",
            plot_quality(result),
            quality_table(result),
        ),
    ]
    if len(result.rungs) > FULL_LADDER:
        caption = f"{title} of every rung, change against tuned."
        ladder = Chart("ladder", caption, plot_ladder(result), ladder_table(result))
        charts.append(ladder)
    if result.waterfall is not None:
        figure, table = plot_waterfall(result), waterfall_table(result.waterfall)
        charts.append(Chart("waterfall", CAPTION, figure, table))
    return (*charts, *_search_charts(result))


def _search_charts(result: Result) -> list[Chart]:
    charts: list[Chart] = []
    if result.evidence:
        caption = (
            "Top: change of the objective per 1 % more of a parameter, limits held "
            "and the rest adapted. Bottom: what a wider limit brings."
        )
        figure, table = plot_levers(result), levers_table(result)
        charts.append(Chart("levers", caption, figure, table))
    if progress(result):
        caption = (
            "Best objective after each stage; searches run one after another. A line "
            "joins legal designs; of open symbols integers and choices are free."
        )
        figure, table = plot_convergence(result), progress_table(result)
        charts.append(Chart("convergence", caption, figure, table))
        caption = "What each search reached before and after values were made legal."
        figure, table = plot_rounding(result), searches_table(result)
        charts.append(Chart("rounding", caption, figure, table))
    return charts


def _head(result: Result, known: Mapping[str, ValueInfo]) -> str:
    top = headline(result)
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    cards = "\n".join(
        f'<div><span class="soft">{escape(n.title)}</span>'
        f"<strong>{escape(n.value)}</strong>"
        f'<span class="{n.tone}">{escape(n.change)}</span>'
        f'<span class="soft">{escape(n.note)}</span></div>'
        for n in top.numbers
    )
    kind = "status" if top.feasible else "status broken"
    return (
        f"<h1>{escape(result.study.name)}</h1>\n"
        f'<p class="soft">Co-design of chip, model and deployment, {stamp}</p>\n'
        f'<div class="numbers">\n{cards}\n</div>\n'
        f"<p>{escape(top.sentence)}{escape(_spread_words(result, known))}</p>\n"
        f'<p class="{kind}">{escape(top.status)}</p>'
    )


def _spread_words(result: Result, known: Mapping[str, ValueInfo]) -> str:
    spread = objective_spread(result, known)
    if not spread:
        return ""
    return (
        f" The level of the best design is uncertain by ± {percent(spread, digits=2)} "
        "(stated ranges of all constants, first order)."
    )


def _chip_sources(result: Result) -> list[str]:
    chip = study_chip(result.study)
    return [table_html(unsure_table(chip))] if chip else []


def _gain(charts: dict[str, Chart]) -> list[str]:
    """Rungs of the ladder, if there are more than three, and what the gain is of."""
    found = [charts[name] for name in ("ladder", "waterfall") if name in charts]
    drawn = [chart_html(chart, folded=chart.name != "ladder") for chart in found]
    return ["<h2>What the gain is made of</h2>", *drawn] if found else []


def _front(charts: dict[str, Chart]) -> list[str]:
    return ["<h2>Front</h2>", chart_html(charts["front"])] if "front" in charts else []


def _constraints(result: Result, charts: dict[str, Chart]) -> str:
    parts = ["<h2>What holds the optimum, and what would move it</h2>"]
    if result.evidence:
        parts.append(table_html(binding_table(result)))
        parts.append(chart_html(charts["levers"]))
    parts.append(table_html(variables_table(result)))
    parts.append(folded_html(limits_table(result)))
    return "\n".join(parts)


def _evidence(result: Result, charts: dict[str, Chart]) -> str:
    parts = [
        "<h2>Evidence that this is an optimum</h2>",
        list_html(_evidence_words(result)),
    ]
    if "convergence" in charts:
        both = chart_html(charts["convergence"]), chart_html(charts["rounding"])
        parts.append(f'<div class="pair">\n{both[0]}\n{both[1]}\n</div>')
    parts.append(table_html(searches_table(result)))
    return "\n".join(parts)


def _evidence_words(result: Result) -> Sequence[str]:
    best, evidence = result.best, result.evidence
    if evidence is None:
        return ("Nothing was searched: the designs were given.",)
    met = "stationary" if evidence.is_stationary else "not fully stationary"
    return (
        f"KKT residual {number(evidence.kkt)} of the relaxed optimum with the "
        f"design's choices: {met}.",
        f"{percent(best.agreement)} of {result.study.search.starts} independent starts "
        "end within 0.1 % of the best relaxed objective.",
        f"Legal against relaxed objective: {change(best.objective, best.relaxed)}. "
        "That is the most that rounding can have cost, if the starts found the best "
        "relaxed design; a negative value means that they did not.",
        *([result.bound_text] if result.bound is not None else []),
        f"Tightest limit: {limit_title(best.worst)}. Variables at a bound: "
        f"{len(evidence.at_bound)}.",
    )


FIGURES: dict[str, Callable[[Result], go.Figure]] = {
    "energy": plot_energy,
    "time": plot_time,
    "roofline": plot_roofline,
    "area": plot_area,
    "quality": plot_quality,
    "ladder": plot_ladder,
    "waterfall": plot_waterfall,
    "levers": plot_levers,
    "convergence": plot_convergence,
    "rounding": plot_rounding,
}
"""Every figure by name, for pages that ask for one."""
