"""What do all figures share? Palette, plain layout and stacked bars.

Grounds are transparent, so that the page's light or dark colours show through.
Palette: Okabe and Ito, safe for colour-blind readers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from codesign.optimize.result import Result
from codesign.report.breakdown import Parts
from codesign.report.tables import shown_rungs
from codesign.report.texts import number

ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, RED, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"
DARK_GREY, BLACK = "#666666", "#000000"
RUNG_COLORS = (GREY, BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
AXIS_TITLE = {"standoff": 8, "font": {"size": 13}}
LEGEND_ROW = 20  # height in pixels
HEADROOM = 1.18  # room for the totals behind the bars


def rung_colors(result: Result) -> dict[str, str]:
    """One colour per rung, the same in every figure: given, tuned, best."""
    names = [rung.name for rung in shown_rungs(result)]
    others = [r.name for r in result.rungs if r.name not in names]
    colors = RUNG_COLORS if len(names) > 1 else RUNG_COLORS[1:]
    return dict(zip([*names, *others], colors, strict=False))


def base_figure(figure: go.Figure, *, legend_rows: int = 2, **layout: Any) -> go.Figure:
    """A figure in the report's plain style, with room for its legend below."""
    settings: dict[str, Any] = {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 70, "r": 20, "t": 30, "b": legend_rows * LEGEND_ROW + 55},
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "traceorder": "normal",
            "font": {"size": 12},
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
        "hoverlabel": {"font": {"size": 12}},
        "bargap": 0.25,
    }
    figure.update_layout(**(settings | layout))
    figure.update_xaxes(automargin=True, zeroline=False, title=AXIS_TITLE)
    figure.update_yaxes(automargin=True, zeroline=False, title=AXIS_TITLE)
    return figure


def stacked_bars(
    bars: Sequence[tuple[Any, Parts]], *, colors: Mapping[str, str], unit: str
) -> list[go.Bar]:
    """One horizontal trace per part over all bars; values are in the unit shown.

    A bar's label is a text, or a pair (group, bar).
    """
    labels = [label for label, _ in bars]
    paired = isinstance(labels[0], tuple)
    places = [list(side) for side in zip(*labels, strict=True)] if paired else labels
    return [
        go.Bar(
            y=places,
            x=[parts.get(name, 0.0) for _, parts in bars],
            name=name,
            legendrank=rank,
            orientation="h",
            marker={"color": color, "line": {"color": "#ffffff", "width": 0.5}},
            hovertemplate=f"%{{y}}<br>{name}: %{{x:.3g}} {unit}<extra></extra>",
        )
        for rank, (name, color) in enumerate(colors.items())
        if any(parts.get(name, 0.0) for _, parts in bars)
    ]


def total_labels(places: Any, totals: Sequence[float]) -> go.Scatter:
    """Totals as texts behind stacked bars."""
    return go.Scatter(
        y=places,
        x=list(totals),
        mode="text",
        text=[f" {number(value)}" for value in totals],
        textposition="middle right",
        showlegend=False,
        hoverinfo="skip",
    )


def scaled(parts: Parts, scale: float) -> Parts:
    """The parts in a unit of the given size."""
    return {name: value / scale for name, value in parts.items()}
