"""How do chips look side by side? Bars of area and power, and one map.

``ChipFacts`` -> Plotly figures with units on their axes; what is published stands
beside what is derived.
"""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from codesign.report.breakdown import Parts
from codesign.report.chips import AREA_PARTS, POWER_PARTS, ChipFacts
from codesign.report.style import (
    BLACK,
    BLUE,
    DARK_GREY,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    base_figure,
    scaled,
    stacked_bars,
)
from codesign.report.texts import number

MM2 = 1e-6
RETICLE = 858.0  # mm^2, the reference line
ROW, FRAME = 16, 210  # pixels of one bar, and of axis and legend
HOLLOW = "announced, recalled or assumed"
AREA_COLORS = dict(
    zip(AREA_PARTS.values(), (BLUE, GREEN, ORANGE, SKY, "#d9d9d9"), strict=True)
)
POWER_COLORS = dict(
    zip(POWER_PARTS.values(), (BLUE, SKY, GREEN, ORANGE, "#d9d9d9"), strict=True)
)
FAMILY_MARKS = {
    "GPU": (BLUE, "circle"),
    "systolic": (ORANGE, "square"),
    "static dataflow": (RED, "diamond"),
    "many-core, wafer": (GREEN, "triangle-up"),
    "DRAM on logic": (PURPLE, "star"),
    "analog": (DARK_GREY, "x"),
    "other": (GREY, "cross"),
}


def plot_chip_area(chips: Sequence[ChipFacts]) -> go.Figure:
    """Area of one die of every chip by part as derived, beside the published one."""
    ordered = sorted(chips, key=lambda c: sum(c.area.values()))
    bars = [(chip.name, scaled(chip.area, MM2)) for chip in ordered]
    figure = go.Figure(stacked_bars(bars, colors=AREA_COLORS, unit="mm²"))
    known = [c for c in ordered if math.isfinite(c.area_published)]
    for sure in (True, False):
        group = [c for c in known if c.area_sure == sure]
        values = [c.area_published / MM2 for c in group]
        figure.add_trace(
            _actual(group, values, sure=sure, what="published", unit="mm²")
        )
    figure.add_vline(x=RETICLE, line={"color": GREY, "dash": "dot", "width": 1})
    figure.add_annotation(
        x=RETICLE,
        y=0,
        text="reticle",
        showarrow=False,
        xanchor="left",
        yanchor="bottom",
    )
    return _tall(figure, bars, title="area of one die [mm²]")


def plot_chip_power(chips: Sequence[ChipFacts]) -> go.Figure:
    """Power of a 16-bit product at full clock by part, over the published TDP.

    Above 1 the governor lowers clock and voltage; a mark shows the power at the rate
    that was measured, which was limited by the TDP.
    """
    ordered = sorted(chips, key=lambda c: sum(c.power.values()) / c.tdp)
    bars = [(chip.name, scaled(chip.power, chip.tdp)) for chip in ordered]
    figure = go.Figure(stacked_bars(bars, colors=POWER_COLORS, unit="of the TDP"))
    figure.add_vline(x=1.0, line={"color": DARK_GREY, "width": 1.5})
    measured = [c for c in ordered if math.isfinite(c.power_measured)]
    shares = [c.power_measured / c.tdp for c in measured]
    marks = _actual(
        measured, shares, sure=True, what="derived at the measured rate", unit="of TDP"
    )
    figure.add_trace(marks)
    ends = [sum(parts.values()) for _, parts in bars]
    texts = [f" {number(c.tdp)} W{'' if c.tdp_sure else ' ?'}" for c in ordered]
    figure.add_trace(
        go.Scatter(
            y=[name for name, _ in bars],
            x=[max(end, 1.0) for end in ends],
            mode="text",
            text=texts,
            textposition="middle right",
            textfont={"size": 11},
            showlegend=False,
            hoverinfo="skip",
        )
    )
    figure = _tall(figure, bars, title="power over the TDP [1]")
    return figure.update_xaxes(range=[0, 1.18 * max([1.0, *ends])])


def plot_chip_map(chips: Sequence[ChipFacts]) -> go.Figure:
    """Every chip by SRAM per FLOP and FLOP per byte of the memory behind it."""
    figure = go.Figure()
    for family, (color, symbol) in FAMILY_MARKS.items():
        group = [c for c in chips if c.family == family]
        if group:
            figure.add_trace(_family_marks(group, family, color=color, symbol=symbol))
            figure.add_trace(_legend_mark(family, color=color, symbol=symbol))
    for label in _labels(chips):
        figure.add_annotation(label)
    hollow = _legend_mark(f"hollow: {HOLLOW}", color=GREY, symbol="circle-open")
    figure.add_trace(hollow)
    return base_figure(
        figure,
        legend_rows=5,
        height=640,
        margin={"l": 20, "r": 20, "t": 20, "b": 150},
        xaxis={
            "type": "log",
            "range": _range(np.log10([_position(c)[0] for c in chips])),
            "dtick": 1,
            "exponentformat": "power",
            "title": {"text": "SRAM per peak rate [B/(GFLOP/s)]"},
            "gridcolor": "#e6e6e6",
        },
        yaxis={
            "type": "log",
            "range": _range(np.log10([_position(c)[1] for c in chips])),
            "dtick": 1,
            "exponentformat": "power",
            "title": {"text": "peak rate over memory bandwidth [FLOP/B]"},
            "gridcolor": "#e6e6e6",
        },
    )


def _actual(
    chips: Sequence[ChipFacts],
    values: Sequence[float],
    *,
    sure: bool,
    what: str,
    unit: str,
) -> go.Scatter:
    """Marks of published figures beside the bars; hollow where not sure."""
    return go.Scatter(
        y=[chip.name for chip in chips],
        x=list(values),
        mode="markers",
        name=what if sure else f"{what}, {HOLLOW}",
        marker={
            "symbol": "diamond" if sure else "diamond-open",
            "color": BLACK if sure else DARK_GREY,
            "size": 7,
            "line": {"width": 1, "color": "#ffffff" if sure else DARK_GREY},
        },
        hovertemplate=f"%{{y}}<br>{what}: %{{x:.3g}} {unit}<extra></extra>",
    )


def _tall(
    figure: go.Figure, bars: Sequence[tuple[str, Parts]], *, title: str
) -> go.Figure:
    return base_figure(
        figure,
        legend_rows=6,
        barmode="stack",
        margin={"l": 20, "r": 20, "t": 10, "b": 170},
        height=ROW * len(bars) + FRAME,
        xaxis={"title": {"text": title}, "gridcolor": "#e6e6e6"},
        yaxis={"showgrid": False, "dtick": 1, "tickfont": {"size": 12}},
    )


def _family_marks(
    chips: Sequence[ChipFacts], family: str, *, color: str, symbol: str
) -> go.Scatter:
    return go.Scatter(
        x=[_position(c)[0] for c in chips],
        y=[_position(c)[1] for c in chips],
        mode="markers",
        name=family,
        legendgroup=family,
        showlegend=False,
        text=[c.title for c in chips],
        marker={
            "symbol": [symbol if c.balance_sure else f"{symbol}-open" for c in chips],
            "color": color,
            "size": 9,
            "line": {"width": 1.5, "color": color},
        },
        hovertemplate="%{text}<br>%{x:.3g} B/(GFLOP/s), %{y:.3g} FLOP/B<extra></extra>",
    )


def _legend_mark(name: str, *, color: str, symbol: str) -> go.Scatter:
    """A mark for the legend only: those of the chips may be hollow."""
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=name,
        legendgroup=name,
        marker={"symbol": symbol, "color": color, "size": 9},
    )


def _position(chip: ChipFacts) -> tuple[float, float]:
    return 1e9 * chip.sram_per_flop, chip.flop_per_byte


PLOT = (415.0, 430.0)  # pixels between the axes of the map, for placing names
EDGE = 0.06  # of the range of a map beyond its outermost chips
LETTER, LINE, MARK = 6.4, 14.0, 7.0  # pixels: a letter, a line, half a mark
RADII = (11.0, 24.0, 38.0)  # pixels of a name from its mark, the first without a line
DIRECTIONS = 16


def _range(logs: np.ndarray) -> list[float]:
    """Ends of an axis in decades, with room beside the outermost chips."""
    low, high = float(logs.min()), float(logs.max())
    edge = EDGE * max(high - low, 1.0)
    return [low - edge, high + edge]


def _labels(chips: Sequence[ChipFacts]) -> list[dict[str, object]]:
    """Names where they fit, of the best documented chips first.

    No text covers a mark or another text. A name that finds no room beside its mark
    stands further off, with a line; one without room keeps its hover text.
    """
    chips = sorted(chips, key=lambda chip: -_documented(chip))
    logs = np.log10([_position(chip) for chip in chips])
    ends = np.array([_range(column) for column in logs.T])
    spots = (logs - ends[:, 0]) / np.ptp(ends, axis=1) * np.array(PLOT)
    taken = [(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in spots]
    found: list[dict[str, object]] = []
    for chip, log, spot in zip(chips, logs, spots, strict=True):
        for shift in _shifts():
            box = _text_box(spot, shift, letters=len(chip.name))
            if _inside(box) and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found.append(_label(chip.name, log, shift=shift))
                break
    return found


def _documented(chip: ChipFacts) -> int:
    """How much is published of a chip, for who is named first."""
    known = math.isfinite(chip.area_published) + math.isfinite(chip.power_measured)
    return known + chip.balance_sure + chip.area_sure


Box = tuple[float, float, float, float]
Shift = tuple[float, float]


def _shifts() -> list[Shift]:
    """Where a name may stand about its mark, nearest first."""
    turns = sorted(range(DIRECTIONS), key=lambda k: (k % 8, k % 4, k))
    angles = [2 * math.pi * turn / DIRECTIONS for turn in turns]
    return [(r * math.cos(a), r * math.sin(a)) for r in RADII for a in angles]


def _anchor(shift: Shift) -> str:
    """Side of a text that faces its mark."""
    if abs(shift[0]) < abs(shift[1]) / 2:
        return "center"
    return "left" if shift[0] > 0 else "right"


def _text_box(spot: np.ndarray, shift: Shift, *, letters: int) -> Box:
    width, (x, y) = letters * LETTER, spot + np.array(shift)
    left = {"left": x, "center": x - width / 2, "right": x - width}[_anchor(shift)]
    return left, y - LINE / 2, left + width, y + LINE / 2


def _inside(box: Box) -> bool:
    across, up = box[0] > 0 and box[2] < PLOT[0], box[1] > 0 and box[3] < PLOT[1]
    return across and up


def _overlap(one: Box, other: Box) -> bool:
    apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1]
    return not (apart or other[3] < one[1])


def _label(text: str, log: np.ndarray, *, shift: Shift) -> dict[str, object]:
    far = math.hypot(*shift) > 1.1 * RADII[0]
    return {
        "x": float(log[0]),
        "y": float(log[1]),
        "text": text,
        "ax": shift[0],
        "ay": -shift[1],
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 0.7,
        "arrowcolor": "#888888" if far else "rgba(0,0,0,0)",
        "xanchor": _anchor(shift),
        "yanchor": "middle",
        "font": {"size": 11},
    }
