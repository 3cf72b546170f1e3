"""Draw measured against predicted runs of unseen models as SVG, without a browser.

Pairs of numbers by class of model -> docs/score-*.svg.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign.calibrate.predict import Prediction
from codesign.report.style import BLUE, GREEN, ORANGE, PURPLE

COLORS = {
    "dense 16-bit": BLUE,
    "MoE 16-bit": ORANGE,
    "MoE low-precision": GREEN,
    "dense low-precision": PURPLE,
}
SIDE, LEFT, TOP, BOTTOM, RIGHT = 320, 74, 44, 58, 16
FACTOR = 1.25  # between the dashed lines and the diagonal
FONT = 'font-family="system-ui, sans-serif" font-size="13"'


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis in pixels, the same for both directions."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Pixels from the start."""
        whole = math.log(self.high / self.low)
        return SIDE * math.log(value / self.low) / whole

    def ticks(self) -> list[float]:
        """1, 2 and 5 of every decade inside."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
        inside = [s for s in steps if self.low <= s <= self.high]
        ones = [s for s in inside if round(math.log10(s), 6) % 1 == 0]
        return inside if len(inside) <= MOST_TICKS else ones


MOST_TICKS = 8


def draw(
    path: Path,
    predictions: Sequence[Prediction],
    *,
    metric: str,
    unit: str,
    scale: float,
) -> None:
    """One square figure: measured to the right, predicted upwards, by class."""
    pairs = [
        (p.kind, getattr(p.row, metric) * scale, getattr(p, metric) * scale)
        for p in predictions
        if math.isfinite(getattr(p.row, metric))
    ]
    values = [value for _, *both in pairs for value in both]
    axis = Axis(low=0.85 * min(values), high=1.18 * max(values))
    legend = [kind for kind in COLORS if any(kind == k for k, _, _ in pairs)]
    height = TOP + SIDE + BOTTOM + 20 * ((len(legend) + 1) // 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + SIDE + RIGHT}" '
        f'height="{height}" {FONT}>',
        '<rect width="100%" height="100%" fill="white"/>',
        *_frame(axis, unit=unit),
        *(_point(axis, kind, measured=m, predicted=p) for kind, m, p in pairs),
        *_legend(legend),
        "</svg>",
    ]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _frame(axis: Axis, *, unit: str) -> list[str]:
    """Ticks, the diagonal, lines at a factor from it, titles."""
    bottom = TOP + SIDE
    parts: list[str] = []
    for tick in axis.ticks():
        x, y = LEFT + axis.place(tick), bottom - axis.place(tick)
        parts += [
            f'<path d="M{x:.1f} {TOP}V{bottom}M{LEFT} {y:.1f}H{LEFT + SIDE}" '
            'stroke="#e5e5e5"/>',
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>',
        ]
    shift = SIDE * math.log(FACTOR) / math.log(axis.high / axis.low)
    for move, dash in ((0.0, ""), (shift, "4 4"), (-shift, "4 4")):
        start, end = max(0.0, -move), min(SIDE, SIDE - move)
        parts.append(
            f'<path d="M{LEFT + start:.1f} {bottom - start - move:.1f}'
            f'L{LEFT + end:.1f} {bottom - end - move:.1f}" stroke="#666666" '
            f'stroke-dasharray="{dash}"/>'
        )
    middle = TOP + SIDE / 2
    return [
        *parts,
        f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" '
        'stroke="#666666"/>',
        f'<text x="{LEFT + SIDE / 2}" y="{bottom + 40}" text-anchor="middle">'
        f"measured [{unit}]</text>",
        f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">'
        f"predicted [{unit}]</text>",
        f'<text x="{LEFT}" y="{TOP - 14}">dashed: a factor {FACTOR:g} off</text>',
    ]


def _point(axis: Axis, kind: str, *, measured: float, predicted: float) -> str:
    x, y = LEFT + axis.place(measured), TOP + SIDE - axis.place(predicted)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLORS[kind]}" '
        'fill-opacity="0.6"/>'
    )


def _legend(kinds: Sequence[str]) -> list[str]:
    parts: list[str] = []
    for place, kind in enumerate(kinds):
        x, y = LEFT + 170 * (place % 2), TOP + SIDE + BOTTOM + 20 * (place // 2) + 4
        parts += [
            f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{COLORS[kind]}"/>',
            f'<text x="{x + 10}" y="{y}">{kind}</text>',
        ]
    return parts
