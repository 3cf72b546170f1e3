"""Where do joules, seconds, area and quality go? Figures of the breakdowns.

``Result`` -> Plotly figures with units on their axes, shared by the report and
the web page.
"""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from codesign.core.quantities import Unit
from codesign.optimize.result import Result
from codesign.report.breakdown import (
    COMPONENTS,
    DURATIONS,
    HOST,
    area_parts,
    capacity_parts,
    energy_parts,
    quality_parts,
    time_parts,
)
from codesign.report.style import (
    BLACK,
    BLUE,
    DARK_GREY,
    GREEN,
    GREY,
    HEADROOM,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    YELLOW,
    base_figure,
    rung_colors,
    scaled,
    stacked_bars,
    total_labels,
)
from codesign.report.tables import shown_rungs
from codesign.report.texts import common_unit

COMPONENT_COLORS = dict(
    zip(
        [*COMPONENTS.values(), HOST],
        [BLUE, BLACK, PURPLE, GREEN, SKY, YELLOW, RED, ORANGE, GREY, DARK_GREY],
        strict=True,
    )
)
DURATION_COLORS = dict(
    zip(
        DURATIONS.values(),
        [BLUE, SKY, PURPLE, RED, ORANGE, GREY, DARK_GREY],
        strict=True,
    )
)
AREA_COLORS = (BLUE, GREEN, SKY, ORANGE)


def plot_energy(result: Result) -> go.Figure:
    """Energy per output token: decode, prefill and server share by component."""
    found = {rung.name: energy_parts(rung) for rung in shown_rungs(result)}
    sums = [sum(p.values()) for phases in found.values() for p in phases.values()]
    unit, scale = common_unit([max(sums)], Unit("J/token"))
    bars = [
        ((rung, phase), scaled(parts, scale))
        for rung, phases in reversed(found.items())
        for phase, parts in reversed(phases.items())
    ]
    traces = stacked_bars(bars, colors=COMPONENT_COLORS, unit=unit)
    totals = total_labels(traces[0].y, [sum(parts.values()) for _, parts in bars])
    figure = go.Figure([*traces, totals])
    return base_figure(
        figure,
        legend_rows=3,
        barmode="stack",
        height=420,
        xaxis={
            "title": {"text": f"energy per output token [{unit}]"},
            "range": [0, HEADROOM * max(sums) / scale],
        },
        yaxis={"showgrid": False},
    )


def plot_time(result: Result) -> go.Figure:
    """Time of the decode step and of the step of one prompt, by what it waits for."""
    found = {rung.name: time_parts(rung) for rung in shown_rungs(result)}
    steps = list(next(iter(found.values())))
    figure = make_subplots(rows=len(steps), cols=1, vertical_spacing=0.28)
    shown: set[str] = set()
    for row, step in enumerate(steps, start=1):
        sums = [sum(phases[step].values()) for phases in found.values()]
        unit, scale = common_unit([max(sums)], Unit("s"))
        bars = [
            (rung, scaled(phases[step], scale))
            for rung, phases in reversed(found.items())
        ]
        for trace in stacked_bars(bars, colors=DURATION_COLORS, unit=unit):
            name = str(trace.name)
            trace.update(legendgroup=name, showlegend=name not in shown)
            shown.add(name)
            figure.add_trace(trace, row=row, col=1)
        labels = [label for label, _ in bars]
        totals = [sum(parts.values()) for _, parts in bars]
        figure.add_trace(total_labels(labels, totals), row=row, col=1)
        figure.update_xaxes(
            title={"text": f"time of one {step} [{unit}]"},
            range=[0, HEADROOM * max(totals)],
            row=row,
            col=1,
        )
    figure = base_figure(figure, barmode="stack", height=420)
    return figure.update_yaxes(showgrid=False)


def plot_area(result: Result) -> go.Figure:
    """Silicon area per chip by part."""
    found = {rung.name: area_parts(rung) for rung in shown_rungs(result)}
    sums = [sum(parts.values()) for parts in found.values()]
    unit, scale = common_unit([max(sums)], Unit("m^2"))
    bars = [(rung, scaled(parts, scale)) for rung, parts in reversed(found.items())]
    colors = dict(zip(next(iter(found.values())), AREA_COLORS, strict=True))
    traces = stacked_bars(bars, colors=colors, unit=unit)
    labels = total_labels(traces[0].y, [sum(parts.values()) for _, parts in bars])
    return base_figure(
        go.Figure([*traces, labels]),
        barmode="stack",
        legend_rows=1,
        height=230,
        xaxis={
            "title": {"text": f"silicon area per chip [{unit}]"},
            "range": [0, HEADROOM * max(sums) / scale],
        },
        yaxis={"showgrid": False},
    )


def plot_quality(result: Result) -> go.Figure:
    """Contributions to the quality gap and to effective parameters."""
    rungs = [r for r in shown_rungs(result) if r is not result.as_given]
    colors = rung_colors(result)
    panels = (
        ("loss against the baseline's model [nat]", quality_parts),
        ("ln effective parameters against it [1]", capacity_parts),
    )
    figure = make_subplots(
        rows=2, cols=1, row_heights=[0.54, 0.46], vertical_spacing=0.2
    )
    for row, (title, parts_of) in enumerate(panels, start=1):
        for rung in rungs:
            parts = parts_of(result, rung)
            bar = go.Bar(
                y=list(parts)[::-1],
                x=list(parts.values())[::-1],
                orientation="h",
                name=rung.name,
                marker={"color": colors[rung.name]},
                legendgroup=rung.name,
                showlegend=row == 1,
                hovertemplate="%{y}: %{x:.3g}<extra></extra>",
            )
            figure.add_trace(bar, row=row, col=1)
        figure.update_xaxes(title={"text": title}, row=row, col=1)
    figure = base_figure(figure, legend_rows=1, height=460)
    figure.update_yaxes(showgrid=False)
    return figure.update_xaxes(zeroline=True, zerolinewidth=1)
