"""What does a figure look like where scripts are off? Lines and marks as SVG.

Plotly figure of points and lines over logarithmic axes -> SVG with decades.
"""

import math
from collections.abc import Iterator
from html import escape
from typing import Any

import plotly.graph_objects as go

WIDTH, HEIGHT = 640.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 60.0, 12.0, 10.0, 44.0
DASHES = {"dash": "6 4", "dot": "2 3", "dashdot": "6 3 2 3"}
FALLBACK = "#0072B2"
Point = tuple[float, float]


def static_svg(figure: go.Figure) -> str:
    """The figure without a script; empty where its axes are not logarithmic."""
    layout: Any = figure.layout
    shown: Any = figure.data
    if layout.xaxis.type != "log" or layout.yaxis.type != "log":
        return ""
    traces = [trace for trace in shown if isinstance(trace, go.Scatter)]
    points = [p for trace in traces for piece in _pieces(trace) for p in piece]
    if not points:
        return ""
    axes = [
        (math.floor(min(values)), math.ceil(max(values)))
        for values in zip(*points, strict=True)
    ]
    drawn = [line for trace in traces for line in _trace(trace, axes)]
    titles = [str(layout.xaxis.title.text or ""), str(layout.yaxis.title.text or "")]
    return (
        f'<svg class="static" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
        f'width="{WIDTH:.0f}"><title>{escape(" against ".join(titles[::-1]))}</title>'
        f"{''.join(_axes(axes, titles))}{''.join(drawn)}</svg>"
    )


def _pieces(trace: Any) -> list[list[Point]]:
    """Logarithms of the points that have one, cut where a line has a gap."""
    pieces: list[list[Point]] = [[]]
    for x, y in zip(trace.x, trace.y, strict=True):
        if x is None or y is None:
            pieces.append([])
        elif float(x) > 0 and float(y) > 0:
            pieces[-1].append((math.log10(float(x)), math.log10(float(y))))
    return [piece for piece in pieces if piece]


def _place(point: Point, axes: list[tuple[int, int]]) -> Point:
    (left, right), (low, high) = axes
    x = LEFT + (point[0] - left) / (right - left) * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - (point[1] - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
    return x, y


def _trace(trace: Any, axes: list[tuple[int, int]]) -> Iterator[str]:
    mode = str(trace.mode or "lines")
    for piece in _pieces(trace):
        places = [_place(point, axes) for point in piece]
        if "lines" in mode and len(places) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            dash = DASHES.get(str(trace.line.dash), "")
            yield (
                f'<polyline points="{path}" fill="none" stroke-width="1.5" '
                f'stroke="{_plain(trace.line.color)}" stroke-dasharray="{dash}"/>'
            )
        if "markers" in mode:
            color, words = _plain(trace.marker.color), escape(str(trace.name or ""))
            for x, y in places:
                yield (
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}" '
                    f'fill-opacity="0.75"><title>{words}</title></circle>'
                )


def _plain(color: Any) -> str:
    return escape(color) if isinstance(color, str) else FALLBACK


def _axes(axes: list[tuple[int, int]], titles: list[str]) -> Iterator[str]:
    """Decades with their powers, and the titles of both axes."""
    (left, right), (low, high) = axes
    text = 'font-size="12" fill="currentColor"'
    line = 'stroke="currentColor" stroke-opacity="0.15"'
    for power in range(left, right + 1):
        x, y = _place((power, low), axes)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y:.1f}" {line}/>'
        below = f'x="{x:.1f}" y="{y + 14:.1f}" text-anchor="middle"'
        yield f"<text {below} {text}>1e{power}</text>"
    for power in range(low, high + 1):
        x, y = _place((left, power), axes)
        yield (
            f'<line x1="{x:.1f}" x2="{WIDTH - RIGHT:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            f"{line}/>"
        )
        beside = f'x="{x - 5:.1f}" y="{y + 4:.1f}" text-anchor="end"'
        yield f"<text {beside} {text}>1e{power}</text>"
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield (
        f'<text x="{middle:.0f}" y="{HEIGHT - 6:.0f}" text-anchor="middle" {text}>'
        f"{escape(titles[0])}</text>"
    )
    yield (
        f'<text transform="translate(13 {HEIGHT / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle" {text}>{escape(titles[1])}</text>'
    )
