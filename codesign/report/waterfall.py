"""What is the gain made of? From tuned to best, one bar for each group of variables.

``Result`` -> waterfall of Shapley's shares, table of shares and ordered steps.
"""

import math

import plotly.graph_objects as go

from codesign.optimize.result import Result, Waterfall
from codesign.report.style import BLUE, GREEN, GREY, HEADROOM, ORANGE, RED, base_figure
from codesign.report.tables import Table, metric_title, metric_unit
from codesign.report.texts import common_unit, number

LEAST = 5e-5  # share that is shown as none
ROUNDING = "whole numbers and tiles"
CAPTION = (
    "From the tuned baseline to the best design: what each group of variables gives, "
    "averaged over all orders in which they may be freed (Shapley), limits kept."
)


def waterfall_table(found: Waterfall) -> Table:
    """Factors on the objective by group of variables."""
    rows = [
        (group, _factor(step), _factor(share))
        for group, step, share in zip(
            found.groups, found.steps, found.shares, strict=True
        )
    ]
    rounding = _factor(found.rounding)
    total = _factor(sum(found.steps) + found.rounding)
    return Table(
        title="What the gain is made of",
        columns=("group", "one after the other", "fair share (Shapley)"),
        rows=(
            *rows,
            (ROUNDING, rounding, rounding),
            ("all together", total, total),
        ),
        note="Factors on the objective, each with all limits kept; they multiply. A "
        "group that gains nothing before the others are free may need them.",
    )


def plot_waterfall(result: Result) -> go.Figure:
    """Objective of tuned and best, and what each group takes off between them.

    Groups stand by the size of their share; bars float from the product of all
    shares before them.
    """
    found = result.waterfall
    if found is None:
        raise ValueError("a result whose limits are not kept has no gain to divide")
    start, end = math.exp(found.start), result.best.objective
    unit, scale = common_unit([start, end], metric_unit(result.study.minimize))
    parts = sorted(zip(found.groups, found.shares, strict=True), key=lambda p: p[1])
    names, bases, widths, labels = [result.baseline.name], [0.0], [start], [""]
    level = start
    for name, share in [*parts, (ROUNDING, found.rounding)]:
        after = level * math.exp(share)
        names.append(name)
        bases.append(min(level, after))
        widths.append(abs(after - level))
        labels.append(f" {_factor(share)}")
        level = after
    names.append(result.best.name)
    bases.append(0.0)
    widths.append(end)
    labels[0] = f" {number(start / scale)}"
    labels.append(f" {number(end / scale)}")
    colors = [BLUE, *(GREEN for _ in parts), ORANGE, RED]
    bar = go.Bar(
        y=names,
        x=[width / scale for width in widths],
        base=[base / scale for base in bases],
        orientation="h",
        marker={"color": colors, "line": {"color": GREY, "width": 0}},
        text=labels,
        textposition="outside",
        cliponaxis=False,
        hovertemplate=f"%{{y}}: %{{x:.3g}} {unit}<extra></extra>",
    )
    return base_figure(
        go.Figure(bar),
        legend_rows=0,
        height=100 + 30 * len(names),
        showlegend=False,
        yaxis={
            "categoryorder": "array",
            "categoryarray": names[::-1],
            "showgrid": False,
        },
        xaxis={
            "title": {"text": f"{metric_title(result.study.minimize)} [{unit}]"},
            "range": [0, HEADROOM * start / scale],
        },
    )


def _factor(logarithm: float) -> str:
    """A factor as its change, with a sign."""
    share = math.expm1(logarithm)
    if abs(share) < LEAST:
        return "0 %"
    return f"{100 * share:+.2g} %".replace("-", "−")
