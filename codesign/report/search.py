"""How was the optimum found, what holds it, and what would move it?

``Result`` -> figures of the course of the search, its rounding, its levers and
the ladder of designs.
"""

from itertools import cycle

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from codesign.optimize.result import Result
from codesign.optimize.trace import DESCENTS
from codesign.report.breakdown import FREE, levers, progress
from codesign.report.limits import limit_title
from codesign.report.style import (
    BLUE,
    GREEN,
    GREY,
    HEADROOM,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    base_figure,
    rung_colors,
)
from codesign.report.tables import metric_title, metric_unit
from codesign.report.texts import change, common_unit, number

GROUP_COLORS = {
    FREE: GREEN,
    "fixed part of the design": BLUE,
    "request": PURPLE,
    "serving stack": ORANGE,
    "technology": GREY,
    "quality law": SKY,
}
STAGE_SYMBOLS = (
    "circle",
    "triangle-up",
    "diamond",
    "square",
    "star",
    "cross",
    "x",
    "hexagon",
)


def plot_convergence(result: Result) -> go.Figure:
    """Best objective after each stage of each search, over time.

    A line joins those of legal designs; relaxed ones, which are none, stand apart.
    """
    path = result.study.minimize
    points = [p for p in progress(result) if np.isfinite(p.objective)]
    unit, scale = common_unit([r.objective for r in result.rungs], metric_unit(path))
    colors = rung_colors(result)
    stages = dict.fromkeys(p.stage for p in points)
    symbols = dict(zip(stages, cycle(STAGE_SYMBOLS), strict=False))
    figure = go.Figure()
    for name in dict.fromkeys(p.rung for p in points):
        for relaxed in (False, True):
            mine = [p for p in points if (p.rung, p.relaxed) == (name, relaxed)]
            shape = "{}-open" if relaxed else "{}"
            figure.add_trace(
                go.Scatter(
                    x=[p.seconds for p in mine],
                    y=[p.objective / scale for p in mine],
                    mode="markers" if relaxed else "lines+markers",
                    name=name,
                    legendgroup=name,
                    showlegend=not relaxed,
                    line={"color": colors.get(name, GREY), "width": 1.5},
                    marker={
                        "size": 10,
                        "symbol": [shape.format(symbols[p.stage]) for p in mine],
                        "color": colors.get(name, GREY),
                    },
                    text=[
                        f"{p.stage}, {100 * p.feasible:.0f} % in limits" for p in mine
                    ],
                    hovertemplate=f"%{{text}}<br>%{{x:.1f}} s, %{{y:.4g}} {unit}",
                )
            )
    for stage, symbol in symbols.items():
        shape = f"{symbol}-open" if stage in DESCENTS else symbol
        marker = {"symbol": shape, "size": 9, "color": GREY}
        figure.add_trace(
            go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=stage)
        )
    return base_figure(
        figure,
        height=360,
        xaxis={"title": {"text": "time since the start of the search [s]"}},
        yaxis={"title": {"text": f"{metric_title(path)} [{unit}]"}, "type": "log"},
    )


def plot_rounding(result: Result) -> go.Figure:
    """Relaxed against legal optimum of every rung."""
    path = result.study.minimize
    rungs = [rung for rung in reversed(result.rungs) if np.isfinite(rung.relaxed)]
    values = [v for rung in rungs for v in (rung.relaxed, rung.objective)]
    unit, scale = common_unit(values, metric_unit(path))
    figure = go.Figure()
    for rung in rungs:
        figure.add_trace(
            go.Scatter(
                x=[rung.relaxed / scale, rung.objective / scale],
                y=[rung.name, rung.name],
                mode="lines",
                line={"color": GREY, "width": 2},
                showlegend=False,
                hoverinfo="skip",
            )
        )
    sides = (
        ("relaxed: integers and choices free", SKY, "circle-open", "relaxed"),
        ("legal: can be built", BLUE, "square", "objective"),
    )
    for title, color, symbol, field in sides:
        figure.add_trace(
            go.Scatter(
                x=[getattr(rung, field) / scale for rung in rungs],
                y=[rung.name for rung in rungs],
                mode="markers",
                marker={"color": color, "size": 12, "symbol": symbol},
                name=title,
                hovertemplate=f"%{{y}}: %{{x:.4g}} {unit}<extra></extra>",
            )
        )
    return base_figure(
        figure,
        height=160 + 45 * max(len(rungs), 2),
        xaxis={
            "title": {"text": f"{metric_title(path)} [{unit}]"},
            "rangemode": "tozero",
        },
        yaxis={"type": "category", "showgrid": False},
    )


def plot_levers(result: Result) -> go.Figure:
    """Strongest elasticities of the objective, and prices of binding limits."""
    found = levers(result)[::-1]
    prices = result.evidence.binding[::-1] if result.evidence else ()
    rows = max(len(prices), 1), max(len(found), 1)
    share = rows[1] / sum(rows)
    figure = make_subplots(
        rows=2,
        cols=1,
        row_heights=[share, 1 - share],
        vertical_spacing=0.2,
    )
    for group, color in GROUP_COLORS.items():
        mine = [lever for lever in found if lever.group == group]
        if mine:
            bar = _price_bar([v.path for v in mine], [v.elasticity for v in mine])
            figure.add_trace(bar.update(name=group, marker_color=color), row=1, col=1)
    figure.update_yaxes(
        categoryorder="array", categoryarray=[v.path for v in found], row=1, col=1
    )
    bar = _price_bar([limit_title(b.name) for b in prices], [-b.price for b in prices])
    bar.update(name="binding limit", marker_color=RED)
    figure.add_trace(bar, row=2, col=1)
    title = "objective per 1 % more of the parameter [%]"
    figure.update_xaxes(title={"text": title}, row=1, col=1)
    title = "objective per 1 % wider limit (quality: per 0.01) [%]"
    figure.update_xaxes(title={"text": title}, row=2, col=1)
    height = 180 + 24 * sum(rows)
    figure = base_figure(figure, legend_rows=1, height=height)
    figure.update_yaxes(showgrid=False)
    return figure.update_xaxes(zeroline=True, zerolinewidth=1)


def _price_bar(names: list[str], values: list[float]) -> go.Bar:
    return go.Bar(
        y=names,
        x=values,
        orientation="h",
        text=[number(value) for value in values],
        textposition="auto",
        constraintext="none",
        hovertemplate="%{y}: %{x:.3g} %<extra></extra>",
    )


def plot_ladder(result: Result) -> go.Figure:
    """Objective of every rung with its change against tuned."""
    path = result.study.minimize
    rungs = result.rungs[::-1]
    values = [rung.objective for rung in rungs]
    unit, scale = common_unit(values, metric_unit(path))
    colors = rung_colors(result)
    labels = [
        f" {number(r.objective / scale)}"
        f" ({change(r.objective, result.baseline.objective)})"
        for r in rungs
    ]
    bar = go.Bar(
        y=[rung.name for rung in rungs],
        x=[value / scale for value in values],
        orientation="h",
        marker={"color": [colors.get(rung.name, GREY) for rung in rungs]},
        text=labels,
        textposition="outside",
        cliponaxis=False,
        hovertemplate=f"%{{y}}: %{{x:.4g}} {unit}<extra></extra>",
    )
    return base_figure(
        go.Figure(bar),
        legend_rows=0,
        height=100 + 34 * len(rungs),
        showlegend=False,
        yaxis={"showgrid": False},
        xaxis={
            "title": {"text": f"{metric_title(path)} [{unit}]"},
            "range": [0, HEADROOM * max(values) / scale],
        },
    )
