"""What does the silicon look like, before and after? Dies drawn to one scale.

``Result`` -> SVG of one die of each design, its parts as areas; no script needed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from codesign.core.quantities import Unit
from codesign.optimize.result import Result, Rung
from codesign.report.breakdown import area_parts
from codesign.report.style import BLUE, GREEN, ORANGE, SKY
from codesign.report.tables import shown_rungs
from codesign.report.texts import percent, quantity

COLORS = {
    "matrix and vector units": BLUE,
    "on-chip memory": GREEN,
    "DRAM and link interfaces": SKY,
    "cells of weights": ORANGE,
}
LARGEST = 190.0  # edge of the largest die, in pixels
GAP, HEAD, FOOT, ROW = 36.0, 22.0, 20.0, 18.0
LEAST_LABEL = 0.06  # share of a die that has room for its share as text


@dataclass(frozen=True)
class Part:
    """A rectangle of a die: where it lies in the unit square, and what it is."""

    name: str
    share: float
    left: float
    top: float
    width: float
    height: float


def die_layout(parts: dict[str, float]) -> tuple[Part, ...]:
    """Parts of a die as rectangles that fill a square, areas in proportion.

    The first part takes a strip across the square, the next one a strip along
    what is left, and so on in turn: the same places before and after.
    """
    total = sum(parts.values())
    left = top = 0.0
    width = height = 1.0
    found: list[Part] = []
    for index, (name, area) in enumerate(parts.items()):
        share = area / total
        if not share > 0:
            continue
        if index % 2 == 0:
            depth = share / height
            found.append(Part(name, share, left, top, depth, height))
            left, width = left + depth, width - depth
        else:
            depth = share / width
            found.append(Part(name, share, left, top, width, depth))
            top, height = top + depth, height - depth
    return tuple(found)


def die_svg(result: Result) -> str:
    """One die of each design at one scale, its parts as areas, with a legend."""
    rungs = shown_rungs(result)
    areas = [float(r.cost.chip.die_area) for r in rungs]
    scale = LARGEST / math.sqrt(max(areas))
    width = len(rungs) * (LARGEST + GAP)
    names = [n for n in COLORS if any(area_parts(r)[n] > 0 for r in rungs)]
    height = HEAD + LARGEST + FOOT + ROW * len(names) + 6
    drawn = [
        line
        for index, (rung, area) in enumerate(zip(rungs, areas, strict=True))
        for line in _die(rung, area, x=index * (LARGEST + GAP), scale=scale)
    ]
    sizes = [quantity(area, Unit("m^2")) for area in areas]
    words = "; ".join(f"{r.name} {s}" for r, s in zip(rungs, sizes, strict=True))
    return (
        f'<svg class="die" role="img" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">'
        f"<title>One die of each design, to scale: {escape(words)}</title>"
        f"{''.join(drawn)}{''.join(_legend(names))}</svg>"
    )


def _die(rung: Rung, area: float, *, x: float, scale: float) -> Iterator[str]:
    """Lines of SVG of one die with its name above and its size below."""
    edge = scale * math.sqrt(area)
    base = HEAD + LARGEST
    count = float(rung.cost.chip.area) / area
    more = f", {count:.3g} per chip" if count > 1.01 else ""  # noqa: PLR2004  more than one
    yield _text(rung.name, x=x, y=HEAD - 8, bold=True)
    yield _text(f"{quantity(area, Unit('m^2'))}{more}", x=x, y=base + FOOT - 4)
    for part in die_layout(area_parts(rung)):
        left, top = x + edge * part.left, base - edge + edge * part.top
        yield (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{edge * part.width:.1f}" '
            f'height="{edge * part.height:.1f}" fill="{COLORS[part.name]}" '
            f'stroke="#fff"><title>{escape(part.name)}: {percent(part.share)}</title>'
            "</rect>"
        )
        if part.share > LEAST_LABEL:
            middle = left + edge * part.width / 2, top + edge * part.height / 2 + 4
            yield (
                f'<text x="{middle[0]:.1f}" y="{middle[1]:.1f}" fill="#fff" '
                f'text-anchor="middle" font-size="12">{percent(part.share, digits=2)}'
                "</text>"
            )


def _legend(names: Sequence[str]) -> Iterator[str]:
    for index, name in enumerate(names):
        y = HEAD + LARGEST + FOOT + ROW * index + 6
        yield f'<rect x="0" y="{y:.1f}" width="12" height="12" fill="{COLORS[name]}"/>'
        yield _text(name, x=18, y=y + 11)


def _text(text: str, *, x: float, y: float, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="13" fill="currentColor"{weight}>'
        f"{escape(text)}</text>"
    )
