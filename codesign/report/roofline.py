"""How far is every operator from the roofs of its chip?

``Result`` -> log-log figure of rate over arithmetic intensity.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from codesign.optimize.result import Result, Rung
from codesign.report.breakdown import (
    ON_CHIP,
    Operator,
    memory_roofs,
    operators,
    peak_roofs,
)
from codesign.report.style import base_figure, rung_colors
from codesign.report.tables import shown_rungs
from codesign.report.texts import number

STEP_SYMBOLS = {"decode": "circle", "prompt": "diamond"}
BIT_DASHES = {16: "solid", 8: "dash", 4: "dot"}
RESIDENT_DASH = "dashdot"
LABEL_DISTANCE = 0.2  # in decades: labels of points nearer than this would touch
MOST_LABELS = 3
SMALLEST_MARK, LARGEST_MARK = 6.0, 26.0
ROOF_POINTS = 40


def plot_roofline(
    result: Result, *, found: Sequence[Operator] | None = None
) -> go.Figure:
    """Operators of tuned and best chip under the roofs of their hardware."""
    known = operators(result) if found is None else found
    busy = [o for o in known if o.flops > 0 and o.traffic > 0]
    colors = rung_colors(result)
    figure = go.Figure()
    reach = [o.intensity for o in busy]
    low, high = min(reach, default=1.0) / 3, max(reach, default=1.0) * 3
    for rung in shown_rungs(result)[-2:]:
        for trace in _roofs(rung, low=low, high=high, color=colors[rung.name]):
            figure.add_trace(trace)
    for rung in shown_rungs(result)[-2:]:
        for step in STEP_SYMBOLS:
            group = [o for o in busy if (o.rung, o.step) == (rung.name, step)]
            if group:
                figure.add_trace(_operator_marks(group, color=colors[rung.name]))
    for label in _operator_labels(busy):
        figure.add_annotation(label)
    return base_figure(
        figure,
        legend_rows=4,
        height=520,
        xaxis={
            "type": "log",
            "dtick": 1,
            "exponentformat": "power",
            "title": {"text": "arithmetic intensity [FLOP/B]"},
        },
        yaxis={
            "type": "log",
            "dtick": 1,
            "exponentformat": "power",
            "title": {"text": "rate per chip [FLOP/s]"},
        },
    )


def _roofs(rung: Rung, *, low: float, high: float, color: str) -> list[go.Scatter]:
    peaks, memories = peak_roofs(rung), memory_roofs(rung)
    right = max(high, 2 * max(peaks.values()) / min(memories.values()))
    intensities = np.geomspace(low, right, ROOF_POINTS)
    roofs = [(memory, bits) for memory in memories for bits in peaks]
    return [
        _roof(
            intensities,
            bandwidth=memories[memory],
            peak=peaks[bits],
            color=color,
            dash=RESIDENT_DASH if memory == ON_CHIP else BIT_DASHES[bits],
            name=f"{rung.name}: {memory} {number(memories[memory] / 1e12)} TB/s, "
            f"{bits} bit {number(peaks[bits] / 1e12)} TFLOP/s",
        )
        for memory, bits in roofs
        if memory != ON_CHIP or bits == max(peaks)
    ]


def _roof(
    intensities: np.ndarray,
    *,
    bandwidth: float,
    peak: float,
    color: str,
    dash: str,
    name: str,
) -> go.Scatter:
    return go.Scatter(
        x=intensities.tolist(),
        y=np.minimum(bandwidth * intensities, peak).tolist(),
        mode="lines",
        line={"color": color, "dash": dash, "width": 1.5},
        name=name,
        hoverinfo="name",
    )


def _operator_marks(group: Sequence[Operator], *, color: str) -> go.Scatter:
    spread = LARGEST_MARK - SMALLEST_MARK
    first = group[0]
    return go.Scatter(
        x=[o.intensity for o in group],
        y=[o.rate for o in group],
        mode="markers",
        marker={
            "color": color,
            "symbol": STEP_SYMBOLS[first.step],
            "size": [SMALLEST_MARK + spread * o.share**0.5 for o in group],
            "opacity": 0.75,
            "line": {"color": "#ffffff", "width": 1},
        },
        name=f"{first.rung}, {first.step}",
        text=[f"{o.name}, {100 * o.share:.0f} % of time" for o in group],
        hovertemplate="%{text}<br>%{x:.3g} FLOP/B, %{y:.3s}FLOP/s<extra></extra>",
    )


def _operator_labels(busy: Sequence[Operator]) -> list[dict[str, Any]]:
    """Labels of the longest operators, none near another's."""
    placed: list[tuple[float, float]] = []
    count: dict[tuple[str, str], int] = {}
    labels: list[dict[str, Any]] = []
    for o in sorted(busy, key=lambda o: -o.share):
        spot = (float(np.log10(o.intensity)), float(np.log10(o.rate)))
        near = any(_near(spot, other) for other in placed)
        group = (o.rung, o.step)
        if near or count.get(group, 0) >= MOST_LABELS:
            continue
        placed.append(spot)
        count[group] = count.get(group, 0) + 1
        labels.append(
            {
                "x": spot[0],
                "y": spot[1],
                "text": o.name,
                "showarrow": True,
                "arrowhead": 0,
                "arrowwidth": 0.7,
                "ax": 28,
                "ay": 30,
                "xanchor": "left",
                "font": {"size": 11},
            }
        )
    return labels


def _near(spot: tuple[float, float], other: tuple[float, float]) -> bool:
    return max(abs(spot[0] - other[0]) / 2, abs(spot[1] - other[1])) < LABEL_DISTANCE
