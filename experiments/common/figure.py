"""How do the figures of the experiments look? One style, SVG and a thumbnail.

Readable at half the width of a page, safe for colour-blind readers (Okabe and Ito),
with the spread drawn.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import ArrayLike

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from experiments.common.page import Run, interval, two

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, BLACK = "#CC79A7", "#56B4E9", "#777777", "#000000"
COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK, GREY)
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "lines.linewidth": 2.2,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "svg.fonttype": "path",
    "svg.hashsalt": "codesign",
    "figure.facecolor": "white",
}
SIZE = (6.6, 4.4)
THUMBNAIL = (2.6, 1.75)


@contextmanager
def figure(
    run: Run,
    name: str,
    *,
    columns: int = 1,
    rows: int = 1,
    size: tuple[float, float] = SIZE,
) -> Iterator[Any]:
    """Axes to draw on; afterwards the figure is saved, the first with a thumbnail."""
    with mpl.rc_context(STYLE):
        made, axes = plt.subplots(rows, columns, figsize=size, layout="constrained")
        yield axes
        save(made, run.out / f"{name}.svg")
        if not run.figures:
            thumbnail(made, run.out / "thumbnail.svg")
        run.figures.append(name)
        plt.close(made)


def save(made: Figure, path: Path) -> None:
    """Write a figure; the same figure gives the same file."""
    made.savefig(path, metadata={"Date": None, "Creator": None})


def thumbnail(made: Figure, path: Path) -> None:
    """The figure at a third of its size."""
    made.savefig(path, metadata={"Date": None, "Creator": None})
    drawn = path.read_text(encoding="utf-8")
    for name, inches in (("width", THUMBNAIL[0]), ("height", THUMBNAIL[1])):
        pattern = rf'({name}=")[0-9.]+pt'
        drawn = re.sub(pattern, rf"\g<1>{72 * inches:.0f}pt", drawn, count=1)
    path.write_text(drawn, encoding="utf-8")


def log_ticks(axis: Any) -> None:
    """Labels at 1 and 3 of every decade, so that short ranges have some."""
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=12))
    plain_axis(axis)


def plain_axis(axis: Any) -> None:
    """Numbers with two digits instead of powers of ten."""
    axis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
    axis.set_minor_formatter(FuncFormatter(lambda _, __: ""))


def short(value: float) -> str:
    """A tick label: 2 digits, k and M for thousands and millions."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:g}"


def log_axes(axes: Axes, *, x: bool = True, y: bool = True) -> None:
    """Logarithmic axes with plain numbers."""
    if x:
        axes.set_xscale("log")
        log_ticks(axes.xaxis)
    if y:
        axes.set_yscale("log")
        log_ticks(axes.yaxis)


def legend_above(axes: Axes, *, columns: int) -> None:
    """The legend of one panel above all of them."""
    entries = axes.get_legend_handles_labels()
    whole = axes.get_figure(root=True)
    whole.legend(*entries, loc="outside upper center", ncols=columns)


def line(
    axes: Axes,
    x: ArrayLike,
    *,
    y: Sequence[ArrayLike],
    label: str,
    color: str,
    style: str = "-",
    scale: float = 1.0,
    marker: str = "",
) -> None:
    """Central values as a line, the 5 to 95 % band as a ribbon."""
    found = np.array([interval(values) for values in y]).T / scale
    axes.plot(x, found[0], style, color=color, label=label, marker=marker)
    axes.fill_between(np.asarray(x), found[1], found[2], color=color, alpha=0.18, lw=0)


def bars(
    axes: Axes,
    labels: Sequence[str],
    *,
    values: Sequence[ArrayLike],
    colors: Sequence[str] | str = BLUE,
    scale: float = 1.0,
    show: bool = True,
) -> None:
    """Horizontal bars from the top down, each with its band."""
    found = np.array([interval(v) for v in values]).T / scale
    places = np.arange(len(labels))[::-1]
    axes.barh(places, found[0], color=colors, height=0.62)
    for place, (middle, low, high) in zip(places, found.T, strict=True):
        axes.plot([low, high], [place, place], color=BLACK, lw=1.6)
        if show:
            end = max(middle, high if np.isfinite(high) else middle)
            axes.annotate(
                two(middle),
                (end, place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=11,
            )
    axes.set_yticks(places, labels)
    axes.grid(visible=False, axis="y")
